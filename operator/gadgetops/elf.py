"""
ELF files: sections, segments, symbols, relocations, notes. What they mean for BPF is `bpf.object`'s matter,
what they mean for a program `trace.executable`'s.

Reads 64-bit ELF of either byte order, by the System V gABI (chapters "Object Files" to "Program Loading").
Any bytes give a value or an `ObjectError`, in time and memory proportional to their number: tables are
checked against the bytes that are there before they are read, and sections may not overlap.

Why not pyelftools, which the tests compare this reader with: importing it takes 50 to 70 ms and walking the
relocations of a 21-program gadget another 36 ms, where this takes 2 ms of the 300 that `inspect` may take,
and of the 500 after which `record` has its first event; and on damaged bytes it raises `OverflowError`,
`struct.error`, `UnicodeDecodeError` and others besides its own class, or loops over as many sections as the
header claims.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, NamedTuple

from gadgetops.errors import ObjectError

ByteOrder = Literal["little", "big"]

MACHINE_NONE: Final = 0
MACHINE_X86_64: Final = 62
MACHINE_AARCH64: Final = 183
MACHINE_BPF: Final = 247
UNDEFINED_SECTION: Final = 0
FLAG_EXECUTABLE: Final = 0x4
NOTE_GNU_BUILD_ID: Final = 3
"""The type of that note; its owner is `GNU`."""

NAME_LIMIT_BYTES: Final = 4096
"""
Longest name of a section or symbol; without a limit many names could share the bytes of one endless string.
"""

_MAGIC: Final = b"\x7fELF"
_CLASS_64: Final = 2
_BYTE_ORDERS: Final[dict[int, ByteOrder]] = {1: "little", 2: "big"}
_HEADER: Final = "16xHHIQQQIHHHHHH"
_HEADER_BYTES: Final = 64
_SECTION: Final = "IIQQQQIIQQ"
_SECTION_BYTES: Final = 64
_SEGMENT: Final = "IIQQQQQQ"
_SEGMENT_BYTES: Final = 56
_SEGMENT_EXECUTABLE: Final = 1
_LARGEST_PAGE_BYTES: Final = 1 << 16
_NOTE: Final = "III"
SYMBOL: Final = "IBBHQQ"
"""Name, type and binding, visibility, section, value and size of a symbol: `Elf64_Sym`, for `struct`."""
SYMBOL_BYTES: Final = 24
_RELOCATION: Final = "QQ"
_RELOCATION_BYTES: Final = 16
_INDEX_IN_SECTION_0: Final = 0xFFFF


class SectionType(IntEnum):
    """The `sh_type` values that matter here."""

    NULL = 0
    PROGBITS = 1
    SYMTAB = 2
    STRTAB = 3
    NOBITS = 8
    REL = 9


class SegmentType(IntEnum):
    """The `p_type` values that matter here."""

    LOAD = 1
    INTERPRETER = 3
    NOTE = 4


class SymbolType(IntEnum):
    """The low four bits of `st_info` that matter here."""

    NOTYPE = 0
    OBJECT = 1
    FUNC = 2
    SECTION = 3


class Binding(IntEnum):
    """The high four bits of `st_info`."""

    LOCAL = 0
    GLOBAL = 1
    WEAK = 2


class Visibility(IntEnum):
    """The low two bits of `st_other`."""

    DEFAULT = 0
    INTERNAL = 1
    HIDDEN = 2
    PROTECTED = 3


@dataclass(frozen=True, slots=True)
class Section:
    """
    One section, in file order.

    Args:
        index: Position in the section table; 0 is the empty section.
        type: `sh_type`, one of `SectionType` or another number.
        address: Where it lies in memory; 0 in objects that are not linked.
        data: Its bytes; empty for `NOBITS`, whose *size_bytes* counts zeros that are not in the file.
        link: Index of a related section (the string table of a symbol table).
        info: For relocations, the index of the section they apply to.
    """

    index: int
    name: str
    type: int
    flags: int
    address: int
    size_bytes: int
    link: int
    info: int
    alignment_bytes: int
    entry_bytes: int
    data: memoryview = field(repr=False)

    @property
    def is_executable(self) -> bool:
        """Whether it holds instructions."""
        return bool(self.flags & FLAG_EXECUTABLE)


class Segment(NamedTuple):
    """
    One segment: what is mapped, or says how.

    Attributes:
        type: `p_type`, one of `SegmentType` or another number.
        offset_bytes: In the file.
        address: In memory.
        data: Its bytes in the file.
    """

    type: int
    is_executable: bool
    offset_bytes: int
    address: int
    data: memoryview

    def bias(self, start_address: int, file_offset: int) -> int:
        """Return what its addresses are off by where *file_offset* is mapped at *start_address*."""
        return start_address - self.address - (file_offset - self.offset_bytes)


class Symbol(NamedTuple):
    """One entry of the symbol table; *value* is an offset in bytes into its section."""

    name: str
    value: int
    size_bytes: int
    section_index: int
    type: int
    binding: int
    visibility: int


class Relocation(NamedTuple):
    """One `REL` entry: what stands at *offset_bytes* of a section refers to *symbol*."""

    offset_bytes: int
    symbol: Symbol


@dataclass(frozen=True)
class Elf:
    """
    A parsed ELF file.

    Args:
        byte_order: `"little"` or `"big"`, for everything in the file, instructions included.
        machine: `e_machine`.
        sections: In file order, the empty section 0 first.
        segments: In file order; none in an object that is not linked.
    """

    byte_order: ByteOrder
    machine: int
    sections: tuple[Section, ...]
    segments: tuple[Segment, ...]

    @classmethod
    def from_file(cls, path: Path) -> "Elf":
        """
        Return the ELF file at *path*. What it refers to of it is mapped: not to be kept, files can be cut.

        Raises:
            ObjectError: As `from_bytes`.
            OSError: It cannot be read.
        """
        with path.open("rb") as stream:
            is_empty = not stream.seek(0, 2)
            data = b"" if is_empty else mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return cls.from_bytes(memoryview(data))

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> "Elf":
        """
        Return the ELF file that *data* holds.

        Raises:
            ObjectError: It is not ELF64, or a table reaches outside *data*.
        """
        byte_order = _byte_order(data)
        fields = struct.unpack_from(_prefix(byte_order) + _HEADER, data)
        machine, table_offset, entry_bytes, count, names_index = (fields[i] for i in (1, 5, 10, 11, 12))
        segments = _segments(memoryview(data), byte_order, *(fields[i] for i in (4, 8, 9)))
        headers = _section_headers(data, byte_order, table_offset, entry_bytes, count)
        if names_index == _INDEX_IN_SECTION_0 and headers:
            names_index = headers[0].link
        return cls(byte_order, machine, _sections(memoryview(data), headers, names_index), segments)

    @property
    def prefix(self) -> str:
        """The character that makes `struct` read this file's byte order."""
        return _prefix(self.byte_order)

    def section(self, name: str) -> Section | None:
        """Return the last section called *name*, or None."""
        return next((section for section in reversed(self.sections) if section.name == name), None)

    @property
    def code(self) -> tuple[Segment, ...]:
        """The segments that are mapped to be executed."""
        return tuple(each for each in self.segments if each.type == SegmentType.LOAD and each.is_executable)

    def code_mapped_from(self, file_offset: int) -> Segment | None:
        """
        Return the code of which a mapping begins at *file_offset*; None if there is none.

        Whole pages are mapped: it may begin before the code does.
        """
        return next(
            (
                each
                for each in self.code
                if -_LARGEST_PAGE_BYTES < file_offset - each.offset_bytes < len(each.data)
            ),
            None,
        )

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """
        The symbol table without its empty first entry; relocation entry N names symbol N - 1.

        Raises:
            ObjectError: There is none, or it is damaged.
        """
        table = next((section for section in self.sections if section.type == SectionType.SYMTAB), None)
        if table is None:
            raise ObjectError("no symbol table")
        if len(table.data) % SYMBOL_BYTES:
            raise ObjectError("size is not a multiple of 24", section=table.name)
        names = self.linked_strings(table)
        entries = struct.iter_unpack(self.prefix + SYMBOL, table.data)
        return tuple(
            Symbol(
                _name_at(names, name_offset, table.name), value, size, index, info & 15, info >> 4, other & 3
            )
            for name_offset, info, other, index, value, size in entries
        )[1:]

    def relocations(self, section: Section) -> Iterator[Relocation]:
        """
        Yield the entries of the relocation *section* in file order.

        Raises:
            ObjectError: An entry is cut short or names no symbol.
        """
        stride = section.entry_bytes
        if stride < _RELOCATION_BYTES:
            raise ObjectError(f"expected entries of 16 bytes, got {stride}", section=section.name)
        if len(section.data) % stride:
            raise ObjectError("last entry is cut short", section=section.name)
        for start in range(0, len(section.data), stride):
            offset, info = struct.unpack_from(self.prefix + _RELOCATION, section.data, start)
            number = info >> 32
            if not 0 < number <= len(self.symbols):
                raise ObjectError(f"symbol {number} does not exist", section=section.name, offset_bytes=start)
            yield Relocation(offset, self.symbols[number - 1])

    def notes(self, owner: bytes, kind: int) -> Iterator[bytes]:
        """Yield what the notes of that owner and type hold; one that is damaged ends those of its segment."""
        layout = struct.Struct(self.prefix + _NOTE)
        for segment in self.segments:
            position = 0
            while segment.type == SegmentType.NOTE and position + layout.size <= len(segment.data):
                name_bytes, size_bytes, found = layout.unpack_from(segment.data, position)
                start = position + layout.size + _padded(name_bytes)
                name = bytes(segment.data[position + layout.size :][:name_bytes])
                if found == kind and name.rstrip(b"\0") == owner and start + size_bytes <= len(segment.data):
                    yield bytes(segment.data[start : start + size_bytes])
                position = start + _padded(size_bytes)

    def linked_strings(self, table: Section) -> memoryview:
        """
        Return the names that *table* refers to by their offset, each ended by a zero.

        Raises:
            ObjectError: There are none.
        """
        if not 0 < table.link < len(self.sections):
            raise ObjectError(f"string table {table.link} does not exist", section=table.name)
        return self.sections[table.link].data


class _SectionHeader(NamedTuple):
    name_offset: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_bytes: int


def _prefix(byte_order: ByteOrder) -> str:
    return "<" if byte_order == "little" else ">"


def _byte_order(data: bytes | memoryview) -> ByteOrder:
    if data[:4] != _MAGIC:
        raise ObjectError("not an ELF file")
    if len(data) < _HEADER_BYTES:
        raise ObjectError(f"ELF header is cut short: expected 64 bytes, got {len(data)}")
    if data[4] != _CLASS_64:
        raise ObjectError("not a 64-bit ELF file", offset_bytes=4)
    byte_order = _BYTE_ORDERS.get(data[5])
    if byte_order is None:
        raise ObjectError(f"byte order: expected 1 or 2, got {data[5]}", offset_bytes=5)
    return byte_order


def _padded(size_bytes: int) -> int:
    """Return what a part of a note takes in the file."""
    return -(-size_bytes // 4) * 4


def _segments(
    data: memoryview, byte_order: ByteOrder, table_offset: int, entry_bytes: int, count: int
) -> tuple[Segment, ...]:
    if count == 0:
        return ()
    if entry_bytes != _SEGMENT_BYTES:
        raise ObjectError(f"program headers: expected 56 bytes each, got {entry_bytes}")
    if table_offset + count * _SEGMENT_BYTES > len(data):
        raise ObjectError(
            f"program header table of {count} reaches outside the file", offset_bytes=table_offset
        )
    table = data[table_offset : table_offset + count * _SEGMENT_BYTES]
    return tuple(
        Segment(kind, bool(flags & _SEGMENT_EXECUTABLE), offset, address, data[offset : offset + size])
        for kind, flags, offset, address, _, size, _, _ in struct.iter_unpack(
            _prefix(byte_order) + _SEGMENT, table
        )
    )


def _section_headers(
    data: bytes | memoryview, byte_order: ByteOrder, table_offset: int, entry_bytes: int, count: int
) -> list[_SectionHeader]:
    if table_offset == 0:
        return []
    if entry_bytes != _SECTION_BYTES:
        raise ObjectError(f"section headers: expected 64 bytes each, got {entry_bytes}")
    layout = struct.Struct(_prefix(byte_order) + _SECTION)
    if count == 0 and table_offset + _SECTION_BYTES <= len(data):
        count = layout.unpack_from(data, table_offset)[5]
    if table_offset + count * _SECTION_BYTES > len(data):
        raise ObjectError(f"section table of {count} reaches outside the file", offset_bytes=table_offset)
    table = data[table_offset : table_offset + count * _SECTION_BYTES]
    return [_SectionHeader._make(fields) for fields in layout.iter_unpack(table)]


def _contents(data: memoryview, header: _SectionHeader) -> memoryview:
    if header.type in (SectionType.NULL, SectionType.NOBITS):
        return data[:0]
    if header.offset + header.size > len(data):
        raise ObjectError(
            f"a section of {header.size} bytes reaches outside the file", offset_bytes=header.offset
        )
    return data[header.offset : header.offset + header.size]


def _sections(data: memoryview, headers: list[_SectionHeader], names_index: int) -> tuple[Section, ...]:
    if not headers:
        return ()
    contents = [_contents(data, header) for header in headers]
    if sum(map(len, contents)) > len(data):
        raise ObjectError("sections overlap")
    if names_index >= len(headers):
        raise ObjectError(f"section {names_index} was to hold the names of sections and does not exist")
    names = contents[names_index]
    return tuple(
        Section(
            index=index,
            name=_name_at(names, header.name_offset, "names of sections"),
            type=header.type,
            flags=header.flags,
            address=header.address,
            size_bytes=header.size,
            link=header.link,
            info=header.info,
            alignment_bytes=header.alignment,
            entry_bytes=header.entry_bytes,
            data=contents[index],
        )
        for index, header in enumerate(headers)
    )


def _name_at(names: memoryview, offset: int, place: str) -> str:
    if offset == 0:
        return ""
    head = bytes(names[offset : offset + NAME_LIMIT_BYTES + 1])
    end = head.find(b"\0")
    if end < 0:
        problem = "name is too long" if len(head) > NAME_LIMIT_BYTES else "name reaches outside its table"
        raise ObjectError(problem, section=place, offset_bytes=offset)
    return head[:end].decode(errors="replace")
