"""
Read files of a recording that may be a stranger's: regular files alone, not through links, of bounded size.

Everything in a recording's folder is opened here, or handed to DuckDB after `why_not_readable` was asked:
opening a FIFO would wait for ever, opening a device may do something, and a link leads elsewhere.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

MAX_TEXT_BYTES: Final = 64 << 20
"""The longest text, such as recording.json, that is read."""
_KINDS: Final = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


class Stamp(NamedTuple):
    """
    What a file is known by: whoever changes or replaces it, changes this.

    The time of the last change of the inode cannot be set, so a copy has another one, too.

    Args:
        name: Without its folder.
        size_bytes: How long it is.
        changed_ns: Time of change of the content.
        inode: Number in the file system.
        inode_changed_ns: Time of change of the inode.
    """

    name: str
    size_bytes: int
    changed_ns: int
    inode: int
    inode_changed_ns: int


class NotRegularFile(OSError):
    """Something else than a regular file stands in a file's place; `strerror` says what."""


def why_not_readable(status: os.stat_result) -> str | None:
    """Return why what `lstat` gave *status* for is not read as a file; None if it is."""
    if stat.S_ISREG(status.st_mode):
        return None
    kind = next((name for test, name in _KINDS if test(status.st_mode)), "something else")
    return f"not a regular file: {kind}"


def stamp(path: Path) -> Stamp:
    """Return what the regular file *path* is known by; `OSError` if there is none."""
    return _stamp(path, path.lstat())


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """Give a descriptor of the regular file *path*, to read; `OSError` if there is none."""
    # Asked before it is opened, too: opening a device may do something.
    _stamp(path, path.lstat())
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _stamp(path, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def read_file(path: Path, most_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """
    Return the content of the regular file *path*.

    Raises:
        OSError: There is none, or it cannot be read.
        ValueError: It is longer than *most_bytes*.
    """
    with opened(path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"longer than {most_bytes:,} bytes")
    return content


def _stamp(path: Path, status: os.stat_result) -> Stamp:
    reason = why_not_readable(status)
    if reason is not None:
        raise NotRegularFile(None, reason, str(path))
    return Stamp(path.name, status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)
