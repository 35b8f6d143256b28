"""
Names and lines for addresses: `debug_info` reads DWARF, `symbol_table` names, pydemumble demangles.

A stripped file may carry its symbols compressed, in `.gnu_debugdata`.

Addresses are looked up relative to their file. Debug files are found as GDB finds them: by build id, and by
the `.gnu_debuglink` of a stripped file, whose checksum must agree (GDB manual, "Separate Debug Files").
"""

import io
import lzma
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import pydemumble
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from gadgetops.stacks.naming.debug_info import DebugInfo
from gadgetops.stacks.naming.dwarf_package import DwarfPackage, find_package
from gadgetops.stacks.naming.files import DAMAGED, build_id_of
from gadgetops.stacks.naming.symbol_table import SymbolTable, read_symbol_table, symbol_table_of

DEBUG_FOLDER: Final = Path("/usr/lib/debug")
_PAGE_MASK: Final = 0xFFF
_EXECUTABLE: Final = 1
_LINES: Final = frozenset((".debug_info", ".zdebug_info"))
_NAMES: Final = frozenset((".symtab", ".dynsym"))
_MOST_MINI_BYTES: Final = 256 << 20
"""Largest `.gnu_debugdata` once decompressed, and the memory that decompressing may take."""
_SPLIT_OFF: Final = re.compile(r"(\.(cold|part|constprop|isra|lto_priv)(\.\d+)*)+$")


@dataclass(frozen=True)
class Location:
    """A function and its line, each None where unknown; the file as the compiler wrote it."""

    function: str | None
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
    shared_link: tuple[str, str] | None = None
    """Name and build id of the file that `dwz` moved common parts to."""
    mini: bytes | None = None
    """The section `.gnu_debugdata`."""


class Module:
    """
    One ELF file as the target mapped it.

    Args:
        path: Where it can be read now; it may be gone.
        build_id: Hex, of the file that was mapped; a file with another one is not asked.
        beside: The folder that has its name, in which debug files are looked for, too; else its own.
        folder: That folder as the target sees it, by which debug files lie in `debug_folders`.
        name: Its name in that folder; else that of *path*.
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
        name: str | None = None,
        mapped_offset: int = 0,
        debug_folders: Sequence[Path] = (DEBUG_FOLDER,),
    ) -> None:
        own = right_file(path, build_id)
        self._headers = _read_headers(own) if own else _Headers()
        self.build_id = build_id or (build_id_of(own) if own else None)
        beside = beside or path.parent
        self._name = beside / (name or path.name)
        candidates = debug_files(own, self.build_id, beside, folder or str(beside), debug_folders)
        self._debug_folders = debug_folders
        best = _best_file([*candidates, *([own] if own else [])])
        table = None if best is None else read_symbol_table(best.path)
        self._tables = [] if table is None else [table]
        self._debug = best.path if best is not None and best.has_lines else None
        if self._debug is None and self._headers.mini is not None:
            self._tables += _mini_tables(self._headers.mini)
        if own is None and best is not None:
            self._headers = _guessed_headers(_read_headers(best.path), mapped_offset)

    def locate(self, file_offset: int, *, is_leaf: bool = False) -> Sequence[Location]:
        """
        Return where the call was that returns to *file_offset* bytes into the file.

        Innermost inlined function first; empty if unknown. *is_leaf*: it may also be the function's first
        instruction, where a stack was taken at its entry; that stands for itself.
        """
        address = self._address(file_offset)
        if address is None:
            return ()
        symbol = self._symbol(address)
        is_first = is_leaf and symbol is not None and symbol[0] == address
        asked = address if is_first else address - 1
        return self._locations(asked, symbol if is_first else self._symbol(asked))

    def _symbol(self, address: int) -> tuple[int, str] | None:
        """Return where the symbol at *address* begins and its name; of several, the nearest."""
        every = (table.lookup(address) for table in self._tables)
        return max(filter(None, every), default=None)

    def _locations(self, address: int, symbol: tuple[int, str] | None) -> list[Location]:
        scopes = [] if self._lines is None else self._lines.scopes(address)
        found = [Location(demangled(scope.name or "") or None, scope.file, scope.line) for scope in scopes]
        if symbol is not None:
            # The table of symbols has names with parameters, also where debug information has none.
            outermost = found[-1] if found else Location(None, None, None)
            found = [*found[:-1], replace(outermost, function=demangled(symbol[1]))]
        return [each for each in found if each.function]

    @cached_property
    def _lines(self) -> DebugInfo | DwarfPackage | None:
        if self._debug is None:
            return None
        package = find_package(self._debug, self._name)
        if package is not None:
            return DwarfPackage(self._debug, package)
        return DebugInfo(self._debug, self._shared_file(self._debug))

    def _shared_file(self, debug: Path) -> Path | None:
        """Return the file that `dwz` moved common parts of *debug* to; None where there is none."""
        link = _read_headers(debug).shared_link
        if link is None:
            return None
        name, build_id = link
        places = [debug.resolve().parent / name, *_files_by_build_id(build_id, self._debug_folders)]
        return next((place for place in places if _build_id_in_section(place) == build_id), None)

    def _address(self, file_offset: int) -> int | None:
        """Return the address that the file has for the byte at *file_offset*."""
        for segment in self._headers.segments:
            if segment.offset <= file_offset < segment.offset + segment.file_size:
                return file_offset - segment.offset + segment.address
        return None


def demangled(name: str) -> str:
    """Return *name* as its author wrote it, in C++ or Rust too; parts that GCC split off are the function."""
    plain = _SPLIT_OFF.sub("", name)
    return pydemumble.demangle(plain) or plain


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
            return _headers_of(stream)
    except DAMAGED:
        return _Headers()


def _headers_of(stream: BinaryIO) -> _Headers:
    elf = ELFFile(stream)
    loaded = tuple(
        _Segment(s["p_offset"], s["p_vaddr"], s["p_filesz"], bool(s["p_flags"] & _EXECUTABLE))
        for s in elf.iter_segments("PT_LOAD")
    )
    link, shared, mini = (
        section.data() if (section := elf.get_section_by_name(name)) else None
        for name in (".gnu_debuglink", ".gnu_debugaltlink", ".gnu_debugdata")
    )
    debug_link = _debug_link(link) if link else None
    return _Headers(loaded, debug_link, _shared_link(shared) if shared else None, mini)


def _build_id_in_section(path: Path) -> str | None:
    """Return the build id of a file that `dwz` made, which has no segments."""
    try:
        with path.open("rb") as stream:
            section = ELFFile(stream).get_section_by_name(".note.gnu.build-id")
            notes = section.iter_notes() if isinstance(section, NoteSection) else ()
            return next((str(note["n_desc"]) for note in notes), None)
    except DAMAGED:
        return None


def _debug_link(content: bytes) -> tuple[str, int] | None:
    """Return name and CRC-32 of the debug file: a string padded to four bytes, and the checksum."""
    name, _, _ = content.partition(b"\0")
    (checksum,) = struct.unpack_from("<I", content, (len(name) + 4) & ~3)
    return name.decode(errors="surrogateescape"), checksum


def _shared_link(content: bytes) -> tuple[str, str]:
    """Return name and build id of the shared file: a string, and the bytes of the id."""
    name, _, build_id = content.partition(b"\0")
    return name.decode(errors="surrogateescape"), build_id.hex()


def _guessed_headers(debug: _Headers, mapped_offset: int) -> _Headers:
    """
    Return where code lies in a file of which only the debug file is left.

    A debug file keeps addresses, not offsets. With one executable segment, that is what was mapped.
    """
    code = [segment for segment in debug.segments if segment.is_executable]
    if len(code) != 1:
        return _Headers()
    start = code[0].address & ~_PAGE_MASK
    # The size is not there either: symbols know where functions end.
    whole = _Segment(mapped_offset, start, 1 << 40, is_executable=True)
    return _Headers((whole,))


class _Symbols(NamedTuple):
    """A file to ask for symbols, and whether it has lines, too."""

    path: Path
    has_lines: bool


def _best_file(candidates: Sequence[Path]) -> _Symbols | None:
    """Return the first file that has lines, else the first that has names; None if there is none."""
    known = [(path, _sections(path)) for path in candidates]
    for wanted in (_LINES, _NAMES):
        for path, sections in known:
            if wanted & sections:
                return _Symbols(path, has_lines=wanted is _LINES)
    return None


def _sections(path: Path) -> set[str]:
    """Return the names of sections that have contents in the file; none if it is damaged."""
    try:
        with path.open("rb") as stream:
            return {each.name for each in ELFFile(stream).iter_sections() if each["sh_type"] != "SHT_NOBITS"}
    except DAMAGED:
        return set()


def _mini_tables(compressed: bytes) -> list[SymbolTable]:
    """Return the symbols of the file in a section `.gnu_debugdata`: none if it is damaged or too large."""
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MINI_BYTES)
        content = unpacker.decompress(compressed, _MOST_MINI_BYTES)
        table = symbol_table_of(io.BytesIO(content))
    except (lzma.LZMAError, EOFError, *DAMAGED):
        return []
    return [] if table is None else [table]


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
