"""When a gadget was made: a time that does not depend on when and where it is built."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gadgetops import process
from gadgetops.errors import ToolError, UsageError

VARIABLE: Final = "SOURCE_DATE_EPOCH"
_LAST_SECOND: Final = 253402300799  # of the year 9999, the last one that RFC 3339 can write


@dataclass(frozen=True)
class Created:
    """
    The `created` annotation of an image.

    Attributes:
        epoch_s: Seconds since 1970 in UTC.
        origin: Where that comes from, for people.
    """

    epoch_s: int
    origin: str

    def __str__(self) -> str:
        """Return the time as ig writes it: RFC 3339, UTC, whole seconds."""
        return datetime.fromtimestamp(self.epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def created(folder: Path, inputs: Iterable[Path]) -> Created:
    """
    Return when the gadget in *folder*, made from *inputs* relative to it, was made.

    SOURCE_DATE_EPOCH if it is set; else when one of the inputs was last committed to git (in a shallow clone
    that may be the clone's oldest commit); else the start of 1970. Never a file's time: copies differ in it.

    Raises:
        UsageError: SOURCE_DATE_EPOCH is no such number.
    """
    chosen = created_by_environment()
    if chosen is not None:
        return chosen
    committed = _last_commit(folder, inputs)
    if committed is not None:
        return Created(committed, "last commit")
    return Created(0, f"not in git, {VARIABLE} not set")


def created_by_environment() -> Created | None:
    """Return what SOURCE_DATE_EPOCH says, None if it is not set; `UsageError` if it is no such number."""
    chosen = os.environ.get(VARIABLE)
    return None if chosen is None else Created(_parse(chosen), VARIABLE)


def _parse(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _LAST_SECOND):
        raise UsageError(f"{VARIABLE}: expected seconds since 1970, got {text[:40]!r}")
    return int(text)


def _last_commit(folder: Path, inputs: Iterable[Path]) -> int | None:
    own = [str(path) for path in inputs if not path.is_absolute() and ".." not in path.parts]
    if not own:
        return None
    try:
        output = process.run(
            ["git", "--literal-pathspecs", "log", "-1", "--format=%ct", "--", *own], cwd=folder
        )
    except ToolError:
        return None  # no git, or no repository, or not one this user trusts
    return int(output) if output.strip().isdecimal() else None
