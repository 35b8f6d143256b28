"""Measure now and then how much memory processes have in RAM."""

import time
from collections.abc import Iterable
from typing import Final

from gadgetops.recording.schema import ResidentRow
from gadgetops.trace.processes import resident_bytes

_LEAST_S: Final = 0.05
_PARTS: Final = 500
"""A round comes after this part of the time so far: however long it takes, a recording has some thousands."""
_MOST_SHARE: Final = 0.01
"""Measuring takes at most this share of a processor, however many processes there are."""


class ResidentMeter:
    """
    Measures the resident memory of processes, in rounds that get rarer.

    The kernel keeps counts of a process's pages: reading them stops no thread of it, and takes some ten
    microseconds.
    """

    def __init__(self) -> None:
        self._began_s = self._due_s = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next round."""
        return time.monotonic() >= self._due_s

    def measure(self, pids: Iterable[int]) -> list[ResidentRow]:
        """Return a row for each of *pids* that has memory."""
        # What it costs, not how long it waited: that grows where programs leave no processor free.
        start_s = time.thread_time()
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        found = [(pid, resident_bytes(pid)) for pid in pids]
        taken_s, end_s = time.thread_time() - start_s, time.monotonic()
        self._due_s = end_s + max(_LEAST_S, (end_s - self._began_s) / _PARTS, taken_s / _MOST_SHARE)
        return [ResidentRow(now_ns, pid, size_bytes) for pid, size_bytes in found if size_bytes is not None]
