"""The estimate of the progress line: exact while few blocks live, near afterwards."""

import numpy as np

from gadgetops.trace.events.live_estimate import LiveEstimate

OPERATIONS = ("malloc", "free", "realloc_free", "realloc")


def _add(estimate: LiveEstimate, events: list[tuple[int, str, int, int]]) -> None:
    pids, names, addresses, sizes = zip(*events, strict=True)
    columns = {
        "pid": np.array(pids, np.uint32),
        "operation": np.array([OPERATIONS.index(name) for name in names], np.uint32),
        "address": np.array(addresses, np.uint64),
        "size_bytes": np.array(sizes, np.uint64),
    }
    estimate.add(columns, OPERATIONS)


def test_few_blocks_are_summed_exactly() -> None:
    """A failed call allocates nothing, and processes do not share addresses."""
    estimate = LiveEstimate()
    _add(estimate, [(1, "malloc", 0x1000, 10), (2, "malloc", 0x1000, 5), (1, "malloc", 0, 99)])
    assert estimate.live_bytes == 15
    _add(estimate, [(1, "realloc_free", 0x1000, 0), (1, "realloc", 0x1000, 30), (2, "free", 0x1000, 0)])
    assert (estimate.live_bytes, estimate.one_in) == (30, 1)


def test_many_blocks_are_estimated_within_a_tenth_and_all_released_is_nothing() -> None:
    estimate = LiveEstimate()
    blocks = [(7, "malloc", 0x7F0000000000 + 32 * n, 100) for n in range(100_000)]
    _add(estimate, blocks)
    assert estimate.one_in > 1
    assert abs(estimate.live_bytes - 10_000_000) < 1_000_000
    _add(estimate, [(pid, "free", address, 0) for pid, _, address, _ in blocks])
    assert estimate.live_bytes == 0
