"""
Leak or cache? How what a stack allocated and was not released came about, and what that suggests.

A heuristic, from two curves over the time of the recording: what of the stack was live at each moment, and
when that was allocated which is left at the end. Its rules, the first that holds:

- `unclear`: fewer than `FEW` allocations are left, or the recording has fewer than `SHORT` slots of time.
- `recent`: all that is left was allocated in the last tenth, and ten times as many were released before: it
  was in use when the recording ended.
- `startup`: all that is left was allocated in the first tenth.
- `plateau`: over the last half it did not grow by more than a twentieth.
- `levelling`: it grew in the last quarter by less than half of what it grew by in the quarter before.
- `growing`: it grew in three at least of the last half's four parts, and in none by more than 60 % of all.
- `unclear`: it grew, by leaps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Final, Literal

from gadgetops.units import format_bytes, format_duration, plural

Kind = Literal["growing", "levelling", "plateau", "startup", "recent", "unclear"]

FEW: Final = 3
SHORT: Final = 16

_MEANING: Final = {
    "growing": "likely a leak",
    "levelling": "perhaps a cache that fills",
    "plateau": "likely a cache",
    "startup": "allocated once",
    "recent": "in use at the end",
    "unclear": "no trend",
}


@dataclass(frozen=True)
class Trend:
    """
    What the course of a stack's live bytes suggests.

    Args:
        kind: The rule that held.
        reason: What was seen, in words.
        bytes_per_s: By how much it grew over the last half of the recording, a second.
    """

    kind: Kind
    reason: str
    bytes_per_s: int

    @property
    def sentence(self) -> str:
        """What it is taken for, and why."""
        return f"{_MEANING[self.kind]}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """Return it as the documented JSON."""
        return {**vars(self)}


@dataclass(frozen=True)
class Course:
    """
    What became of what one stack allocated, in slots of time of equal width.

    Args:
        first_slot: Number of the recording's first slot.
        n_slots: How many there are.
        width_ns: Of each.
        changes: Slot -> by how many bytes what is live of the stack changed in it.
        survivors: Slot -> how many allocations of it are left at the end.
        live_bytes: What is left.
        released_count: How many of its allocations were released.
    """

    first_slot: int
    n_slots: int
    width_ns: int
    changes: Mapping[int, int]
    survivors: Mapping[int, int]
    live_bytes: int
    released_count: int

    def share_allocated_in(self, start: float, end: float) -> float:
        """Return what part of the survivors was allocated between two parts of the recording, 0 to 1."""
        slots = range(round(start * self.n_slots), max(round(end * self.n_slots), 1))
        return sum(self.survivors.get(self.first_slot + slot, 0) for slot in slots) / self.n_survivors

    @property
    def n_survivors(self) -> int:
        """How many allocations are left."""
        return sum(self.survivors.values())

    def curve(self) -> list[int]:
        """Return the live bytes at the end of each slot."""
        return [*accumulate(self.changes.get(self.first_slot + slot, 0) for slot in range(self.n_slots))]


def trend(course: Course) -> Trend:
    """Return what *course* suggests, by the rules above."""
    curve = course.curve()
    # The curve counts a mapping as whole until all of it is released; what is left is exact.
    points = [curve[max(0, round(part * course.n_slots) - 1)] for part in (0.5, 0.625, 0.75, 0.875)]
    points.append(curve[-1])
    grown = points[-1] - points[0]
    half_ns = max(1, course.n_slots * course.width_ns // 2)
    kind, reason = _kind(course, points)
    return Trend(kind, reason, grown * 1_000_000_000 // half_ns)


def _kind(course: Course, points: list[int]) -> tuple[Kind, str]:
    duration = format_duration(course.n_slots * course.width_ns)
    if course.n_survivors < FEW:
        return "unclear", f"only {plural(course.n_survivors, 'allocation')} left"
    if course.n_slots < SHORT:
        return "unclear", f"the recording is short, {duration}"
    if course.share_allocated_in(0.9, 1) == 1 and course.released_count > 10 * course.n_survivors:
        released = plural(course.released_count, "allocation")
        return (
            "recent",
            f"{released} before were released, all that is left is of the last tenth of {duration}",
        )
    if course.share_allocated_in(0, 0.1) == 1:
        return "startup", f"all of it in the first tenth of {duration}, nothing since"
    return _growth(course, points)


def _growth(course: Course, points: list[int]) -> tuple[Kind, str]:
    half = f"the last {format_duration(course.n_slots * course.width_ns // 2)}"
    steps = [after - before for before, after in pairwise(points)]
    grown = points[-1] - points[0]
    from_to = f"from {format_bytes(points[0])} to {format_bytes(points[-1])} over {half}"
    if grown * 20 <= points[-1]:
        return "plateau", f"it went {from_to}"
    if 2 * (steps[2] + steps[3]) < steps[0] + steps[1]:
        return "levelling", f"it went {from_to}, and ever more slowly"
    if sum(step > 0 for step in steps) >= 3 and max(steps) * 10 <= 6 * grown:
        return "growing", f"it grew steadily {from_to}"
    return "unclear", f"it went {from_to}, by leaps"
