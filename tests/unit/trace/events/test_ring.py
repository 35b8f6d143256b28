"""A ring buffer with records of two sizes, read in bulk."""

import mmap
import os
import struct
from collections.abc import Iterator

import numpy as np
import pytest

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


def read(ring: Ring, **options: int) -> tuple[list[int], list[bytes]]:
    with RingBuffer(ring.fd, RING_BYTES, EVENT, EVENT_BYTES, **options) as reader:
        batch = reader.read()
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


def test_records_wrap_around(ring: Ring) -> None:
    """More than the buffer holds, read in turns."""
    seen: list[int] = []
    for turn in range(8):
        for number in range(500):
            ring.put_event(turn * 500 + number)
        ring.put(b"x" * OTHER_BYTES)
        pids, others = read(ring)
        seen += pids
        assert len(others) == 1
    assert seen == [*range(4000)]


@pytest.mark.parametrize("bytes_at_once", [1, 24, 25, 100, 1000, 4096])
def test_what_is_read_at_once_ends_between_records(ring: Ring, bytes_at_once: int) -> None:
    """However much that is, every event is read as one, and once."""
    for pid in range(500):
        ring.put_event(pid)
        if pid % 100 == 0:
            ring.put(b"x" * OTHER_BYTES)
    pids: list[int] = []
    others: list[bytes] = []
    while ring.consumed < ring.produced:
        some_pids, some_others = read(ring, bytes_at_once=bytes_at_once)
        pids += some_pids
        others += some_others
    assert pids == [*range(500)]
    assert others == [b"x" * OTHER_BYTES] * 5
