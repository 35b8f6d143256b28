"""Leak or cache: courses whose meaning is known."""

import random
from collections import Counter, deque
from collections.abc import Iterator

import pytest

from gadgetops.analysis.trend import Course, Kind, trend

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
        if end < SLOTS:
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
