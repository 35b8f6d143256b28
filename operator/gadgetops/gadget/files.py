"""Writing files beside each other: all of them, whole, or none."""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from gadgetops.errors import StorageError


@contextmanager
def staged(contents: Mapping[Path, bytes]) -> Iterator[None]:
    """
    Write *contents* under other names, and give them their own when the `with` ends without an error.

    Folders that are missing are made, and removed again if they stay empty. Files that are replaced keep
    their mode, and what root writes belongs to whom the replaced file, or else the folder, belongs to.

    Raises:
        StorageError: Something cannot be written; nothing has changed then.
    """
    made = [folder for path in contents for folder in _missing(path.parent)]
    temporaries: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            temporaries[path] = path.with_name(f".{path.name}_{secrets.token_hex(8)}")
            _write(temporaries[path], content, like=path)
        yield
        for path, temporary in temporaries.items():
            _replace(temporary, path)
    except BaseException:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise


def _missing(folder: Path) -> list[Path]:
    """Return the folders on the way to *folder*, itself first, that are not there."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    return missing


def _write(path: Path, content: bytes, *, like: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        model = like.stat() if like.exists() else path.parent.stat()
        if like.exists():
            path.chmod(model.st_mode & 0o7777)
        if os.geteuid() == 0:
            os.chown(path, model.st_uid, model.st_gid)
    except OSError as error:
        raise StorageError.from_os_error(error, like) from error


def _replace(temporary: Path, path: Path) -> None:
    try:
        temporary.replace(path)
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error
