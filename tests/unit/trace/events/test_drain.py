"""Emptying the ring buffer beside other work."""

import threading
import time
from typing import Any, cast

import pytest

from gadgetops.trace.events import drain
from gadgetops.trace.events.drain import Drain
from gadgetops.trace.events.ring import Batch

BATCH_BYTES = 100
N_BATCHES = 10


class Ring:
    """A ring buffer with some batches in it."""

    room_bytes = N_BATCHES << 30

    def __init__(self) -> None:
        self.n_left = N_BATCHES

    @property
    def size_bytes(self) -> int:
        """What is left, in a size that is worth reading at once."""
        return self.n_left << 30

    def read(self) -> Batch:
        """Give one batch, or an empty one."""
        if self.n_left == 0:
            return Batch({}, [], 0)
        time.sleep(0.002)
        self.n_left -= 1
        return Batch({}, [], BATCH_BYTES)


def stopped(draining: Drain) -> bool:
    """Return whether it can be stopped, by somebody who takes nothing meanwhile."""
    stopping = threading.Thread(target=draining.stop, daemon=True)
    stopping.start()
    stopping.join(10)
    return not stopping.is_alive()


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "MAX_BACKLOG_BYTES", 3 * BATCH_BYTES)
    ring = Ring()
    with Drain(cast("Any", ring)):
        deadline = time.monotonic() + 10
        while ring.n_left > N_BATCHES - 3:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(0.02)
        assert ring.n_left == N_BATCHES - 3


def test_while_the_ring_buffer_fills_nothing_else_is_done() -> None:
    ring = Ring()
    with Drain(cast("Any", ring)) as draining:
        assert draining.take() is not None
        assert ring.n_left <= N_BATCHES // 8


def test_it_ends_with_all_that_is_there_though_nobody_takes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when events came faster than they were written, and then the program ended."""
    monkeypatch.setattr(drain, "MAX_BACKLOG_BYTES", 3 * BATCH_BYTES)
    ring = Ring()
    draining = Drain(cast("Any", ring)).__enter__()
    assert stopped(draining)
    assert len([*iter(draining.take, None)]) == N_BATCHES
    assert ring.n_left == 0
