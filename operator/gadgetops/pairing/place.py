"""
Choose where to keep what is made of a recording, and seal it: in the recording, or in the user's cache.

It is kept in the folder `pairs` of a recording that is the user's own; else, and where that cannot be
written, in the cache. What is kept bears a seal that only this user's programs can make: pairs that came with
a recording of somebody else are not believed, and are made anew.
"""

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gadgetops.folders import cache_folder, keep_newest
from gadgetops.recording.files import opened, read_file

FOLDER: Final = "pairs"
"""Name of the folder in that of the recording."""

_CACHE: Final = "pairs"
_MOST_CACHED: Final = 50
"""So many recordings of others have their pairs kept."""
_KEY_FILE: Final = "seal.key"
_KEY_BYTES: Final = 32


def folder_of(path: Path) -> Path | None:
    """
    Return the folder in which this user keeps what is made of the recording *path*; None if there is none.

    It may have to be made; see `made_folder_of`.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    if _is_own(status) and os.access(path, os.W_OK):
        beside = path / FOLDER
        try:
            found = beside.lstat()
        except FileNotFoundError:
            return beside
        except OSError:
            return _cached(status)
        if stat.S_ISDIR(found.st_mode) and _is_own(found) and os.access(beside, os.W_OK):
            return beside
    return _cached(status)


def made_folder_of(path: Path) -> Path | None:
    """Return the same folder, which is there then and can be written; None if there is none."""
    folder = folder_of(path)
    if folder is None or seal_of(b"") is None:
        return None
    try:
        is_cached = folder.parent != path
        folder.mkdir(
            parents=is_cached, exist_ok=True, mode=0o700 if is_cached else path.stat().st_mode & 0o755
        )
        if is_cached:
            # The newest are those that were asked last.
            os.utime(folder)
            keep_newest(folder.parent, _MOST_CACHED)
        status = folder.lstat()
    except OSError:
        return None
    return folder if stat.S_ISDIR(status.st_mode) and _is_own(status) else None


def _is_own(status: os.stat_result) -> bool:
    """Return whether a folder belongs to this user, and not everybody may put something into it."""
    return status.st_uid == os.geteuid() and not status.st_mode & stat.S_IWOTH


def _cached(status: os.stat_result) -> Path | None:
    cache = _cache_folder()
    return None if cache is None else cache / _CACHE / f"{status.st_dev:x}-{status.st_ino:x}"


def _cache_folder() -> Path | None:
    """Return our cache; None if this user has no home."""
    try:
        folder = cache_folder(".")
    except RuntimeError:
        return None
    if os.geteuid() != 0:
        return folder
    # `sudo` may leave HOME as it is: nothing of root's belongs into a user's home.
    base = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    return folder if base.stat().st_uid == 0 else Path(pwd.getpwuid(0).pw_dir) / ".cache/gadgetops"


def write_sealed(path: Path, content: bytes) -> None:
    """Write *content* with its seal, if the user has one, to the file *path*; `OSError` if that fails."""
    seal = seal_of(content)
    if seal is None:
        return
    temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(seal.encode() + b"\n" + content)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_sealed(path: Path) -> bytes:
    """
    Return what `write_sealed` wrote to *path* for this user.

    Raises:
        OSError: It cannot be read.
        ValueError: Its seal is not this user's, or it was changed.
    """
    seal, _, content = read_file(path).partition(b"\n")
    expected = seal_of(content)
    if expected is None or seal != expected.encode():
        raise ValueError("not sealed by this user")
    return content


def seal_of(content: bytes) -> str | None:
    """Return this user's seal for *content*; None if the user has no cache to keep a key in."""
    key = _key()
    if key is None:
        return None
    # Imported here: an error needs no OpenSSL.
    from hashlib import blake2b  # noqa: PLC0415

    return blake2b(content, key=key, digest_size=16).hexdigest()


def _key() -> bytes | None:
    """Return the user's key, which is made if need be; None if it cannot be kept."""
    folder = _cache_folder()
    if folder is None:
        return None
    path = folder / _KEY_FILE
    for replaces in (False, True, True):
        with contextlib.suppress(OSError, ValueError), _own_file(path) as descriptor:
            key = os.read(descriptor, _KEY_BYTES)
            if len(key) == _KEY_BYTES:
                return key
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make_key(path, replaces=replaces)
    return None


@contextlib.contextmanager
def _own_file(path: Path) -> Iterator[int]:
    """Give a descriptor of *path* if nobody else can know or change it; `ValueError` if somebody can."""
    with opened(path) as descriptor:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise ValueError("not for its owner alone")
        yield descriptor


def _make_key(path: Path, *, replaces: bool) -> None:
    """Write a new key, in place of one only if *replaces*: another process may make one at the same time."""
    temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, os.urandom(_KEY_BYTES))
        if replaces:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
