"""Leak or cache: courses whose meaning is known."""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator

import pytest

from gadgetops.questions.leaks.trend import Course, Kind, trend

SLOTS = 40
Change = tuple[int, int, int]
"""Slot of the allocation, its bytes, slot of its release; SLOTS if it is never released."""


def leak() -> Iterator[Change]:
    """Yield what a leak in every request does."""
    for slot in range(SLOTS):
        yield from [(slot, 100, SLOTS)] * 3
        yield from [(slot, 100, slot)] * 50


def start_up() -> Iterator[Change]:
    """Yield tables that are built once."""
    yield from [(1, 100, SLOTS)] * 20


def lru_cache() -> Iterator[Change]:
    """Yield a cache that is full after a tenth and replaces its oldest entry."""
    entries: deque[int] = deque()
    for slot in range(SLOTS):
        for _ in range(5):
            entries.append(slot)
            if len(entries) > 20:
                yield entries.popleft(), 100, slot
    yield from ((slot, 100, SLOTS) for slot in entries)


def filling_cache() -> Iterator[Change]:
    """Yield a cache that finds ever more of what it is asked for."""
    choose, known = random.Random(1), set()
    for slot in range(SLOTS):
        for key in [choose.randint(1, 1000) for _ in range(80)]:
            if key not in known:
                known.add(key)
                yield slot, 100, SLOTS


def in_use() -> Iterator[Change]:
    """Yield short-lived blocks, of which the last are not released yet."""
    for slot in range(SLOTS):
        yield from [(slot, 100, slot)] * 20
    yield from [(SLOTS - 1, 100, SLOTS)] * 5


def leap() -> Iterator[Change]:
    """Yield what is allocated all at once, late."""
    yield from [(30, 100, SLOTS)] * 50


def course_of(changes: Iterator[Change], n_slots: int = SLOTS) -> Course:
    """Return the course of one stack that did *changes*."""
    bytes_of, survivors, released = Counter[int](), Counter[int](), 0
    live_bytes = 0
    for slot, size_bytes, end in changes:
        bytes_of[slot + 7] += size_bytes
        if end < n_slots:
            bytes_of[end + 7] -= size_bytes
            released += 1
        else:
            survivors[slot + 7] += 1
            live_bytes += size_bytes
    return Course(7, n_slots, 1 << 28, bytes_of, survivors, live_bytes, released)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        (leak, "growing"),
        (start_up, "startup"),
        (lru_cache, "plateau"),
        (filling_cache, "levelling"),
        (in_use, "recent"),
        (leap, "unclear"),
    ],
)
def test_what_programs_do(changes: object, kind: Kind) -> None:
    """Each has its verdict, and the reason in words."""
    found = trend(course_of(changes()))  # type: ignore[operator]
    assert (found.kind, bool(found.reason)) == (kind, True)


def test_a_leak_has_its_rate() -> None:
    """300 bytes in each slot of 0.27 s."""
    assert trend(course_of(leak())).bytes_per_s == pytest.approx(300 / (2**28 / 1e9), rel=0.01)


@pytest.mark.parametrize("changes", [[(0, 5, SLOTS)], [(0, 5, SLOTS), (20, 5, SLOTS)]])
def test_few_show_no_trend(changes: list[Change]) -> None:
    """Two points are no line."""
    assert trend(course_of(iter(changes))).kind == "unclear"


def test_a_short_recording_shows_no_trend() -> None:
    """However regular it looks."""
    assert trend(course_of(leak(), n_slots=10)).kind == "unclear"


Program = Callable[[random.Random, int], Iterator[Change]]
SEEDS = range(60)
LENGTHS = (34, 62)
"""In slots: pairing keeps 32 to 64 of a recording that is longer than they are wide."""


def steady_leak(choose: random.Random, n_slots: int) -> Iterator[Change]:
    """Yield a leak in some requests, beside blocks that are in use when a slot ends."""
    for slot in range(n_slots):
        yield from [(slot, 100, n_slots)] * choose.randint(1, 9)
        yield from [(slot, 100, slot + 1)] * choose.randint(0, 9)


def leak_in_bursts(choose: random.Random, n_slots: int) -> Iterator[Change]:
    """Yield a leak in every third slot, of different amounts."""
    for slot in range(choose.randint(0, 2), n_slots, 3):
        yield from [(slot, 64, n_slots)] * choose.randint(40, 60)


def tables(choose: random.Random, n_slots: int) -> Iterator[Change]:
    """Yield what is allocated when a program starts."""
    yield from [(choose.randint(0, 2), 100, n_slots) for _ in range(100)]


def full_cache(choose: random.Random, n_slots: int) -> Iterator[Change]:
    """Yield a cache of a hundred keys, whose values have different sizes and are replaced."""
    cache: dict[int, tuple[int, int]] = {}
    for slot in range(n_slots):
        for key in [choose.randint(1, 100) for _ in range(40)]:
            if key in cache:
                yield (*cache[key], slot)
            cache[key] = slot, choose.choice([50, 100, 400])
    yield from ((*entry, n_slots) for entry in cache.values())


def cache_that_fills(choose: random.Random, n_slots: int) -> Iterator[Change]:
    """Yield a cache that is asked for each of 1000 keys twice, on average."""
    known = set()
    for slot in range(n_slots):
        for key in [choose.randint(1, 1000) for _ in range(2000 // n_slots)]:
            if key not in known:
                known.add(key)
                yield slot, 100, n_slots


def churn(choose: random.Random, n_slots: int) -> Iterator[Change]:
    """Yield allocations and releases of any of the blocks, one as likely as the other."""
    live: list[tuple[int, int]] = []
    for slot in range(n_slots):
        for _ in range(60):
            if not live or choose.random() < 0.5:
                live.append((slot, choose.choice([16, 64, 500])))
            else:
                yield (*live.pop(choose.randrange(len(live))), slot)
    yield from ((*block, n_slots) for block in live)


def sawtooth(choose: random.Random, n_slots: int) -> Iterator[Change]:
    """Yield a buffer that is flushed now and then."""
    period, begin = choose.choice([7, 11, n_slots // 3]), 0
    for slot in range(n_slots):
        if slot % period == 0:
            begin = slot
        end = begin + period
        yield from [(slot, 100, min(end, n_slots))] * choose.randint(3, 7)


def kinds(program: Program) -> Counter[Kind]:
    """Return how often each kind is said of *program*, over all seeds and lengths."""
    return Counter(
        trend(course_of(program(random.Random(seed), n_slots), n_slots)).kind
        for n_slots in LENGTHS
        for seed in SEEDS
    )


@pytest.mark.parametrize(
    ("program", "right"),
    [
        (steady_leak, {"growing"}),
        (leak_in_bursts, {"growing"}),
        (tables, {"startup"}),
        (full_cache, {"plateau", "unclear"}),
        (cache_that_fills, {"levelling"}),
        (churn, {"plateau", "unclear", "recent"}),
        (sawtooth, {"plateau", "unclear", "recent"}),
    ],
)
def test_chance_does_not_make_a_verdict(program: Program, right: set[Kind]) -> None:
    """Whatever the seed, nineteen times of twenty; what is no leak is never called one."""
    found = kinds(program)
    assert sum(found[kind] for kind in right) >= 0.95 * found.total(), found
    if not right & {"growing", "levelling"}:
        assert found["growing"] == 0, found
