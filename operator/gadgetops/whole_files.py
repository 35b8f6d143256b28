"""Write files so that a reader sees them complete or not at all, and lock them between processes."""

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from gadgetops.errors import StorageError

_PARTIAL_SUFFIX: Final = ".partial"
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


def write_file(path: Path, chunks: Iterable[bytes], *, scratch: Path, mode: int = 0o666) -> None:
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
        _sync(path)


@contextlib.contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """
    Give a temporary path to write to; what is there at the end becomes *path*, durable.

    Raises:
        StorageError: It cannot be written; *path* is as it was.
    """
    # A name that no other process has, and that nobody can have put a link at.
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}{_PARTIAL_SUFFIX}")
    try:
        with storage_errors(path):
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing_files(contents: Mapping[Path, bytes]) -> Iterator[None]:
    """
    Write *contents* under other names, and give them their own when the `with` ends without an error.

    Folders that are missing are made, and removed again if it ends with one. A symbolic link stays one: what
    it points to is replaced. Files that are replaced keep their mode and owner; what else root writes belongs
    to whom the folder belongs to.

    Raises:
        StorageError: Something cannot be written; nothing has changed then.
    """
    contents = {path.resolve(): content for path, content in contents.items()}
    folders = _missing_folders(contents)
    temporaries = {path: path.with_name(f".{path.name}_{secrets.token_hex(8)}") for path in contents}
    try:
        for folder in folders:
            with storage_errors(folder):
                folder.mkdir()
                _give_away(folder, folder.parent)
        for path, temporary in temporaries.items():
            with storage_errors(path):
                _write(temporary, contents[path], replaced=path)
        yield
        for path, temporary in temporaries.items():
            with storage_errors(path):
                temporary.replace(path)
    except BaseException:
        _remove(temporaries.values(), folders)
        raise


def _missing_folders(paths: Iterable[Path]) -> list[Path]:
    """Return the folders that *paths* need and that are not there, an outer one before an inner one."""
    parents = {parent for path in paths for parent in path.parents}
    return sorted(parent for parent in parents if not parent.exists())


def _write(temporary: Path, content: bytes, *, replaced: Path) -> None:
    if replaced.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    temporary.write_bytes(content)
    is_replacement = replaced.exists()
    if is_replacement:
        temporary.chmod(replaced.stat().st_mode & 0o7777)
    _give_away(temporary, replaced if is_replacement else temporary.parent)


def _give_away(path: Path, like: Path) -> None:
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _remove(files: Iterable[Path], folders: list[Path]) -> None:
    for path in files:
        with contextlib.suppress(OSError):
            path.unlink()
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            folder.rmdir()


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
