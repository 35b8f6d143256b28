"""Where a verb writes: files that appear as a whole, in folders that are made, or standard output."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gadgetops.errors import AlreadyExists, StorageError, UsageError
from gadgetops.whole_files import replacing_file

STANDARD_OUTPUT: Final = "-"
_ELSEWHERE_HINT: Final = "choose another place with -o, such as -o /tmp/{name}"


class OutputFile:
    """
    The file that `-o` names; `-` is standard output.

    Args:
        name: As given.
        force: Whether a file that is there may be replaced.
        is_text: Whether a terminal can show the content.

    Raises:
        StorageError: It is there already, or its folder cannot be made.
        UsageError: The content is not for a terminal.
    """

    def __init__(self, name: str, *, force: bool, is_text: bool) -> None:
        self.size_bytes = 0
        self._path = None if name == STANDARD_OUTPUT else Path(name)
        if self._path is None:
            if not is_text and sys.stdout.isatty():
                raise UsageError("not text: a terminal cannot show it", hint="redirect it, or name a file")
        elif self._path.exists() and not force:
            raise StorageError(self._path, "already exists", hint="pass --force to overwrite it")
        else:
            make_parents(self._path)

    def __str__(self) -> str:
        return "to standard output" if self._path is None else str(self._path)

    @contextlib.contextmanager
    def written(self) -> Iterator[Path]:
        """
        Give a path to write to; afterwards its content is in place. Nothing is left behind by what failed.

        Raises:
            StorageError: It could not be written.
        """
        if self._path is None:
            with tempfile.TemporaryDirectory(prefix="gadgetops-") as folder:
                path = Path(folder) / "output"
                yield path
                self._copy(path)
            return
        try:
            with replacing_file(self._path) as temporary:
                yield temporary
                self.size_bytes = temporary.stat().st_size
        except StorageError as error:
            if error.path != self._path:
                raise
            raise _refusal(self._path, error.reason) from error

    def _copy(self, path: Path) -> None:
        self.size_bytes = path.stat().st_size
        with path.open("rb") as content:
            shutil.copyfileobj(content, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def make_room(folder: Path) -> None:
    """
    Make the folders that lead to *folder*, which is to be written and must not be there yet.

    Raises:
        AlreadyExists: It is there.
        StorageError: It cannot be made there.
    """
    if folder.exists():
        raise AlreadyExists(str(folder), hint="choose another name with -o, or remove it")
    make_parents(folder)
    if not os.access(folder.parent, os.W_OK):
        raise _refusal(folder, f"{folder.parent.absolute()} cannot be written by this user")


def make_parents(path: Path) -> None:
    """Make the folders that lead to *path*; `StorageError` if they cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        place = Path(error.filename or path.parent)
        raise _refusal(path, f"{place} cannot be made: {error.strerror}") from error


def write_bytes(name: Path, content: bytes) -> None:
    """Write *content* to the file *name*, replacing it, or to standard output; errors as of `OutputFile`."""
    with OutputFile(str(name), force=True, is_text=True).written() as path:
        path.write_bytes(content)


def read_text(text: str) -> str:
    """Return *text*; `-` stands for what comes on standard input."""
    return sys.stdin.read() if text == STANDARD_OUTPUT else text


def _refusal(path: Path, reason: str) -> StorageError:
    return StorageError(path, reason, hint=_ELSEWHERE_HINT.format(name=path.name))
