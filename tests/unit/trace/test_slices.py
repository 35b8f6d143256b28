"""Slices are put together from parts, whatever is lost of them; the gadget's tables say what is code."""

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gadgetops.trace.code_pages import code_map
from gadgetops.trace.frame_pointers import has_frame_pointers
from gadgetops.trace.ring import RingBuffer
from gadgetops.trace.slices import Slice, SliceAssembler, SliceLayout

LAYOUT = SliceLayout(size_bytes=40 + 16 + 8, registers_offset=40, memory_offset=56)
REGISTERS = struct.pack("<QQ", 7, 8)
EVENT = np.dtype({"names": ["header", "pid"], "formats": ["<u4", "<u4"], "offsets": [0, 8], "itemsize": 24})
EVENT_BYTES = 12
OTHER_BYTES = 40
RING_BYTES = 1 << 16
BUSY, DISCARDED = 1 << 31, 1 << 30


def part(number: int, offset: int, memory: bytes, total: int, *, tid: int = 5) -> bytes:
    head = struct.pack("<QQIIIIII", number, 1000, 4, tid, offset, len(memory), total, 1)
    return head + REGISTERS + memory.ljust(8, b"\0")


def assembled(*records: bytes) -> list[Slice]:
    assembler = SliceAssembler(LAYOUT)
    return [*assembler.take(assembler.parts(records))]


def test_parts_make_one_slice() -> None:
    """In their order, the last one shorter."""
    records = [part(9, 0, b"01234567", 20), part(9, 8, b"89abcdef", 20), part(9, 16, b"ghij", 20)]
    assert assembled(*records) == [Slice(9, 4, 5, 1000, REGISTERS, b"0123456789abcdefghij")]


def test_parts_of_threads_do_not_mix() -> None:
    """Two threads may send the same stack at once."""
    first = [part(9, 0, b"AAAAAAAA", 16), part(9, 8, b"BBBBBBBB", 16)]
    second = [part(9, 0, b"aaaaaaaa", 16, tid=6), part(9, 8, b"bbbbbbbb", 16, tid=6)]
    found = assembled(first[0], second[0], second[1], first[1])
    assert [(each.tid, each.memory) for each in found] == [(6, b"aaaaaaaabbbbbbbb"), (5, b"AAAAAAAABBBBBBBB")]


@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_a_slice_of_which_a_part_is_lost_is_none(left_out: int) -> None:
    """And the next one of the same number is whole again."""
    records = [part(9, 0, b"01234567", 20), part(9, 8, b"89abcdef", 20), part(9, 16, b"ghij", 20)]
    cut = [record for number, record in enumerate(records) if number != left_out]
    assert [each.memory for each in assembled(*cut, *records)] == [b"0123456789abcdefghij"]


def test_other_records_are_no_parts() -> None:
    """Whatever else comes beside events."""
    assert assembled(b"", b"x" * 63, b"x" * 65) == []


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


def read(ring: Ring) -> tuple[list[int], list[bytes]]:
    with RingBuffer(ring.fd, RING_BYTES, EVENT, EVENT_BYTES) as reader:
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


def test_the_code_of_a_process_is_where_it_may_execute() -> None:
    """As many pages as the kernel counts, but for what it maps for itself."""
    code = code_map(os.getpid())
    assert code is not None
    pages = sum(end - start for start, end in code.ranges) // mmap.PAGESIZE
    assert abs(pages - code.n_pages) <= 4
    assert any("libc" in Path(path).name for path in code.paths)


def test_a_process_that_is_gone_has_no_code() -> None:
    """Nor one that has ended and waits for its parent."""
    assert code_map(2**22 + 1) is None
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert code_map(pid) is None
    os.waitpid(pid, 0)


def test_a_file_that_cannot_be_read_has_no_frame_pointers(tmp_path: Path) -> None:
    """To copy its stacks is the safe way."""
    (tmp_path / "text").write_text("no ELF")
    assert not has_frame_pointers(tmp_path / "text", (1,))
    assert not has_frame_pointers(tmp_path / "missing", (2,))
