"""
Slices as they come through the ring buffer: copies of user stacks, in parts, put together.

What a part looks like is read from the object's BTF (`struct slice_part` of the gadget). Beside them come
paths: stacks that the gadget walked itself, as addresses (`struct stack_path`).
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

from gadgetops.bpf.btf import Composite
from gadgetops.bpf.object import Object

SLICE_MISSED: Final = 1
"""In place of a slice's number: none could be sent, and a walk by frame pointers would go astray."""
_TYPE: Final = "slice_part"
_FIELDS: Final = {
    "slice": "Q",
    "timestamp": "Q",
    "pid": "I",
    "tid": "I",
    "offset_bytes": "I",
    "size_bytes": "I",
    "total_bytes": "I",
    "is_settled": "I",
}
"""Members of a part, in its order, each where the one before it ends."""
_HEAD: Final = struct.Struct("<" + "".join(_FIELDS.values()))
_PATH_TYPE: Final = "stack_path"
_PATH_HEAD: Final = struct.Struct("<QQIIII")
"""Number, time, process, thread, position of the first address, and how many addresses the path has."""
_WORD_BYTES: Final = 8
_MOST_UNFINISHED: Final = 4096
"""Slices of which parts were lost are forgotten when there are more."""


class Part(NamedTuple):
    """
    One record.

    Attributes:
        number: Of the slice; never 0.
        timestamp_ns: On the clock of the events.
        pid: Process.
        tid: Thread.
        offset_bytes: Of `memory`, from the stack pointer.
        size_bytes: Of `memory` that counts.
        total_bytes: Of the whole slice.
        is_settled: The gadget knew what is code; else the number is this one copy's alone.
    """

    number: int
    timestamp_ns: int
    pid: int
    tid: int
    offset_bytes: int
    size_bytes: int
    total_bytes: int
    is_settled: int


class Slice(NamedTuple):
    """
    The user stack of one thread at one moment.

    Attributes:
        number: What events call it; never 0.
        pid: Process.
        tid: Thread.
        timestamp_ns: On the clock of the events.
        registers: 8 bytes each, by DWARF's numbers for the machine; the last one is the program counter.
        memory: From the stack pointer upwards, not always to the stack's end.
    """

    number: int
    pid: int
    tid: int
    timestamp_ns: int
    registers: bytes
    memory: bytes


@dataclass(frozen=True)
class SliceLayout:
    """
    How a part lies in its record.

    Attributes:
        size_bytes: Of a record.
        registers_offset: Where the registers begin, 8 bytes each.
        memory_offset: Where they end, and the memory begins.
    """

    size_bytes: int
    registers_offset: int
    memory_offset: int

    @classmethod
    def from_object(cls, obj: Object) -> "SliceLayout | None":
        """Return the layout of the slices of *obj*; None if it sends none, or others."""
        found = next(obj.btf.named(_TYPE, Composite), None) if obj.btf else None
        if found is None:
            return None
        members = {member.name: member.offset_bits // 8 for member in found.members}
        ends = accumulate(map(struct.calcsize, _FIELDS.values()), initial=0)
        expected = dict(zip([*_FIELDS, "registers"], ends, strict=True))
        if "memory" not in members or any(members.get(name) != offset for name, offset in expected.items()):
            return None
        return cls(found.size_bytes, members["registers"], members["memory"])

    def part(self, record: bytes) -> Part:
        """Return what *record* says of itself."""
        return Part(*_HEAD.unpack_from(record))

    def registers(self, record: bytes) -> bytes:
        """Return the registers, 8 bytes each, by DWARF's numbers, the program counter last."""
        return record[self.registers_offset : self.memory_offset]

    def memory(self, record: bytes, size_bytes: int) -> bytes:
        """Return the first *size_bytes* of memory."""
        return record[self.memory_offset : self.memory_offset + size_bytes]


class SliceAssembler:
    """Puts parts of *layout* together."""

    def __init__(self, layout: SliceLayout) -> None:
        self._layout = layout
        self._unfinished: dict[tuple[int, int], _Unfinished] = {}

    def take(self, records: Iterable[bytes]) -> Iterator[Slice]:
        """Yield the slices that *records* complete, in order; those that are no parts are left out."""
        for record in records:
            if len(record) != self._layout.size_bytes:
                continue
            part = self._layout.part(record)
            key = (part.number, part.tid)
            if part.offset_bytes == 0:
                self._unfinished[key] = _Unfinished(part, self._layout.registers(record))
            found = self._unfinished.get(key)
            if found is None or len(found.memory) != part.offset_bytes:
                self._unfinished.pop(key, None)
                continue
            found.memory += self._layout.memory(record, part.size_bytes)
            if len(found.memory) >= part.total_bytes:
                yield self._unfinished.pop(key).whole()
        while len(self._unfinished) > _MOST_UNFINISHED:
            del self._unfinished[next(iter(self._unfinished))]


@dataclass
class _Unfinished:
    first: Part
    registers: bytes
    memory: bytes = b""

    def whole(self) -> Slice:
        part = self.first
        return Slice(part.number, part.pid, part.tid, part.timestamp_ns, self.registers, self.memory)


class Path(NamedTuple):
    """
    A stack that the gadget walked.

    Attributes:
        number: What events call it, as a slice's; never 0.
        pid: Process.
        timestamp_ns: On the clock of the events.
        addresses: Leaf first: the program counter, then return addresses.
    """

    number: int
    pid: int
    timestamp_ns: int
    addresses: tuple[int, ...]


def path_bytes_of(obj: Object) -> int | None:
    """Return the length of the records in which the gadget *obj* sends paths; None if it sends none."""
    found = next(obj.btf.named(_PATH_TYPE, Composite), None) if obj.btf else None
    return None if found is None else found.size_bytes


class PathAssembler:
    """
    Puts parts of paths together.

    Args:
        size_bytes: Length of a part's record; None if none come.
    """

    def __init__(self, size_bytes: int | None) -> None:
        self._size_bytes = size_bytes
        self._unfinished: dict[tuple[int, int], tuple[int, ...]] = {}

    def take(self, records: Iterable[bytes]) -> Iterator[Path]:
        """Yield the paths that *records* complete, in order; those that are no parts are left out."""
        for record in records:
            if len(record) != self._size_bytes:
                continue
            number, timestamp_ns, pid, tid, first, total = _PATH_HEAD.unpack_from(record)
            known = self._unfinished.pop((number, tid), ()) if first else ()
            if len(known) != first:
                continue
            n_here = min(total - first, (len(record) - _PATH_HEAD.size) // _WORD_BYTES)
            addresses = known + struct.unpack_from(f"<{n_here}Q", record, _PATH_HEAD.size)
            if len(addresses) == total:
                yield Path(number, pid, timestamp_ns, addresses)
            else:
                self._unfinished[number, tid] = addresses
        while len(self._unfinished) > _MOST_UNFINISHED:
            del self._unfinished[next(iter(self._unfinished))]
