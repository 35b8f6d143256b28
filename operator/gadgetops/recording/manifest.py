"""
The checksums of a recording's files: written before each file appears, compared when files are read.

`manifest.txt` has a line for each file: CRC-32 of its content, its length in bytes, its name, and the CRC-32
of the line so far. Where a file was written several times (recording.json, symbols.parquet), each line
counts: a line is written before what it is about. A CRC-32 finds every flipped bit, and takes a fifth of the
time of a cryptographic digest, which would be no safer: whoever changes files can change the manifest.
"""

import contextlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gadgetops.errors import StorageError
from gadgetops.folders import cache_folder, keep_newest
from gadgetops.recording.files import Stamp, opened, read_file, stamp
from gadgetops.recording.schema import HEADER_NAME, SYMBOLS_NAME
from gadgetops.whole_files import replacing_file

MANIFEST_NAME: Final = "manifest.txt"

_LINE: Final = re.compile(r"([0-9a-f]{8}) (\d{1,19}) (\S+)")
_REWRITTEN: Final = (HEADER_NAME, SYMBOLS_NAME)
_CHUNK_BYTES: Final = 1 << 20
_REMEMBERED_BYTES: Final = 64 << 20
"""After so many bytes it is remembered which files were right: reading them takes longer than that."""
_REMEMBERED_FOLDERS: Final = 200


class ManifestWriter:
    """
    Writes the manifest of a recording that is made. Close it.

    Raises:
        StorageError: It cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / MANIFEST_NAME
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._path, flags, 0o666)
        except OSError as error:
            raise StorageError.from_os_error(error, self._path) from error

    def add(self, name: str, content: Path) -> None:
        """Write the line of a file that is going to be called *name* and is now at *content*, durably."""
        try:
            os.write(self._descriptor, _line(name, *_sum(content)).encode())
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise StorageError.from_os_error(error, self._path) from error

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def add_to(folder: Path, name: str, content: Path) -> None:
    """
    Add a line, as `ManifestWriter.add`, to the manifest of a recording that is complete; if it has one.

    Raises:
        StorageError: It cannot be written.
    """
    path = folder / MANIFEST_NAME
    try:
        before = read_file(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error
    # Replaced, not appended to: what stands there may be another name of a file that is somewhere else.
    with replacing_file(path) as temporary:
        temporary.write_bytes(before + _line(name, *_sum(content)).encode())


@dataclass
class Manifest:
    """
    What a manifest says.

    Args:
        sums: By name, the lengths and CRC-32s that the file may have.
        problems: What is wrong with the manifest itself, a sentence each.
    """

    sums: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def problem_of(self, path: Path, known: dict[Stamp, int]) -> str | None:
        """
        Return what is wrong with the file *path*; None if it is what was written.

        Args:
            path: A regular file.
            known: CRC-32s of files that were read before; gets that of this one.
        """
        right = self.sums.get(path.name)
        if right is None:
            # Its line is damaged, perhaps; that is said, and this file is as good as those of old recordings.
            return None if self.problems else f"{path.name} is left out: {MANIFEST_NAME} does not name it"
        wrong = self._difference(path, right, known)
        # The same of the last line of what was written several times.
        return None if self.problems and path.name in _REWRITTEN else wrong

    def _difference(self, path: Path, right: set[tuple[int, int]], known: dict[Stamp, int]) -> str | None:
        """Return how the file *path* differs from what it should be by *right*, lengths and CRC-32s."""
        try:
            found = stamp(path)
            sizes = {size for size, _ in right}
            if found.size_bytes not in sizes:
                expected = " or ".join(f"{size:,}" for size in sorted(sizes))
                return f"{path.name} cannot be read: it has {found.size_bytes:,} bytes of {expected}"
            if found not in known:
                known[found] = _sum(path)[1]
        except OSError as error:
            return f"{path.name} cannot be read: {error.strerror}"
        if (found.size_bytes, known[found]) not in right:
            return f"{path.name} cannot be read: it was changed, its checksum is wrong"
        return None


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of the recording in *folder*; None if it has none."""
    found = Manifest()
    try:
        content = read_file(folder / MANIFEST_NAME)
    except FileNotFoundError:
        return None
    except OSError as error:
        found.problems.append(f"{MANIFEST_NAME} cannot be read: {error.strerror}")
        return found
    except ValueError as error:
        found.problems.append(f"{MANIFEST_NAME} cannot be read: {error}")
        return found
    lines = content.decode("utf-8", "replace").split("\n")
    damaged = [number for number, line in enumerate(lines[:-1], start=1) if not _take(line, found.sums)]
    damaged += [len(lines)] if lines[-1] else []
    if damaged:
        more = f" and {len(damaged) - 1:,} more" if len(damaged) > 1 else ""
        found.problems.append(f"{MANIFEST_NAME} is damaged: line {damaged[0]:,}{more} cannot be read")
    return found


@contextlib.contextmanager
def remembered(folder: Path) -> Iterator[dict[Stamp, int]]:
    """
    Give the CRC-32s that are known of files in *folder*, and keep what the block adds if it took some time.

    They are kept for this process, and in the user's cache.
    """
    try:
        status = folder.stat()
    except OSError:
        yield {}
        return
    key = f"{status.st_dev:x}-{status.st_ino:x}"
    known = _known.setdefault(key, {})
    is_large = not known and _has_much(folder)
    if is_large:
        known |= _read_remembered(key)
    before = set(known)
    yield known
    read_bytes = sum(each.size_bytes for each in known if each not in before)
    if read_bytes >= _REMEMBERED_BYTES:
        _remember(key, known)


_known: dict[str, dict[Stamp, int]] = {}
"""By the recording's folder; a process has few."""


def _has_much(folder: Path) -> bool:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in entries) >= _REMEMBERED_BYTES
    return False


def _read_remembered(key: str) -> dict[Stamp, int]:
    with contextlib.suppress(OSError, ValueError, TypeError, RuntimeError):
        rows = json.loads(read_file(cache_folder("checked") / f"{key}.json"))
        return {Stamp(str(row[0]), *map(int, row[1:5])): int(row[5]) for row in rows}
    return {}


def _remember(key: str, known: Mapping[Stamp, int]) -> None:
    with contextlib.suppress(OSError, StorageError, RuntimeError):
        folder = cache_folder("checked")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing_file(folder / f"{key}.json") as temporary:
            temporary.write_text(json.dumps([[*each, crc] for each, crc in known.items()]), encoding="utf-8")
        keep_newest(folder, _REMEMBERED_FOLDERS)


def _take(line: str, sums: dict[str, set[tuple[int, int]]]) -> bool:
    """Add what *line* says to *sums*, and return whether it is whole."""
    said, _, check = line.rpartition(" ")
    found = _LINE.fullmatch(said)
    if found is None or check != _hex(said.encode()):
        return False
    sums.setdefault(found[3], set()).add((int(found[2]), int(found[1], 16)))
    return True


def _line(name: str, size_bytes: int, crc: int) -> str:
    said = f"{crc:08x} {size_bytes} {name}"
    return f"{said} {_hex(said.encode())}\n"


def _hex(content: bytes) -> str:
    return f"{zlib.crc32(content):08x}"


def _sum(path: Path) -> tuple[int, int]:
    """Return length and CRC-32 of the file *path*."""
    size_bytes = crc = 0
    with opened(path) as descriptor:
        for chunk in _chunks(descriptor):
            size_bytes += len(chunk)
            crc = zlib.crc32(chunk, crc)
    return size_bytes, crc


def _chunks(descriptor: int) -> Iterable[bytes]:
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        yield chunk
