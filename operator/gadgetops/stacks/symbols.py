"""
Names and lines for addresses: symbolic does the DWARF work, pydemumble the demangling.

Addresses are looked up relative to their file. Debug files are found as GDB finds them: by build id, and by
the `.gnu_debuglink` of a stripped file, whose checksum must agree (GDB manual, "Separate Debug Files").
"""

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pydemumble
from elftools.elf.elffile import ELFFile
from symbolic.debuginfo import Archive
from symbolic.exceptions import SymbolicError
from symbolic.symcache import SymCache

from gadgetops.stacks.files import DAMAGED, build_id_of

DEBUG_FOLDER: Final = Path("/usr/lib/debug")
_PAGE_MASK: Final = 0xFFF
_EXECUTABLE: Final = 1
_SPLIT_OFF: Final = re.compile(r"(\.(cold|part|constprop|isra|lto_priv)(\.\d+)*)+$")


@dataclass(frozen=True)
class Location:
    """A function and, where known, the line of it; the file as the compiler wrote it."""

    function: str
    file: str | None
    line: int | None


@dataclass(frozen=True)
class _Segment:
    """A part of a file that is loaded: bytes, and addresses as the file has them."""

    offset: int
    address: int
    file_size: int
    is_executable: bool


@dataclass(frozen=True)
class _Headers:
    """What of an ELF file says where its code is loaded, and where its symbols may be."""

    segments: tuple[_Segment, ...] = ()
    debug_link: tuple[str, int] | None = None

    @property
    def base(self) -> int:
        """The lowest address, from which symbolic counts."""
        return min((segment.address for segment in self.segments), default=0)


class Module:
    """
    One ELF file as the target mapped it.

    Args:
        path: Where it can be read now; it may be gone.
        build_id: Hex, of the file that was mapped; a file with another one is not asked.
        beside: The folder that has its name, in which debug files are looked for, too; else its own.
        folder: That folder as the target sees it, by which debug files lie in `debug_folders`.
        mapped_offset: Offset in bytes into the file of the code that was mapped; for when only a debug file
            is left, which does not tell.
        debug_folders: Folders with debug files.
    """

    def __init__(
        self,
        path: Path,
        build_id: str | None = None,
        *,
        beside: Path | None = None,
        folder: str | None = None,
        mapped_offset: int = 0,
        debug_folders: Sequence[Path] = (DEBUG_FOLDER,),
    ) -> None:
        own = right_file(path, build_id)
        self._headers = _read_headers(own) if own else _Headers()
        self.build_id = build_id or (build_id_of(own) if own else None)
        beside = beside or path.parent
        candidates = debug_files(own, self.build_id, beside, folder or str(beside), debug_folders)
        self._cache, debug = _best_symbols([*candidates, *([own] if own else [])])
        if debug is not None and own is None:
            self._headers = _guessed_headers(_read_headers(debug), mapped_offset)

    @property
    def has_symbols(self) -> bool:
        """Whether anything is known of it."""
        return self._cache is not None

    def locate(self, file_offset: int, *, is_leaf: bool = False) -> Sequence[Location]:
        """
        Return where the call was that returns to *file_offset* bytes into the file.

        Innermost inlined function first; empty if unknown. *is_leaf*: it may also be the function's first
        instruction, where a stack was taken at its entry; that stands for itself.
        """
        address = self._address(file_offset)
        if self._cache is None or address is None:
            return ()
        found = self._cache.lookup(address) if is_leaf else []
        if not (found and found[-1].sym_addr == address):
            found = self._cache.lookup(address - 1)
        return [_location(each) for each in found]

    def _address(self, file_offset: int) -> int | None:
        """Return the address relative to the file's lowest one, which is what symbolic asks for."""
        for segment in self._headers.segments:
            if segment.offset <= file_offset < segment.offset + segment.file_size:
                return file_offset - segment.offset + segment.address - self._headers.base
        return None


def demangled(name: str) -> str:
    """Return *name* as its author wrote it, in C++ or Rust too; parts that GCC split off are the function."""
    plain = _SPLIT_OFF.sub("", name)
    return pydemumble.demangle(plain) or plain


def _location(found: Any) -> Location:
    return Location(demangled(found.symbol), found.full_path or None, found.line or None)


def right_file(path: Path, build_id: str | None) -> Path | None:
    """Return *path* if it is there and has this build id, or none, or none is known; else None."""
    return path if path.is_file() and _is_right(path, build_id) else None


def debug_files(
    own: Path | None, build_id: str | None, beside: Path, folder: str, debug_folders: Sequence[Path]
) -> list[Path]:
    """
    Return the debug files of a file that exist: first by its build id, then by the name that it gives.

    Args:
        own: The file; None if it is gone.
        build_id: Hex; None where unknown.
        beside: The folder that has its name.
        folder: That folder as the target sees it.
        debug_folders: Folders with debug files.
    """
    debug_link = _read_headers(own).debug_link if own else None
    linked = _linked_files(debug_link, beside, folder, debug_folders)
    return [*_files_by_build_id(build_id, debug_folders), *linked]


def _is_right(path: Path, build_id: str | None) -> bool:
    actual = build_id_of(path) if build_id else None
    return actual is None or actual == build_id


def _read_headers(path: Path) -> _Headers:
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            loaded = tuple(
                _Segment(s["p_offset"], s["p_vaddr"], s["p_filesz"], bool(s["p_flags"] & _EXECUTABLE))
                for s in elf.iter_segments("PT_LOAD")
            )
            section = elf.get_section_by_name(".gnu_debuglink")
            return _Headers(loaded, _debug_link(section.data()) if section else None)
    except DAMAGED:
        return _Headers()


def _debug_link(content: bytes) -> tuple[str, int] | None:
    """Return name and CRC-32 of the debug file: a string padded to four bytes, and the checksum."""
    name, _, _ = content.partition(b"\0")
    (checksum,) = struct.unpack_from("<I", content, (len(name) + 4) & ~3)
    return name.decode(errors="surrogateescape"), checksum


def _guessed_headers(debug: _Headers, mapped_offset: int) -> _Headers:
    """
    Return where code lies in a file of which only the debug file is left.

    A debug file keeps addresses, not offsets. With one executable segment, that is what was mapped.
    """
    code = [segment for segment in debug.segments if segment.is_executable]
    if len(code) != 1:
        return _Headers()
    segments = [segment for segment in debug.segments if not segment.is_executable]
    start = code[0].address & ~_PAGE_MASK
    # The size is not there either: the cache knows where functions end.
    whole = _Segment(mapped_offset, start, 1 << 40, is_executable=True)
    lowest = min((segment.address for segment in [*segments, code[0]]), default=start)
    return _Headers((whole, _Segment(0, lowest, 0, is_executable=False)))


def _best_symbols(candidates: Sequence[Path]) -> tuple[SymCache | None, Path | None]:
    """Return the symbols of the first file that has lines, else of the first that has names, and the file."""
    objects = [(found, path) for path in candidates if (found := _object(path)) is not None]
    for wanted in ("debug", "symtab"):
        for found, path in objects:
            if wanted in found.features:
                try:
                    return SymCache.from_object(found), path
                except SymbolicError:
                    continue
    return None, None


def _object(path: Path) -> Any:
    try:
        return next(iter(Archive.open(str(path)).iter_objects()), None)
    except (OSError, SymbolicError):
        return None


def _files_by_build_id(build_id: str | None, debug_folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the debug files of that build that exist."""
    for folder in debug_folders if build_id else ():
        place = folder / ".build-id" / (build_id or "")[:2] / f"{(build_id or '')[2:]}.debug"
        if place.is_file():
            yield place


def _linked_files(
    debug_link: tuple[str, int] | None, beside: Path, folder: str, debug_folders: Sequence[Path]
) -> Iterator[Path]:
    """Yield the debug files that a file names, exist, and have the right checksum."""
    if debug_link is None:
        return
    name, checksum = debug_link
    places = [beside / name, beside / ".debug" / name]
    places += [debug_folder / folder.lstrip("/") / name for debug_folder in debug_folders]
    yield from (place for place in places if place.is_file() and _crc32(place) == checksum)


def _crc32(path: Path) -> int | None:
    checksum = 0
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                checksum = zlib.crc32(block, checksum)
    except OSError:
        return None
    return checksum
