"""
A BPF ring buffer, mapped and read in bulk.

All records of one stream have one size, so what lies between consumer and producer is an array: no loop, no
callback, one copy per column. The kernel maps the data twice in a row, so an array that wraps around is
contiguous.
Kernel documentation: Documentation/bpf/ringbuf.rst.
"""

import mmap
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_BUSY: Final = np.uint32(1 << 31)
_DISCARDED: Final = np.uint32(1 << 30)


class RingBuffer:
    """
    Reader of ring buffer map *fd* of *size_bytes*, whose records have *dtype* (header included).

    Use as a context manager. One reader per map.
    """

    def __init__(self, fd: int, size_bytes: int, dtype: np.dtype[Any]) -> None:
        page = mmap.PAGESIZE
        self._mask = size_bytes - 1
        self._dtype = dtype
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

    def read(self) -> Mapping[str, NDArray[Any]]:
        """
        Return the columns of all finished records, in order, and free their room; empty if there are none.

        Stops at a record that is still being written: what follows comes with the next call.
        """
        records = self._finished()
        kept = records[(records["header"] & _DISCARDED) == 0] if len(records) else records
        columns = {name: kept[name].copy() for name in self._dtype.names or () if name != "header"}
        self._consumer[0] += np.uint64(len(records) * self._dtype.itemsize)
        return columns

    def _finished(self) -> NDArray[Any]:
        consumer = int(self._consumer[0])
        count = (int(self._producer[0]) - consumer) // self._dtype.itemsize
        if count == 0:
            return np.empty(0, self._dtype)
        start = mmap.PAGESIZE + (consumer & self._mask)
        records = np.frombuffer(self._data_map, self._dtype, count, start)
        busy = np.flatnonzero(records["header"] & _BUSY)
        return records[: busy[0]] if len(busy) else records
