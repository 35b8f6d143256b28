"""
A BPF ring buffer, mapped and read in bulk.

The events of one stream have one size, so what lies between consumer and producer is nearly an array: no loop
and no callback, one copy per column. Records of other sizes, which are rare, are taken out one by one. The
kernel maps the data twice in a row, so an array that wraps around is contiguous.
Kernel documentation: Documentation/bpf/ringbuf.rst.
"""

import mmap
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_HEADER: Final = struct.Struct("<I")
_HEADER_BYTES: Final = 8
_BUSY: Final = 1 << 31
_DISCARDED: Final = 1 << 30
_FLAGS: Final = _BUSY | _DISCARDED
_BYTES_AT_ONCE: Final = 16 << 20
_FIRST_LOOK: Final = 64
_FURTHER_LOOKS: Final = 16
"""
How many events are looked at for the end of a run, and how many times as many when it was not among them:
what follows another record is looked at again.
"""


class Batch(NamedTuple):
    """
    What was read at once.

    Attributes:
        columns: Of the events, in order.
        others: Contents of the records of another size, without header, in order among themselves.
        size_bytes: What they took in the ring buffer.
    """

    columns: Mapping[str, NDArray[Any]]
    others: list[bytes]
    size_bytes: int


class RingBuffer:
    """
    Reader of ring buffer map *fd* of *size_bytes*, whose events have *dtype* (header included).

    Use as a context manager. One reader per map.

    Args:
        fd: The map.
        size_bytes: Of its data.
        dtype: One event; `header` is the record's length and flags.
        event_bytes: Length of an event without header, before it is rounded up to 8.
        bytes_at_once: How much is read before its room is free again, about.
    """

    def __init__(
        self,
        fd: int,
        size_bytes: int,
        dtype: np.dtype[Any],
        event_bytes: int,
        *,
        bytes_at_once: int = _BYTES_AT_ONCE,
    ) -> None:
        page = mmap.PAGESIZE
        self._mask = size_bytes - 1
        self._dtype = dtype
        self._opaque = np.dtype((np.void, dtype.itemsize))
        self._event_bytes = event_bytes
        self._bytes_at_once = bytes_at_once
        self._consumer_map = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._data_map = mmap.mmap(fd, page + 2 * size_bytes, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer = np.frombuffer(self._consumer_map, "<u8", 1)
        self._producer = np.frombuffer(self._data_map, "<u8", 1)

    def __enter__(self) -> "RingBuffer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._consumer, self._producer
        self._consumer_map.close()
        self._data_map.close()

    def read(self) -> Batch:
        """
        Return finished records and free their room.

        Stops at a record that is still being written, and with the record that reaches `bytes_at_once`: what
        follows comes with the next call.
        """
        runs, others = [], []
        start = position = int(self._consumer[0])
        end = int(self._producer[0])
        stop = min(end, start + self._bytes_at_once)
        ahead = _FIRST_LOOK
        while position < stop:
            header = self._header(position)
            if header == self._event_bytes:
                run = self._run(position, end, min(ahead, -(-(stop - position) // self._dtype.itemsize)))
                ahead = ahead * _FURTHER_LOOKS if len(run) == ahead else _FIRST_LOOK
                runs.append(run)
                position += run.nbytes
                continue
            if header & _BUSY:
                break
            ahead = _FIRST_LOOK
            length = header & ~_FLAGS
            if not header & _DISCARDED:
                others.append(self._contents(position, length))
            position += -(-(length + _HEADER_BYTES) // 8) * 8
        batch = Batch(self._columns(runs), others, position - start)
        self._consumer[0] = position
        return batch

    @property
    def size_bytes(self) -> int:
        """How much is in it now."""
        return int(self._producer[0]) - int(self._consumer[0])

    def _columns(self, runs: list[NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        names = [name for name in self._dtype.names or () if name != "header"]
        if not runs:
            return {name: np.empty(0, self._dtype[name]) for name in names}
        # Slices make many short runs: those are put together at once, not column by column.
        events = runs[0] if len(runs) == 1 else np.concatenate(runs)
        return {name: events.view(self._dtype)[name].copy() for name in names}

    def _run(self, position: int, end: int, at_most: int) -> NDArray[Any]:
        """Return the events from *position* on up to the first other record, as bytes that are alike."""
        count = min((end - position) // self._dtype.itemsize, at_most)
        records = np.frombuffer(self._data_map, self._opaque, count, self._offset(position))
        is_event = records.view(self._dtype)["header"] == self._event_bytes
        first_other = int(is_event.argmin())
        return records if is_event[first_other] else records[:first_other]

    def _header(self, position: int) -> int:
        header: int = _HEADER.unpack_from(self._data_map, self._offset(position))[0]
        return header

    def _contents(self, position: int, length: int) -> bytes:
        start = self._offset(position) + _HEADER_BYTES
        return self._data_map[start : start + length]

    def _offset(self, position: int) -> int:
        return mmap.PAGESIZE + (position & self._mask)
