"""Files that are there whole or not at all, locks between processes, and typed errors for both."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from gadgetops.errors import StorageError

CHUNK_BYTES: Final = 1 << 20
"""How much of a file is held in memory at a time."""


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn each `OSError` into the `StorageError` that names *path*, with what a person can do about it."""
    try:
        yield
    except OSError as error:
        hint = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
        raise StorageError(path, error.strerror or str(error), hint=hint) from error


def read_chunks(path: Path) -> Iterator[bytes]:
    """Read *path* piece by piece; `StorageError` if that fails."""
    with storage_errors(path), path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def write_whole(path: Path, chunks: Iterable[bytes], *, scratch: Path, mode: int = 0o666) -> None:
    """
    Write *chunks* to *path* so that it appears, or replaces what was there, whole and durable.

    Args:
        path: Where to.
        chunks: The content; if it raises, nothing has happened.
        scratch: Existing folder on the same file system, for the file while it grows.
        mode: Permissions; the process's umask applies.

    Raises:
        StorageError: It could not be written.
    """
    temporary = scratch / f"{path.name}_{os.urandom(8).hex()}"
    try:
        with storage_errors(path):
            _write_durably(temporary, chunks, mode)
            temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _write_durably(path: Path, chunks: Iterable[bytes], mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.writelines(chunks)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make the names in *path* durable, so that what is written later can rely on them after a crash."""
    with storage_errors(path):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def locked_for_writing(path: Path) -> Iterator[None]:
    """Hold the exclusive lock (flock(2)) on the file *path*, which is made if need be."""
    with storage_errors(path):
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    yield from _hold(file, fcntl.LOCK_EX)


@contextlib.contextmanager
def locked_for_reading(path: Path) -> Iterator[None]:
    """Hold the shared lock on *path*; without one where there is no such file, or none we may open."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        yield
        return
    yield from _hold(file, fcntl.LOCK_SH)


def _hold(file: int, kind: int) -> Iterator[None]:
    # Closing the file gives the lock back, as does the end of the process, however it comes.
    try:
        fcntl.flock(file, kind)
        yield
    finally:
        os.close(file)
