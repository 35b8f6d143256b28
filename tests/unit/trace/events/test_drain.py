"""Emptying a ring buffer in a process of its own."""

import mmap
import os
import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gadgetops.errors import TraceError
from gadgetops.trace.events.drain import Drain
from gadgetops.trace.events.spool import Spool

EVENT_BYTES = 1016
RECORD_BYTES = EVENT_BYTES + 8
RING_BYTES = 1 << 16
SPOOL_BYTES = 1 << 17
TIMEOUT_S = 20


class Ring:
    """A file that looks like a ring buffer map, and takes records as the kernel does."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * mmap.PAGESIZE + 2 * RING_BYTES)
        self.n_put = 0

    def put(self) -> bool:
        """Put an event with the next number; return whether there was room for it."""
        position = self.n_put * RECORD_BYTES
        (consumed,) = struct.unpack("<Q", os.pread(self.fd, 8, 0))
        if position + RECORD_BYTES - consumed > RING_BYTES:
            return False
        record = struct.pack("<IIQ", EVENT_BYTES, 0, self.n_put).ljust(RECORD_BYTES, b"\0")
        for copy in (0, RING_BYTES):
            os.pwrite(self.fd, record, 2 * mmap.PAGESIZE + copy + position % RING_BYTES)
        self.n_put += 1
        os.pwrite(self.fd, struct.pack("<Q", position + RECORD_BYTES), mmap.PAGESIZE)
        return True


@pytest.fixture
def ring() -> Iterator[Ring]:
    ring = Ring()
    yield ring
    os.close(ring.fd)


@pytest.fixture
def drain(ring: Ring, tmp_path: Path) -> Iterator[Drain]:
    with (
        Spool(tmp_path, memory_bytes=SPOOL_BYTES, file_bytes=0) as spool,
        Drain(ring.fd, RING_BYTES, EVENT_BYTES, spool) as drain,
    ):
        yield drain


def taken(drain: Drain) -> list[int]:
    """Return the numbers of the events that the next records hold."""
    records = drain.take()
    return [] if records is None else [*memoryview(records).cast("Q")[1 :: RECORD_BYTES // 8]]


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_more_passes_through_than_there_is_room_for(ring: Ring, drain: Drain) -> None:
    """All of it, in order, while it is taken; nobody waits at the end for what is not there."""
    seen: list[int] = []
    while ring.n_put < 1000:
        while not ring.put():
            seen += taken(drain)
    drain.stop()
    while numbers := taken(drain):
        seen += numbers
    assert seen == [*range(1000)]
    assert taken(drain) == []


def test_no_more_is_kept_than_there_is_room_for(ring: Ring, drain: Drain) -> None:
    """While nothing is taken: the spool and the ring buffer, and not much less."""
    until(lambda: ring.put() and ring.n_put * RECORD_BYTES > RING_BYTES + SPOOL_BYTES // 2)
    for _ in range(100):
        ring.put()
        time.sleep(0.001)
    assert ring.n_put * RECORD_BYTES <= RING_BYTES + SPOOL_BYTES
    drain.stop()
    seen: list[int] = []
    while numbers := taken(drain):
        seen += numbers
    assert seen == [*range(ring.n_put)]


def children() -> set[int]:
    """Return what this thread has started and has not ended, by other tests as well."""
    return {*map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())}


def test_a_helper_that_was_killed_is_an_error(ring: Ring, tmp_path: Path) -> None:
    """Else the recorder would wait for events that nobody reads."""
    before = children()
    with (
        Spool(tmp_path, memory_bytes=SPOOL_BYTES, file_bytes=0) as spool,
        Drain(ring.fd, RING_BYTES, EVENT_BYTES, spool) as drain,
    ):
        [pid] = children() - before
        os.kill(pid, signal.SIGKILL)

        def has_failed() -> bool:
            try:
                drain.take()
            except TraceError as error:
                assert "killed" in str(error)
                return True
            return False

        until(has_failed)


def test_what_goes_wrong_in_the_helper_is_said(tmp_path: Path) -> None:
    """A descriptor that is no ring buffer."""
    with (
        Spool(tmp_path) as spool,
        (tmp_path / "empty").open("w+b") as file,
        Drain(file.fileno(), RING_BYTES, EVENT_BYTES, spool) as drain,
    ):
        drain.stop()
        with pytest.raises(TraceError, match=r"the ring buffer is not read any more: .*length"):
            drain.take()
