"""Writing files beside each other: all of them, whole, or none."""

import errno
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from gadgetops.errors import StorageError


@contextmanager
def staged(contents: Mapping[Path, bytes]) -> Iterator[None]:
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
            with _named_errors(folder):
                folder.mkdir()
                _give_away(folder, folder.parent)
        for path, temporary in temporaries.items():
            with _named_errors(path):
                _write(temporary, contents[path], replaced=path)
        yield
        for path, temporary in temporaries.items():
            with _named_errors(path):
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
        with suppress(OSError):
            path.unlink()
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` into the `StorageError` that names *path*, whatever name it was working under."""
    try:
        yield
    except OSError as error:
        raise StorageError(path, error.strerror or str(error)) from error
