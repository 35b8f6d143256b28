"""
What a recording of running processes would cost them, foretold before anything is recorded.

Calls are counted for a moment, by thread, and what a probe takes is measured on this machine. From both
follows how much longer the busiest threads would take for the same work.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gadgetops.errors import StorageError
from gadgetops.folders import cache_folder
from gadgetops.trace.cost.call_count import Costs, Place, ThreadCalls, count_calls, measure_costs
from gadgetops.trace.probes.allocator import Allocator
from gadgetops.trace.probes.prologue import places_in
from gadgetops.units import format_count
from gadgetops.whole_files import replacing_file

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_WITHOUT_STACKS: Final = 0.95
_WITH_STACKS: Final = 2.1
"""
What a recorded pair of calls takes, in times of the probes alone (bench/price.py). With stacks it was 1.7 at
eight frames and 2.9 at fifty, by frame pointers or by copies.
"""
_WORTH_A_LOOK: Final = 0.1
"""A thread that makes less than this part of all calls is not the one that is slowed."""
_LEAST_BARE: Final = 0.1
"""A thread that runs is taken to spend at least this part of its time outside of probes."""
_UNNOTICED: Final = 1.01


@dataclass(frozen=True)
class Price:
    """
    What full tracing would cost.

    Attributes:
        calls_per_s: Calls of the allocator, of all threads together, as they were without probes.
        slowdown: How many times as long the busiest threads would take for the same work.
        processors: How many processors the probes would take.
        call_s: What a recorded call takes, in seconds.
        calls_per_running_s: Calls that the thread `slowdown` is of makes in a second that it runs, unprobed.
    """

    calls_per_s: float
    slowdown: float
    processors: float
    call_s: float
    calls_per_running_s: float

    @property
    def sentence(self) -> str:
        """The price in words."""
        calls = f"{_rounded(self.calls_per_s)} calls a second"
        if self.slowdown < _UNNOTICED:
            return f"{calls}: tracing would slow it by less than 1 %"
        return f"{calls}: tracing would slow it by about {said_slowdown(self.slowdown)}"

    def to_json(self) -> dict[str, float]:
        """Return it for the header of a recording."""
        return {
            "calls_per_s": round(self.calls_per_s),
            "slowdown": round(self.slowdown, 3),
            "call_ns": round(self.call_s * 1e9),
        }


def said_slowdown(slowdown: float) -> str:
    """Return how much slower that is, in words: `15 %` or `3.4 times`."""
    if slowdown < 2:
        return f"{(slowdown - 1) * 100:.0f} %"
    return f"{slowdown:.1f} times" if slowdown < 9.95 else f"{slowdown:.0f} times"


def price_of(allocators: Iterable[Allocator], *, collect_stacks: bool = True) -> Price:
    """
    Count calls of *allocators* for a moment, a quarter of a second at most, and return what recording costs.

    `record` and `doctor` both ask this, so that they say the same price.

    Args:
        allocators: Where to count; those with a process count that process alone.
        collect_stacks: Whether stacks are to be recorded.

    Raises:
        TraceError: The kernel has no links to probes, or refuses.
    """
    costs = _costs()
    return price(count_calls(_places(allocators)), costs, collect_stacks=collect_stacks)


def price(threads: Sequence[ThreadCalls], costs: Costs, *, collect_stacks: bool) -> Price:
    """Return the price of recording *threads*, whose calls were counted by probes that took *costs*."""
    factor = _WITH_STACKS if collect_stacks else _WITHOUT_STACKS
    # An allocation has a probe at its start and one at its end, a release has one.
    call_s = factor * (2 * costs.entry_s + costs.return_s) / 2
    n_calls = sum(each.n_calls for each in threads)
    rates = {each: _bare_rate(each, costs.entry_s) for each in threads}
    worth = [
        (1 + _busy_share(each) * rate * call_s, rate)
        for each, rate in rates.items()
        if each.n_calls >= n_calls * _WORTH_A_LOOK
    ]
    slowdown, while_running = max(worth, default=(1.0, 0.0))
    per_s = sum(rate * _running_share(each) for each, rate in rates.items())
    return Price(per_s, slowdown, per_s * call_s, call_s, while_running)


def _bare_rate(thread: ThreadCalls, entry_s: float) -> float:
    """Return how many calls *thread* makes in a second that it runs outside of probes."""
    bare_s = _bare_running_s(thread, entry_s)
    return thread.n_calls / bare_s if bare_s else 0.0


def _busy_share(thread: ThreadCalls) -> float:
    """Return for which part of the time *thread* would have run, had it not waited for a processor."""
    return min(1.0, thread.running_s / max(thread.running_s, thread.seconds - thread.waiting_s, 1e-9))


def _running_share(thread: ThreadCalls) -> float:
    """Return for which part of the time *thread* ran."""
    return min(1.0, thread.running_s / thread.seconds)


def _bare_running_s(thread: ThreadCalls, entry_s: float) -> float:
    """Return how long *thread* ran outside of probes."""
    return max(thread.running_s * _LEAST_BARE, thread.running_s - thread.n_calls * entry_s)


def _places(allocators: Iterable[Allocator]) -> Mapping[Place, Sequence[int]]:
    """Return where a recording puts its probes: other instructions cost other traps."""
    found: dict[Place, set[int]] = {}
    for allocator in allocators:
        wanted = (
            (each, each.name if each.cookie else name)
            for name, functions in allocator.functions.items()
            for each in functions
        )
        places = places_in(allocator.executable, (*wanted,))
        offsets = {function.offset_bytes + place.offset_bytes for function, place in places.items()}
        found.setdefault((allocator.probed, allocator.pid), set()).update(offsets)
    return {place: sorted(offsets) for place, offsets in found.items() if offsets}


def _costs() -> Costs:
    """Return what probes take here; measured once for each kernel and boot."""
    path = cache_folder("probe-costs") / "costs.json"
    key = f"{os.uname().release} {_BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ''}"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_text())
        if kept["key"] == key:
            return Costs(float(kept["entry_s"]), float(kept["return_s"]))
    costs = measure_costs()
    with contextlib.suppress(OSError, StorageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing_file(path) as file:
            file.write_text(json.dumps({"key": key, **costs._asdict()}))
    return costs


def _rounded(number: float) -> str:
    """Return *number* with two digits that count: `1.2 M`, `240 k`, `900`."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size * 0.9995:
            value = number / size
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    return format_count(round(number))
