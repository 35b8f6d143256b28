"""
How a function's caller is found at an address, by the rules in a file's `.eh_frame`, where these are simple.

The Linux Standard Base, for that section and its table `.eh_frame_hdr`. Nearly all functions have simple
rules (`frame_instructions`). For all else (signal frames, stubs of the linker whose rules are expressions,
files without the table) there is no rule here, and libdw has to be asked (`unwind`).
"""

import bisect
import struct
from pathlib import Path
from typing import Final

from gadgetops.elf import Elf
from gadgetops.errors import ObjectError
from gadgetops.stacks.unwinding.cfi_instructions import (
    PROCESSORS,
    NotSimple,
    Processor,
    Reader,
    Rule,
    Rules,
    State,
)

_TABLE_HEAD: Final = struct.Struct("<4BiI")
_TABLE_ENCODINGS: Final = (1, 0x1B, 0x03, 0x3B)
"""Version; relative to their place, unsigned, and relative to the table, 4 bytes each: what linkers write."""
_RELATIVE: Final = 0x1B
_ENDLESS: Final = 0xFFFFFFFF


class NoEntry(NotSimple):
    """The file has rules, but none for an address: it is in no function that they know."""


class FrameRules:
    """
    The rules of one file as it was mapped.

    Args:
        path: The file.
        start_address: Where its part at *file_offset* bytes was mapped.
        file_offset: Of that part.

    Attributes:
        addresses: Where its code was mapped.
        processor: Whose code it is.

    Raises:
        NotSimple: It has no rules that are read here.
    """

    def __init__(self, path: str | Path, start_address: int, file_offset: int) -> None:
        try:
            elf = Elf.from_file(Path(path))
        except (OSError, ObjectError) as error:
            raise NotSimple from error
        segment = elf.code_mapped_from(file_offset)
        rules, table = elf.section(".eh_frame"), elf.section(".eh_frame_hdr")
        processor = PROCESSORS.get(elf.machine)
        if segment is None or rules is None or table is None or processor is None:
            raise NotSimple
        self.processor = processor
        self._has_others = elf.section(".debug_frame") is not None
        self._bias = segment.bias(start_address, file_offset)
        self.addresses = range(self._bias + segment.address, self._bias + segment.address + len(segment.data))
        self._data, self._address = bytes(rules.data), rules.address
        self._starts, self._entries = _table(bytes(table.data), table.address)
        self._heads: dict[int, _Head] = {}

    def at(self, address: int) -> Rule:
        """
        Return the rule at *address* of the process.

        Raises:
            NotSimple: It is none that is read here.
            NoEntry: There is none.
        """
        own = address - self._bias
        index = bisect.bisect_right(self._starts, own) - 1
        if index < 0:
            raise self._no_entry()
        try:
            return self._rule(self._entries[index] - self._address, own)
        except (struct.error, IndexError, KeyError, ValueError) as error:
            raise NotSimple from error

    def _rule(self, position: int, address: int) -> Rule:
        """Return the rule at *address* of the file, by the entry (FDE) at *position* of the section."""
        length, head_distance = struct.unpack_from("<II", self._data, position)
        head = self._head(position + 4 - head_distance)
        start, size_bytes = struct.unpack_from("<iI", self._data, position + 8)
        start += self._address + position + 8
        if length == _ENDLESS:
            raise NotSimple
        if not start <= address < start + size_bytes:
            raise self._no_entry()
        reader = Reader(self._data, position + 16)
        reader.skip(reader.unsigned())
        state = head.begun()
        state.run(reader, position + 4 + length, address - start)
        return state.rule()

    def _no_entry(self) -> NotSimple:
        return NotSimple() if self._has_others else NoEntry()

    def _head(self, position: int) -> "_Head":
        if position < 0:
            raise NotSimple
        if position not in self._heads:
            self._heads[position] = _Head(self._data, position, self.processor)
        return self._heads[position]


def _table(data: bytes, address: int) -> tuple[list[int], list[int]]:
    """Return where functions begin, and where their rules lie, in order, as the file numbers its memory."""
    if len(data) < _TABLE_HEAD.size:
        raise NotSimple
    *encodings, _rules, count = _TABLE_HEAD.unpack_from(data)
    numbers = data[_TABLE_HEAD.size : _TABLE_HEAD.size + 8 * count]
    if tuple(encodings) != _TABLE_ENCODINGS or len(numbers) < 8 * count:
        raise NotSimple
    values = memoryview(numbers).cast("i").tolist()
    return [address + value for value in values[::2]], [address + value for value in values[1::2]]


class _Head:
    """What the entries of many functions have in common (a CIE), at *position*."""

    def __init__(self, data: bytes, position: int, processor: Processor) -> None:
        self._processor = processor
        length, identity, version = struct.unpack_from("<IIB", data, position)
        end = data.index(b"\0", position + 9)
        augmentation = data[position + 9 : end]
        if length == _ENDLESS or identity != 0 or version != 1 or not augmentation.startswith(b"z"):
            raise NotSimple
        reader = Reader(data, end + 1)
        self._factors = reader.unsigned(), reader.signed()
        if reader.fixed(1) != processor.return_address:
            raise NotSimple
        rules_at = reader.unsigned() + reader.position
        encoding = 0
        for letter in augmentation[1:].decode(errors="replace"):
            if letter == "R":
                encoding = reader.fixed(1)
            elif letter == "L":
                reader.skip(1)
            elif letter == "P":
                reader.skip(_pointer_bytes(reader.fixed(1)))
            elif letter not in processor.letters:
                # Signal frames ("S"), and what is not known.
                raise NotSimple
        if encoding != _RELATIVE:
            raise NotSimple
        self._initial = Rules()
        state = self.begun()
        state.run(Reader(data, rules_at), position + 4 + length, 0)
        self._initial = state.rules

    def begun(self) -> State:
        """Return the rules with which each of its functions begins."""
        return State(self._processor, self._initial, *self._factors)


def _pointer_bytes(encoding: int) -> int:
    """Return what a pointer takes, by the lower half of its encoding."""
    sizes = {0x00: 8, 0x02: 2, 0x03: 4, 0x04: 8, 0x0A: 2, 0x0B: 4, 0x0C: 8}
    if encoding & 0x0F not in sizes:
        raise NotSimple
    return sizes[encoding & 0x0F]
