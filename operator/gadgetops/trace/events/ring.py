"""
A BPF ring buffer, mapped and read in bulk.

The events of one stream have one size, so what lies between consumer and producer is nearly an array: no loop
and no callback, one copy per column. Records of other sizes are taken out one by one. The kernel maps the
data twice in a row, so an array that wraps around is contiguous.
Kernel documentation: Documentation/bpf/ringbuf.rst.
"""

import mmap
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_HEADER_BYTES: Final = 8
_WORD_BYTES: Final = 4
_BUSY: Final = 1 << 31
_DISCARDED: Final = 1 << 30
_FLAGS: Final = _BUSY | _DISCARDED
_BYTES_AT_ONCE: Final = 16 << 20
_SHORT_RUN: Final = 4
"""Up to so many events one after the other are looked at singly: slices make many short runs."""
_FURTHER_LOOKS: Final = 16
"""How many times as many are looked at next, when there was nothing else among them."""


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
        self.room_bytes = size_bytes
        self._mask = size_bytes - 1
        self._dtype = dtype
        self._event_bytes = event_bytes
        self._bytes_at_once = bytes_at_once
        self._consumer_map = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._data_map = mmap.mmap(fd, page + 2 * size_bytes, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer = np.frombuffer(self._consumer_map, "<u8", 1)
        self._producer = np.frombuffer(self._data_map, "<u8", 1)
        self._data = memoryview(self._data_map)[page:]
        self._words = self._data.cast("I")

    def __enter__(self) -> "RingBuffer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._consumer, self._producer
        self._words.release()
        self._data.release()
        self._consumer_map.close()
        self._data_map.close()

    def read(self) -> Batch:
        """
        Return finished records and free their room.

        Stops at a record that is still being written, and with the record that reaches `bytes_at_once`: what
        follows comes with the next call.
        """
        runs: list[memoryview] = []
        others: list[bytes] = []
        # Looked up once: this is done for every slice while the recorded program runs.
        words, mask, data, event_bytes = self._words, self._mask, self._data, self._event_bytes
        start = position = int(self._consumer[0])
        end = int(self._producer[0])
        stop = min(end, start + self._bytes_at_once)
        while position < stop:
            offset = position & mask
            header = words[offset // _WORD_BYTES]
            if header == event_bytes:
                size_bytes = self._end_of_run(position, stop, end) - position
                runs.append(data[offset : offset + size_bytes])
                position += size_bytes
                continue
            if header & _BUSY:
                break
            offset += _HEADER_BYTES
            length = header & ~_FLAGS
            if not header & _DISCARDED:
                others.append(bytes(data[offset : offset + length]))
            position += -(-(length + _HEADER_BYTES) // 8) * 8
        batch = Batch(self._columns(runs), others, position - start)
        self._consumer[0] = position
        return batch

    @property
    def size_bytes(self) -> int:
        """How much is in it now."""
        return int(self._producer[0]) - int(self._consumer[0])

    def _columns(self, runs: list[memoryview]) -> Mapping[str, NDArray[Any]]:
        events = np.frombuffer(runs[0] if len(runs) == 1 else b"".join(runs), self._dtype)
        names = [name for name in self._dtype.names or () if name != "header"]
        return {name: events[name].copy() for name in names}

    def _end_of_run(self, position: int, stop: int, end: int) -> int:
        """Return where the events that begin at *position* end: at another record, at *stop* or behind it."""
        stride = self._dtype.itemsize
        short = min(stop, position + _SHORT_RUN * stride)
        while position < short:
            if self._words[(position & self._mask) // _WORD_BYTES] != self._event_bytes:
                return position
            position += stride
        ahead = _SHORT_RUN
        while position < stop:
            ahead *= _FURTHER_LOOKS
            n_wanted = min(ahead, -(-(stop - position) // stride))
            n_events = self._n_events(position, min(n_wanted, (end - position) // stride))
            position += n_events * stride
            if n_events < n_wanted:
                break
        return position

    def _n_events(self, position: int, at_most: int) -> int:
        """Return how many of *at_most* records of an event's size are events, up to the first other one."""
        if at_most == 0:
            return 0
        stride, offset = self._dtype.itemsize, position & self._mask
        is_event = np.ndarray((at_most,), "<u4", self._data, offset, (stride,)) == self._event_bytes
        first_other = int(is_event.argmin())
        return at_most if is_event[first_other] else first_other
