"""
Suppressions: patterns of stacks that are known and accepted, in the syntax of LeakSanitizer.

A line is `leak:PATTERN`; what begins with `#` is a comment. A stack is suppressed if the pattern is found in
the function, the source file or the module of any of its frames; `*` stands for anything, `^` for the
beginning and `$` for the end.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from gadgetops.errors import StorageError, UsageError
from gadgetops.questions.asking.stacks_of import Frame

_KIND: Final = "leak:"


class Suppression(NamedTuple):
    """
    One line.

    Args:
        pattern: What stands after `leak:`.
        place: File and line it is from.
    """

    pattern: str
    place: str

    def matches(self, frames: Iterable[Frame]) -> bool:
        """Return whether a stack of *frames* is suppressed."""
        expression = _expression(self.pattern)
        return any(
            text is not None and expression.search(text)
            for frame in frames
            for text in (frame.function, frame.file, frame.module)
        )


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    begin, end = pattern.startswith("^"), pattern.endswith("$")
    inner = pattern[begin : len(pattern) - end]
    text = ".*".join(map(re.escape, inner.split("*")))
    return re.compile(("^" if begin else "") + text + ("$" if end else ""), re.DOTALL)


def parse_suppressions(text: str, name: str) -> tuple[Suppression, ...]:
    """
    Return the suppressions that *text* has, a file by that *name*.

    Raises:
        UsageError: A line is none.
    """
    found = []
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line and not line.startswith("#"):
            place = f"{name}:{number}"
            if not line.startswith(_KIND) or not line[len(_KIND) :].strip():
                raise UsageError(f"{place}: not a suppression: {line!r}", hint="write leak:PATTERN")
            found.append(Suppression(line[len(_KIND) :].strip(), place))
    return tuple(found)


def read_suppressions(paths: Sequence[Path]) -> tuple[Suppression, ...]:
    """
    Return the suppressions of all files *paths*.

    Raises:
        StorageError: One cannot be read.
        UsageError: A line is no suppression.
    """
    found: list[Suppression] = []
    for path in paths:
        try:
            found += parse_suppressions(path.read_text(encoding="utf-8", errors="replace"), str(path))
        except OSError as error:
            raise StorageError.from_os_error(error, path) from error
    return tuple(found)
