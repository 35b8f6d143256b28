"""
Streams of allocations and releases whose truth is known, and what pairing would keep of them.

A stream is made by a `Program`, which has its own clock; what pairing keeps is counted here in Python, event
by event, so that verdicts can be tried over thousands of streams without a recording.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from gadgetops.questions.leaks.activity import Activity, Cell, Key
from gadgetops.questions.leaks.course import Course

MAX_SLOTS = 64
FIRST_WIDTH_NS = 1 << 20


class Event(NamedTuple):
    """One allocation (`block` is new) or release of a block by name; the stack is the allocation's."""

    timestamp_ns: int
    stack: str
    block: int
    size_bytes: int


class Program:
    """
    A program that allocates, with a clock of its own.

    Args:
        seed: Of everything that chance decides.
        pace: By how much each nap is stretched: what a machine with less CPU does.
        starved: How likely a nap is to take a hundred times as long, as where others have the CPU.
    """

    def __init__(self, seed: int = 0, pace: float = 1.0, starved: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.events: list[Event] = []
        self._now_ns = 10**12
        self._pace = pace
        self._starved = starved
        self._n_blocks = 0
        self._live: dict[int, Event] = {}

    def nap(self, seconds: float) -> None:
        """Let time pass."""
        is_starved = self.random.random() < self._starved
        self._now_ns += int(seconds * self._pace * (100 if is_starved else 1) * 10**9)

    def allocate(self, stack: str, size_bytes: int = 100) -> int:
        """Allocate a block and return its name."""
        self._n_blocks += 1
        event = Event(self._tick(), stack, self._n_blocks, size_bytes)
        self.events.append(event)
        self._live[event.block] = event
        return event.block

    def release(self, block: int) -> None:
        """Release a block."""
        event = self._live.pop(block)
        self.events.append(event._replace(timestamp_ns=self._tick()))

    def reallocate(self, stack: str, block: int | None, size_bytes: int) -> int:
        """Replace a block by one of another size."""
        if block is not None:
            self.release(block)
        return self.allocate(stack, size_bytes)

    def churn(self, count: int, stack: str = "churn") -> None:
        """Allocate and release again."""
        for _ in range(count):
            self.release(self.allocate(stack, self.random.randint(16, 900)))

    def start_up(self, n_stacks: int = 300, n_blocks: int = 20) -> None:
        """Do what an interpreter does when it starts: many places, each of which keeps some blocks."""
        for number in range(n_stacks):
            self.churn(self.random.randint(0, 5 * n_blocks), f"parse {number % 40}")
            for _ in range(self.random.randint(1, n_blocks)):
                self.allocate(f"start {self.random.randint(0, number)}")
            self.nap(0.001)

    def _tick(self) -> int:
        self._now_ns += 1000
        return self._now_ns


def courses(events: Iterable[Event]) -> tuple[Activity, dict[str, Course]]:
    """Return the clocks of a stream, and the course of each stack of which something is left."""
    events = [*events]
    keys = _keys(events)
    first_seen: dict[str, Key] = {}
    born: dict[int, int] = {}
    for number, event in enumerate(events):
        if event.block not in born:
            born[event.block] = number
            first_seen.setdefault(event.stack, keys[number])
    cells = _cells(events, keys, first_seen)
    activity = Activity(cells, events[-1].timestamp_ns)
    numbers = [activity.number(key) for key in keys]
    released = {event.block for number, event in enumerate(events) if born[event.block] != number}
    of_stack: defaultdict[str, list[tuple[int, Event]]] = defaultdict(list)
    for number, event in enumerate(events):
        of_stack[event.stack].append((number, event))
    return activity, {
        stack: _course(of_stack[stack], numbers, born, released)
        for stack in {events[number].stack for block, number in born.items() if block not in released}
    }


def _keys(events: list[Event]) -> list[Key]:
    first_ns, last_ns = events[0].timestamp_ns, events[-1].timestamp_ns
    width_ns, width = FIRST_WIDTH_NS, 1
    while (last_ns - first_ns) // width_ns >= MAX_SLOTS:
        width_ns *= 2
    while (len(events) - 1) // width >= MAX_SLOTS:
        width *= 2
    return [
        (event.timestamp_ns - event.timestamp_ns % width_ns, number - number % width)
        for number, event in enumerate(events)
    ]


def _cells(events: list[Event], keys: list[Key], first_seen: dict[str, Key]) -> list[Cell]:
    new = Counter(first_seen.values())
    counts, first_ns = Counter(keys), {}
    for event, key in zip(events, keys, strict=True):
        first_ns.setdefault(key, event.timestamp_ns)
    return [Cell(key, counts[key], first_ns[key], new[key]) for key in sorted(counts)]


def _course(
    events: list[tuple[int, Event]], numbers: list[int], born: dict[int, int], released: set[int]
) -> Course:
    changes: defaultdict[int, int] = defaultdict(int)
    survivors: Counter[int] = Counter()
    kept: Counter[int] = Counter()
    allocated: Counter[int] = Counter()
    gone: Counter[int] = Counter()
    live_bytes = 0
    times = []
    for number, event in events:
        if born[event.block] != number:
            changes[numbers[number]] -= event.size_bytes
            gone[numbers[number]] += 1
            continue
        changes[numbers[number]] += event.size_bytes
        allocated[numbers[number]] += 1
        if event.block not in released:
            survivors[numbers[number]] += 1
            kept[numbers[number]] += event.size_bytes
            live_bytes += event.size_bytes
            times.append(event.timestamp_ns)
    return Course(changes, survivors, kept, allocated, gone, live_bytes, min(times), max(times))
