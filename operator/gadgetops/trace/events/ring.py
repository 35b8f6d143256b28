"""
A BPF ring buffer, mapped in windows and read in bulk.

The kernel counts every mapped page as resident, twice where it is mapped twice: so only a window moves along
with the reader. The kernel has the data twice in a row, so that a record which wraps around is contiguous.
Nothing here needs numpy: the process that empties the ring buffer is small, and there at once.
Kernel documentation: Documentation/bpf/ringbuf.rst.
"""

import mmap
from itertools import takewhile
from typing import Final

HEADER_BYTES: Final = 8
"""Of each record: its length with two flags, and where its page is."""
ALIGNMENT_BYTES: Final = 8
"""Records begin at multiples of this."""
WORD_BYTES: Final = 4
BUSY: Final = 1 << 31
"""In a record's length: it is being written."""
DISCARDED: Final = 1 << 30
"""In a record's length: it is not to be read."""
FLAGS: Final = BUSY | DISCARDED

WINDOW_BYTES: Final = 4 << 20
"""How much a reader maps at once, and as much behind it."""
_SHORT_RUN: Final = 4
"""Up to so many events one after the other are looked at singly: slices make many short runs."""
_FURTHER_LOOKS: Final = 16
"""How many times as many are looked at next, when there was nothing else among them."""


def record_bytes(length: int) -> int:
    """Return what a record of *length* bytes takes, with its header."""
    return -(-(length + HEADER_BYTES) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


class RingBuffer:
    """
    Reader of ring buffer map *fd* of *size_bytes*. One reader per map.

    Args:
        fd: The map.
        size_bytes: Of its data; a power of two.
        event_bytes: Length of the records that are the most, without header.
        window_bytes: How much is mapped at once, half of it to be read; a power of two.

    Attributes:
        protection: Of the mapped data; see mmap(2).
    """

    protection = mmap.PROT_READ

    def __init__(
        self, fd: int, size_bytes: int, event_bytes: int, *, window_bytes: int = WINDOW_BYTES
    ) -> None:
        page = mmap.PAGESIZE
        self.room_bytes = size_bytes
        self._fd = fd
        self._event_bytes = event_bytes
        self._window_bytes = min(size_bytes, window_bytes)
        consumer = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        producer = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer = memoryview(consumer).cast("Q")
        self._producer = memoryview(producer).cast("Q")
        self._window_offset = -1
        self._window = memoryview(b"")
        self._words = self._window

    @property
    def size_bytes(self) -> int:
        """How much is in it now."""
        return self._producer[0] - self._consumer[0]

    def read(self) -> memoryview:
        """
        Return finished records one after the other, as they lie there; empty where there is none.

        Stops at a record that is still being written and at the end of the window: what follows comes once
        `free` was called. The room is not used again before that.
        """
        position, end = self._consumer[0], self._producer[0]
        if position == end:
            return memoryview(b"")
        start = position % self._window_bytes
        self._map_window((position - start) % self.room_bytes)
        last = end - position + start
        return self._window[start : self._end_of_finished(start, min(last, self._window_bytes), last)]

    def free(self, size_bytes: int) -> None:
        """Give the room of the first *size_bytes* back."""
        self._consumer[0] += size_bytes

    def _map_window(self, offset: int) -> None:
        """Map what begins at *offset* of the data; records that begin in its first half end in its second."""
        if offset == self._window_offset:
            return
        # The old one first: it is unmapped with the last reference to it.
        self._words = self._window = memoryview(b"")
        window = mmap.mmap(
            self._fd,
            2 * self._window_bytes,
            mmap.MAP_SHARED,
            self.protection,
            offset=2 * mmap.PAGESIZE + offset,
        )
        self._window_offset = offset
        self._window = memoryview(window)
        self._words = self._window.cast("I")

    def _end_of_finished(self, position: int, stop: int, end: int) -> int:
        """Return where the first record ends that is not finished or begins at *stop* or behind it."""
        words, event_bytes = self._words, self._event_bytes
        while position < stop:
            header = words[position // WORD_BYTES]
            if header == event_bytes:
                position = end_of_run(words, position, stop, end, event_bytes)
                continue
            if header & BUSY:
                break
            position += record_bytes(header & ~FLAGS)
        return position


def end_of_run(words: memoryview, position: int, stop: int, end: int, event_bytes: int) -> int:
    """
    Return where the events that begin at *position* end: at another record, at *stop* or behind it.

    Args:
        words: Records, in words of 4 bytes.
        position: Of an event, in bytes.
        stop: Where an event may begin at the latest, in bytes.
        end: Where the last record ends, in bytes.
        event_bytes: Length of an event, without header.
    """
    stride = record_bytes(event_bytes)
    short = min(stop, position + _SHORT_RUN * stride)
    while position < short:
        if words[position // WORD_BYTES] != event_bytes:
            return position
        position += stride
    ahead = _SHORT_RUN
    while position < stop:
        ahead *= _FURTHER_LOOKS
        n_wanted = min(ahead, -(-(stop - position) // stride))
        n_events = _n_events(words, position, min(n_wanted, (end - position) // stride), event_bytes)
        position += n_events * stride
        if n_events < n_wanted:
            break
    return position


def _n_events(words: memoryview, position: int, at_most: int, event_bytes: int) -> int:
    """Return how many of *at_most* records of an event's size are events, up to the first other one."""
    step = record_bytes(event_bytes) // WORD_BYTES
    first = position // WORD_BYTES
    headers = words[first : first + at_most * step : step].tolist()
    if headers.count(event_bytes) == at_most:
        return at_most
    return sum(1 for _ in takewhile(event_bytes.__eq__, headers))
