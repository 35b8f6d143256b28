"""
The section `.BTF.ext`: which source line and which CO-RE relocation belongs to which instruction.

By the kernel's Documentation/bpf/btf.rst ("BTF.ext section"). Function infos are not read: nothing here needs
them.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from gadgetops.bpf.btf import EXTENSION_SECTION, Btf, Type
from gadgetops.bpf.instruction import SLOT_BYTES
from gadgetops.elf import ByteOrder
from gadgetops.errors import ObjectError

_MAGIC: Final = 0xEB9F
_HEADER_BYTES: Final = 24
_HEADER_WITH_CORE_BYTES: Final = 32
_RECORD: Final = "IIII"
_RECORD_BYTES: Final = 16
_COLUMN_BITS: Final = 10


class Line(NamedTuple):
    """
    The source text an instruction was compiled from.

    Args:
        position_bytes: Offset of the instruction in its section.
        text: The line as it stood in the file, indentation included.
        file: Name of the file, as the compiler was told it.
        number: Of the line, from 1.
    """

    position_bytes: int
    text: str
    file: str = ""
    number: int = 0


class CoreRelocation(NamedTuple):
    """
    What the loader adjusts to the running kernel's types in one instruction.

    Args:
        position_bytes: Offset of the instruction in its section.
        type_id: Id of the local type.
        local: The local type itself.
        access: Indices separated by colons, as in `"0:1:0"`.
        kind: `enum bpf_core_relo_kind`.
    """

    position_bytes: int
    type_id: int
    local: Type
    access: str
    kind: int


@dataclass(frozen=True)
class Extension:
    """Lines and CO-RE relocations by name of ELF section, sorted by position."""

    lines: Mapping[str, tuple[Line, ...]]
    core_relocations: Mapping[str, tuple[CoreRelocation, ...]]

    @classmethod
    def from_bytes(cls, data: bytes | memoryview, btf: Btf, byte_order: ByteOrder) -> "Extension":
        """
        Return what *data*, the contents of `.BTF.ext`, says.

        Raises:
            ObjectError: It is damaged, or refers to a string or type that *btf* lacks.
        """
        reader = _Reader(bytes(data), "<" if byte_order == "little" else ">")
        lines_place, core_place = reader.places()
        lines = reader.records(*lines_place, btf)
        relocations = reader.records(*core_place, btf)
        return cls(
            {section: _lines(records, btf) for section, records in lines},
            {section: _core_relocations(records, btf) for section, records in relocations},
        )


NOTHING: Final = Extension({}, {})
"""What an object without `.BTF.ext` has."""


def _lines(records: Iterator[tuple[int, ...]], btf: Btf) -> tuple[Line, ...]:
    found = (
        Line(position, btf.strings.at(text), btf.strings.at(file), place >> _COLUMN_BITS)
        for position, file, text, place in records
    )
    return tuple(sorted(found, key=_position))


def _core_relocations(records: Iterator[tuple[int, ...]], btf: Btf) -> tuple[CoreRelocation, ...]:
    found = (
        CoreRelocation(position, type_id, _type(type_id, btf), btf.strings.at(access), kind)
        for position, type_id, access, kind in records
    )
    return tuple(sorted(found, key=_position))


def _position(record: Line | CoreRelocation) -> int:
    return record.position_bytes


def _type(type_id: int, btf: Btf) -> Type:
    if type_id >= len(btf.types):
        raise ObjectError(f"type {type_id} does not exist", section=EXTENSION_SECTION)
    return btf.types[type_id]


class _Reader:
    def __init__(self, data: bytes, prefix: str) -> None:
        self._data = data
        self._prefix = prefix

    def _unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        if offset + struct.calcsize("=" + layout) > len(self._data):
            raise ObjectError("cut short", section=EXTENSION_SECTION, offset_bytes=offset)
        return struct.unpack_from(self._prefix + layout, self._data, offset)

    def places(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return start and size of the lines and of the CO-RE relocations; size 0 if there are none."""
        magic, version, flags, header_bytes, _, _, lines, lines_bytes = self._unpack("HBBIIIII", 0)
        if magic != _MAGIC or version != 1 or flags:
            raise ObjectError("header is damaged", section=EXTENSION_SECTION, offset_bytes=0)
        if header_bytes < _HEADER_BYTES:
            raise ObjectError(f"header of {header_bytes} bytes", section=EXTENSION_SECTION, offset_bytes=4)
        core, core_bytes = (
            self._unpack("II", _HEADER_BYTES) if header_bytes >= _HEADER_WITH_CORE_BYTES else (0, 0)
        )
        return (header_bytes + lines, lines_bytes), (header_bytes + core, core_bytes)

    def records(self, start: int, size: int, btf: Btf) -> Iterator[tuple[str, Iterator[tuple[int, ...]]]]:
        """Yield each ELF section's name and its records of four numbers, the first an aligned position."""
        if size == 0:
            return
        (record_bytes,) = self._unpack("I", start)
        if record_bytes != _RECORD_BYTES:
            raise ObjectError(
                f"records: expected 16 bytes each, got {record_bytes}",
                section=EXTENSION_SECTION,
                offset_bytes=start,
            )
        offset = start + 4
        while offset < start + size:
            name, count = self._unpack("II", offset)
            records = offset + 8
            offset = records + count * _RECORD_BYTES
            if count == 0 or offset > min(start + size, len(self._data)):
                raise ObjectError(f"{count} records", section=EXTENSION_SECTION, offset_bytes=records - 8)
            yield btf.strings.at(name), self._aligned(self._data[records:offset])

    def _aligned(self, records: bytes) -> Iterator[tuple[int, ...]]:
        for record in struct.iter_unpack(self._prefix + _RECORD, records):
            if record[0] % SLOT_BYTES:
                raise ObjectError(f"position {record[0]} is inside an instruction", section=EXTENSION_SECTION)
            yield record
