"""A ring buffer with records of two sizes, read in bulk."""

import mmap
import os
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from gadgetops.trace.events.records import decode
from gadgetops.trace.events.ring import RingBuffer

EVENT = np.dtype({"names": ["header", "pid"], "formats": ["<u4", "<u4"], "offsets": [0, 8], "itemsize": 24})
EVENT_BYTES = 12
OTHER_BYTES = 40
RING_BYTES = 1 << 16
BUSY, DISCARDED = 1 << 31, 1 << 30


class Ring:
    """A file that looks like a ring buffer map: positions in pages of their own, data twice in a row."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * mmap.PAGESIZE + 2 * RING_BYTES)
        self.produced = 0

    def put(self, contents: bytes, flags: int = 0) -> None:
        record = struct.pack("<II", len(contents) | flags, 0) + contents
        for position, byte in enumerate(record.ljust(-(-len(record) // 8) * 8, b"\0"), self.produced):
            for copy in (0, RING_BYTES):
                os.pwrite(self.fd, bytes([byte]), 2 * mmap.PAGESIZE + copy + position % RING_BYTES)
        self.produced += -(-len(record) // 8) * 8
        os.pwrite(self.fd, struct.pack("<Q", self.produced), mmap.PAGESIZE)

    def put_event(self, pid: int, flags: int = 0) -> None:
        self.put(struct.pack("<I8x", pid), flags)

    @property
    def consumed(self) -> int:
        return int(struct.unpack("<Q", os.pread(self.fd, 8, 0))[0])


@pytest.fixture
def ring() -> Iterator[Ring]:
    ring = Ring()
    yield ring
    os.close(ring.fd)


def read(ring: Ring, window_bytes: int = RING_BYTES) -> tuple[list[int], list[bytes]]:
    """Read once, from what one window shows."""
    reader = RingBuffer(ring.fd, RING_BYTES, EVENT_BYTES, window_bytes=window_bytes)
    records = reader.read()
    batch = decode(records, EVENT, EVENT_BYTES)
    reader.free(len(records))
    return batch.columns["pid"].tolist(), batch.others


def test_events_and_other_records_are_told_apart(ring: Ring) -> None:
    """Each in its order; discarded ones are left out, of whatever size."""
    for pid in range(100):
        ring.put_event(pid, DISCARDED if pid == 50 else 0)
        if pid % 10 == 0:
            ring.put(bytes([pid]) * OTHER_BYTES, DISCARDED if pid == 20 else 0)
    pids, others = read(ring)
    assert pids == [pid for pid in range(100) if pid != 50]
    assert others == [bytes([pid]) * OTHER_BYTES for pid in range(0, 100, 10) if pid != 20]
    assert ring.consumed == ring.produced


def test_reading_stops_at_a_record_that_is_being_written(ring: Ring) -> None:
    """What follows comes later."""
    ring.put_event(1)
    ring.put_event(2, BUSY)
    ring.put_event(3)
    assert read(ring) == ([1], [])
    assert ring.consumed == EVENT.itemsize


def test_what_was_read_stays_until_it_is_freed(ring: Ring) -> None:
    ring.put_event(1)
    reader = RingBuffer(ring.fd, RING_BYTES, EVENT_BYTES)
    assert len(reader.read()) == len(reader.read()) == EVENT.itemsize
    assert ring.consumed == 0


@pytest.mark.parametrize("window_bytes", [4096, 16384, RING_BYTES, 4 * RING_BYTES])
def test_records_wrap_around(ring: Ring, window_bytes: int) -> None:
    """More than the buffer holds, read in turns; records that lie across the end of a window are whole."""
    seen: list[int] = []
    n_others = 0
    for turn in range(8):
        for number in range(500):
            ring.put_event(turn * 500 + number)
            if number % 100 == 0:
                ring.put(b"x" * OTHER_BYTES)
        while ring.consumed < ring.produced:
            pids, others = read(ring, window_bytes)
            assert set(others) <= {b"x" * OTHER_BYTES}
            seen += pids
            n_others += len(others)
    assert seen == [*range(4000)]
    assert n_others == 40
