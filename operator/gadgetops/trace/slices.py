"""
Slices as they come through the ring buffer: copies of user stacks, in parts, put together.

What a part looks like is read from the object's BTF (`struct slice_part` of the gadget).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from gadgetops.bpf.btf import Composite
from gadgetops.bpf.object import Object

_TYPE: Final = "slice_part"
_MEMBERS: Final = {
    "slice": "<u8",
    "timestamp": "<u8",
    "pid": "<u4",
    "tid": "<u4",
    "offset_bytes": "<u4",
    "size_bytes": "<u4",
    "total_bytes": "<u4",
    "is_settled": "<u4",
}
_MOST_UNFINISHED: Final = 4096
"""Slices of which parts were lost are forgotten when there are more."""


class Slice(NamedTuple):
    """
    The user stack of one thread at one moment.

    Attributes:
        number: What events call it; never 0.
        pid: Process.
        tid: Thread.
        timestamp_ns: On the clock of the events.
        registers: By DWARF's numbers for the machine; the last one is the program counter.
        memory: From the stack pointer upwards, not always to the stack's end.
        is_settled: The gadget knew what is code; else the number is this one copy's alone.
    """

    number: int
    pid: int
    tid: int
    timestamp_ns: int
    registers: tuple[int, ...]
    memory: bytes
    is_settled: bool


@dataclass
class _Unfinished:
    first: Any
    memory: bytearray


class SliceAssembler:
    """
    Puts parts together.

    Args:
        dtype: One part.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._unfinished: dict[tuple[int, int], _Unfinished] = {}

    @classmethod
    def from_object(cls, obj: Object) -> "SliceAssembler | None":
        """Return the assembler for the slices of *obj*; None if it sends none."""
        found = next(obj.btf.named(_TYPE, Composite), None) if obj.btf else None
        if found is None:
            return None
        offsets = {member.name: member.offset_bits // 8 for member in found.members}
        if not {*_MEMBERS, "registers", "memory"} <= offsets.keys():
            return None
        start, end = offsets["registers"], offsets["memory"]
        formats = {
            **_MEMBERS,
            "registers": ("<u8", ((end - start) // 8,)),
            "memory": f"V{found.size_bytes - end}",
        }
        return cls(
            np.dtype(
                {
                    "names": [*formats],
                    "formats": [*formats.values()],
                    "offsets": [offsets[name] for name in formats],
                    "itemsize": found.size_bytes,
                }
            )
        )

    def take(self, records: Iterable[bytes]) -> Iterator[Slice]:
        """Yield the slices that *records* complete, in order; records of another length are no parts."""
        for record in records:
            if len(record) == self._dtype.itemsize:
                yield from self._take(np.frombuffer(record, self._dtype)[0])

    def _take(self, part: Any) -> Iterator[Slice]:
        key = (int(part["slice"]), int(part["tid"]))
        if part["offset_bytes"] == 0:
            self._unfinished[key] = _Unfinished(part, bytearray())
        found = self._unfinished.get(key)
        if found is None or len(found.memory) != part["offset_bytes"]:
            self._unfinished.pop(key, None)
            return
        found.memory += part["memory"].tobytes()[: int(part["size_bytes"])]
        if len(found.memory) >= part["total_bytes"]:
            del self._unfinished[key]
            yield _slice(found)
        elif len(self._unfinished) > _MOST_UNFINISHED:
            del self._unfinished[next(iter(self._unfinished))]


def _slice(found: _Unfinished) -> Slice:
    part = found.first
    return Slice(
        int(part["slice"]),
        int(part["pid"]),
        int(part["tid"]),
        int(part["timestamp"]),
        tuple(part["registers"].tolist()),
        bytes(found.memory),
        bool(part["is_settled"]),
    )
