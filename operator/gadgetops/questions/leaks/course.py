"""
What became of what one stack allocated, cell by cell, and the curves that rules read from it.

Three curves, of the same length as a recording's cells: what is live, the floor below which it never falls
again, and what of it is still there in the end. A leak raises all three; what is in use raises the first.
"""

from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple

from gadgetops.questions.leaks.activity import Activity


class Course(NamedTuple):
    """
    What became of what one stack allocated, by number of cell (see `activity.Activity.cells`).

    Args:
        changes: By how many bytes what is live of the stack changed in the cell.
        survivors: How many of the allocations made in the cell are left.
        kept: How many bytes these are.
        allocated: How many allocations it made in the cell.
        released: How many of its allocations were released in the cell.
        live_bytes: What is left.
        first_ns: When the first of the survivors was allocated.
        last_ns: When the last of them was.
    """

    changes: Mapping[int, int]
    survivors: Mapping[int, int]
    kept: Mapping[int, int]
    allocated: Mapping[int, int]
    released: Mapping[int, int]
    live_bytes: int
    first_ns: int
    last_ns: int

    @property
    def n_survivors(self) -> int:
        """How many allocations are left."""
        return sum(self.survivors.values())

    @property
    def released_count(self) -> int:
        """How many of its allocations were released."""
        return sum(self.released.values())

    @property
    def replaces(self) -> bool:
        """Whether it gives back what it allocates, as caches do: at least as much as is left."""
        return self.released_count >= max(1, self.n_survivors)


class Curves(NamedTuple):
    """
    The curves of one stack, by number of cell.

    Args:
        live: Bytes that are live at the cell's end.
        floor: The least that is live from then on.
        kept: Bytes allocated so far that are left in the end; never more than the floor.
    """

    live: list[int]
    floor: list[int]
    kept: list[int]


def curves(course: Course, activity: Activity) -> Curves:
    """Return the curves of *course*; none where the recording has no cells."""
    cells = range(len(activity.cells))
    live = [*accumulate(course.changes.get(cell, 0) for cell in cells)]
    floor = [*accumulate(reversed(live), min)][::-1]
    return Curves(live, floor, [*accumulate(course.kept.get(cell, 0) for cell in cells)])


def curve(course: Course, activity: Activity) -> tuple[int, ...]:
    """Return the live bytes of *course* at equal distances of time."""
    return tuple(levels_of(course, activity, 0))


def levels_of(course: Course, activity: Activity, clock: int) -> list[int]:
    """Return the live bytes at the end of each bin."""
    base = sum(change for cell, change in course.changes.items() if activity.is_startup(cell))
    return [base + level for level in accumulate(activity.binned(course.changes, clock))]


def calm(course: Course) -> Mapping[int, int]:
    """
    Return the changes of *course* without those that last for one cell only.

    A list that moves to a larger block has none, or two, for a moment.
    """
    cells = sorted(course.changes)
    found = [*accumulate(course.changes[cell] for cell in cells)]
    middle = [sorted(three)[1] for three in zip(found, found[1:], found[2:], strict=False)]
    smooth = [found[0], *middle, found[-1]] if len(found) > 2 else found
    return dict(zip(cells, (b - a for a, b in zip([0, *smooth], smooth, strict=False)), strict=True))


def ages(course: Course, activity: Activity, clock: int) -> tuple[float, float]:
    """
    Return how old the oldest block in use was, half-way and at the end, if the oldest is released first.

    In parts of the recording. What is in use for a while has the same age all the time; in a queue that
    nobody empties fast enough it grows.
    """
    cells = range(len(activity.cells))
    made = [*accumulate(course.allocated.get(cell, 0) for cell in cells)]
    gone = [*accumulate(course.released.get(cell, 0) for cell in cells)]
    positions = [activity.position(cell)[clock] for cell in cells]
    middle = min(bisect_left(positions, 0.5), len(positions) - 1)

    def age(cell: int) -> float:
        oldest = bisect_left(made, gone[cell] + 1)
        return max(0.0, positions[cell] - positions[min(oldest, cell)])

    return age(middle), age(len(positions) - 1)
