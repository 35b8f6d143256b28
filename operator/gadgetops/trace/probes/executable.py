"""
The functions of an executable or library: where they begin, their code, and where jumps lead into them.

Only the tables are read, not debugging information; of a file as large as a browser that takes a second, and
what was read once is kept.
"""

import functools
import struct
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gadgetops.elf import (
    MACHINE_AARCH64,
    MACHINE_X86_64,
    SYMBOL,
    Binding,
    Elf,
    SectionType,
    SegmentType,
    SymbolType,
)
from gadgetops.errors import ObjectError, StorageError, TraceError
from gadgetops.trace.probes.branches import branch_targets, positions
from gadgetops.trace.probes.code_map import CodeMap

_SYMBOL: Final = struct.Struct(f"<{SYMBOL}")
_TAG: Final = struct.Struct("<qQ")
_NAME_OF_LIBRARY: Final = 14
_FLAGS: Final = 0x6FFFFFFB
_IS_PIE: Final = 0x08000000
"""DT_SONAME, DT_FLAGS_1 and DF_1_PIE of the dynamic section."""
_KEPT_FILES: Final = 64
_MACHINES: Final = {MACHINE_X86_64: "EM_X86_64", MACHINE_AARCH64: "EM_AARCH64"}


@dataclass(frozen=True)
class Function:
    """
    A function in a file.

    Attributes:
        name: In the file; another one than was asked for if it does the same.
        address: As the file numbers its memory.
        offset_bytes: In the file.
        size_bytes: Of its code; 0 if the file does not say.
        cookie: Attach cookie of its probes, by which a gadget finds the arguments (`variants`); 0: none.
    """

    name: str
    address: int
    offset_bytes: int
    size_bytes: int
    cookie: int = 0


_OF_GO: Final = (".note.go.buildid", ".go.buildinfo", ".gopclntab")
"""Sections that Go's linker alone makes; one of them is there in a stripped program, too."""


@dataclass(frozen=True)
class _Segment:
    address: int
    offset_bytes: int
    data: bytes


class _Symbols:
    """
    A table of symbols, which may have a million of them: only those that are asked for are unpacked.

    Args:
        table: Of `Elf64_Sym`.
        names: Null-terminated; a name may be the end of another one.
    """

    def __init__(self, table: bytes, names: bytes) -> None:
        self._table = table
        self._names = names
        self._name_offsets = frozenset(memoryview(table).cast("I")[:: _SYMBOL.size // 4])

    def find(self, name: str, *, exported_only: bool) -> Iterator[tuple[int, int]]:
        """Yield address and size of each function of that name."""
        for _, info, _, section, address, size in self._all_named(name):
            is_hidden = exported_only and info >> 4 == Binding.LOCAL
            if _is_defined(info, section, address) and not is_hidden:
                yield address, size

    def has_own_data(self, name: str) -> bool:
        """Return whether there is a variable of that name, and not only in case no other file has it."""
        return any(
            info >> 4 == Binding.GLOBAL and info & 15 == SymbolType.OBJECT and section != 0
            for _, info, _, section, _, _ in self._all_named(name)
        )

    def has_undefined(self, name: str) -> bool:
        """Return whether a symbol of that name is to be found in another file."""
        return any(section == 0 for _, _, _, section, _, _ in self._all_named(name))

    def beginnings(self) -> Iterator[int]:
        """Yield the address of each function."""
        for _, info, _, section, address, _ in _SYMBOL.iter_unpack(self._table):
            if _is_defined(info, section, address):
                yield address

    def _all_named(self, name: str) -> Iterator[tuple[int, ...]]:
        """Yield each symbol of that name."""
        for name_offset in positions(self._names, name.encode() + b"\0"):
            if name_offset in self._name_offsets:
                yield from self._named(name_offset)

    def _named(self, name_offset: int) -> Iterator[tuple[int, ...]]:
        for position in positions(self._table, struct.pack("<I", name_offset)):
            if position % _SYMBOL.size == 0:
                yield _SYMBOL.unpack_from(self._table, position)


def _is_defined(info: int, section: int, address: int) -> bool:
    """Return whether a symbol is a function that is in the file."""
    return info & 15 == SymbolType.FUNC and section != 0 and address != 0


class Executable:
    """
    A 64-bit ELF file.

    Attributes:
        path: Where it was read.
        machine: Its processor, as ELF names it (`EM_X86_64`), where we know it.
        is_dynamic: Whether it says what it exports; else all of its functions count.
        is_program: Whether it is a program that is linked dynamically, or may be loaded anywhere.
        has_all_functions: Whether it names functions that it does not export, too.
        is_go: Whether Go's linker made it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        elf = Elf.from_file(path)
        if elf.byte_order != "little":
            raise TraceError(f"{path}: only little-endian programs can be traced")
        self.machine = _MACHINES.get(elf.machine, f"machine {elf.machine}")
        self.is_program = _is_program(elf)
        self.is_go = any(elf.section(name) is not None for name in _OF_GO)
        self._segments = [
            _Segment(segment.address, segment.offset_bytes, bytes(segment.data)) for segment in elf.code
        ]
        self._exported = _symbols(elf, ".dynsym")
        self._all = _symbols(elf, ".symtab")
        self._linkage = [
            range(section.address, section.address + section.size_bytes)
            for section in elf.sections
            if section.name.startswith((".plt", ".iplt"))
        ]
        self.is_dynamic = self._exported is not None
        self.has_all_functions = self._all is not None

    def functions(self, name: str, *, exported_only: bool) -> list[Function]:
        """Return the functions of that name, each address once: several if their versions differ."""
        tables = [self._exported] if exported_only and self.is_dynamic else [self._exported, self._all]
        found = [
            place for table in tables if table for place in table.find(name, exported_only=exported_only)
        ]
        return [self._function(name, address, size) for address, size in dict(found).items()]

    def imports(self, names: Iterable[str]) -> bool:
        """Return whether one of *names* is a function that the file takes from another one."""
        return self._exported is not None and any(map(self._exported.has_undefined, names))

    def has_own_data(self, name: str) -> bool:
        """Return whether there is a variable *name*, and not only in case no other file has it."""
        return any(table.has_own_data(name) for table in (self._exported, self._all) if table)

    def defines(self, names: Iterable[str]) -> bool:
        """Return whether one of *names* is a function in the file."""
        return any(self.functions(name, exported_only=False) for name in names)

    def code(self, function: Function) -> bytes:
        """Return the code of *function*."""
        return self.code_at(range(function.address, function.address + function.size_bytes))

    def code_at(self, addresses: range) -> bytes:
        """Return the code at *addresses*, as far as the file has it."""
        segment = self._segment(addresses.start)
        if segment is None:
            return b""
        start = addresses.start - segment.address
        return segment.data[start : start + len(addresses)]

    def offset_bytes(self, address: int) -> int:
        """Return where in the file the code at *address* lies."""
        segment = self._segment(address)
        return address if segment is None else address - segment.address + segment.offset_bytes

    @functools.cached_property
    def code_map(self) -> CodeMap:
        """What the file's tables say about its code."""
        return CodeMap(self.path)

    def extents(self) -> Iterator[tuple[int, int]]:
        """Yield where in the file its code lies, and how many bytes, piece by piece."""
        for segment in self._segments:
            yield segment.offset_bytes, len(segment.data)

    def code_start(self, address: int) -> int:
        """Return where the piece of code around *address* begins."""
        segment = self._segment(address)
        return address if segment is None else segment.address

    def is_in_linkage(self, address: int) -> bool:
        """Return whether *address* is in the table through which functions of other files are called."""
        return any(address in each for each in self._linkage)

    def entries(self, places: Set[int]) -> set[int]:
        """
        Return those of the addresses *places* to which code may come otherwise than from what is before them.

        Other functions' beginnings, and targets of long jumps anywhere in the file. Short jumps come from the
        function itself, and are for its reader.
        """
        found = {*self._beginnings & places}
        for segment in self._segments:
            found |= branch_targets(self.machine, segment.data, segment.address, places)
        return found

    def beginning_before(self, address: int) -> int | None:
        """Return where the last function begins that does so before *address*, of those that have a name."""
        return max((each for each in self._beginnings if each < address), default=None)

    @functools.cached_property
    def _beginnings(self) -> frozenset[int]:
        tables = filter(None, (self._exported, self._all))
        return frozenset(address for symbols in tables for address in symbols.beginnings())

    def _function(self, name: str, address: int, size_bytes: int) -> Function:
        return Function(name, address, self.offset_bytes(address), size_bytes)

    def _segment(self, address: int) -> _Segment | None:
        return next((s for s in self._segments if s.address <= address < s.address + len(s.data)), None)


def _is_program(elf: Elf) -> bool:
    """Return whether a linked file is a program; glibc can be executed, and yet is a library."""
    section = elf.section(".dynamic")
    entries = section.data[: len(section.data) // _TAG.size * _TAG.size] if section else b""
    tags = dict(_TAG.iter_unpack(entries))
    has_interpreter = any(segment.type == SegmentType.INTERPRETER for segment in elf.segments)
    return bool(tags.get(_FLAGS, 0) & _IS_PIE) or (has_interpreter and _NAME_OF_LIBRARY not in tags)


def read_executable(path: Path) -> Executable:
    """
    Return what is in the file at *path*; a file that was read before is not read again.

    Raises:
        TraceError: It is no ELF file, or not of a 64-bit program.
        StorageError: It cannot be read.
    """
    try:
        status = path.stat()
        return _kept(_Version(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, path))
    except ObjectError as error:
        raise TraceError(str(error.named(str(path)))) from error
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error


@dataclass(frozen=True)
class _Version:
    """A file as it is now, wherever it is seen."""

    device: int
    inode: int
    changed_ns: int
    size_bytes: int
    path: Path = field(compare=False)


@functools.lru_cache(_KEPT_FILES)
def _kept(version: _Version) -> Executable:
    return Executable(version.path)


def _symbols(elf: Elf, section_name: str) -> _Symbols | None:
    section = elf.section(section_name)
    if section is None or section.type == SectionType.NOBITS:
        return None
    n_symbols = len(section.data) // _SYMBOL.size
    return _Symbols(bytes(section.data[: n_symbols * _SYMBOL.size]), bytes(elf.linked_strings(section)))
