"""
Leak or cache? How what a stack allocated and was not released came about, and what that suggests.

A heuristic, from two series over the slots of time of the recording: by how much the live bytes of the stack
changed, and how many of the allocations made then are left. What grows may be a leak, a cache that fills, or
chance; so two questions are asked of the last three quarters (but for the last slot, whose blocks may be in
use), each with its significance:

- Does it grow? The sum of the changes, in units of the root of the sum of their squares: if increases were as
  likely as decreases of the same size, it would exceed `SIGNIFICANT` in fewer than one of twenty cases,
  whatever the sizes are (Hoeffding's bound, exp(-z²/2)), and in one of 160 where they are many.
- Is nothing taken away? In a leak as much is left of what was allocated long ago as of what was lately; in a
  cache or a pool the old is replaced. The same sum, of the survivors, says whether there are enough of them,
  and in enough different slots.

The rules, the first that holds:

- `unclear`: fewer than `FEW` allocations are left, or the recording has fewer than `SHORT` slots of time.
- `recent`: all that is left was allocated in the last tenth, and ten times as many were released before: it
  was in use when the recording ended.
- `startup`: all that is left was allocated in the first tenth.
- `plateau`: over the last half it did not grow by more than a twentieth.
- `unclear`: its growth is not significant; or it was as high before; or of what is left too little is old, as
  more was released than is left.
- `levelling`: less than three quarters as much was added in the younger half as in the older one, and the
  difference of the means is more than `SIGNIFICANT` times its standard error.
- `growing`: all else. A cache that has not begun to fill up looks the same.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, Literal, NamedTuple

from gadgetops.units import format_bytes, format_duration, plural

Kind = Literal["growing", "levelling", "plateau", "startup", "recent", "unclear"]

FEW: Final = 3
SHORT: Final = 16
SIGNIFICANT: Final = 2.5
"""Of a sum, in units of the root of the sum of squares."""

_MEANING: Final = {
    "growing": "likely a leak, or a cache far from full",
    "levelling": "grows, may level off like a cache",
    "plateau": "does not grow, like a full cache",
    "startup": "allocated once",
    "recent": "in use at the end",
    "unclear": "no trend",
}


class Trend(NamedTuple):
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
        return self._asdict()


class Course(NamedTuple):
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


class _Half(NamedTuple):
    """The last half of a recording: live bytes before, after, and the most that there were before."""

    before: int
    after: int
    highest_before: int
    words: str

    @property
    def grown(self) -> int:
        return self.after - self.before


def trend(course: Course) -> Trend:
    """Return what *course* suggests, by the rules above."""
    # The curve counts a mapping as whole until all of it is released; what is left is exact.
    curve = course.curve()
    middle = max(1, course.n_slots // 2)
    half_ns = max(1, (course.n_slots - middle) * course.width_ns)
    before, after = curve[middle - 1], curve[-1]
    words = f"from {format_bytes(before)} to {format_bytes(after)} over the last {format_duration(half_ns)}"
    half = _Half(before, after, max(curve[:middle]), words)
    kind, reason = _few(course) or _ended(course) or _growth(course, half)
    return Trend(kind, reason, half.grown * 1_000_000_000 // half_ns)


def _few(course: Course) -> tuple[Kind, str] | None:
    if course.n_survivors < FEW:
        return "unclear", f"only {plural(course.n_survivors, 'allocation')} left"
    if course.n_slots < SHORT:
        return "unclear", f"the recording is short, {_duration(course)}"
    return None


def _ended(course: Course) -> tuple[Kind, str] | None:
    """Return what is said of a stack all of whose survivors are young, or all old."""
    if course.share_allocated_in(0.9, 1) == 1 and course.released_count > 10 * course.n_survivors:
        released, duration = plural(course.released_count, "allocation"), _duration(course)
        return (
            "recent",
            f"{released} before were released, all that is left is of the last tenth of {duration}",
        )
    if course.share_allocated_in(0, 0.1) == 1:
        return "startup", f"all of it in the first tenth of {_duration(course)}, nothing since"
    return None


def _growth(course: Course, half: _Half) -> tuple[Kind, str]:
    if half.grown * 20 <= half.after:
        return "plateau", f"it went {half.words}"
    window = range(course.n_slots // 4, course.n_slots - 1)
    changes = [course.changes.get(course.first_slot + slot, 0) for slot in window]
    left = [course.survivors.get(course.first_slot + slot, 0) for slot in window]
    if min(_significance(changes), _significance(left)) < SIGNIFICANT:
        return "unclear", f"it went {half.words}, which may be chance"
    if half.highest_before >= half.after:
        return "unclear", f"it went {half.words}, and was as high before"
    older, younger = sum(left[: len(left) // 2]), sum(left[-(len(left) // 2) :])
    if 2 * older < younger and course.released_count > course.n_survivors:
        return "unclear", f"it went {half.words}, but most of what is older was released"
    if _slows(left) or _slows(changes):
        return "levelling", f"it went {half.words}, more slowly than before"
    return "growing", f"it grew steadily {half.words}"


def _significance(values: Sequence[int]) -> float:
    return sum(values) / _root(values)


def _slows(values: Sequence[int]) -> bool:
    """Whether the mean of the younger half is below three quarters of the older one's, significantly."""
    half = len(values) // 2
    (older, older_error), (younger, younger_error) = _mean(values[:half]), _mean(values[-half:])
    is_less = 4 * younger < 3 * older
    return is_less and older - younger > SIGNIFICANT * math.hypot(older_error, younger_error)


def _mean(values: Sequence[int]) -> tuple[float, float]:
    """Return the mean of two or more values, and its standard error; `statistics` would load for 10 ms."""
    mean = sum(values) / len(values)
    squares = sum((value - mean) ** 2 for value in values)
    return mean, math.sqrt(squares / (len(values) - 1) / len(values))


def _root(values: Sequence[int]) -> float:
    return math.sqrt(sum(value * value for value in values)) or 1.0


def _duration(course: Course) -> str:
    return format_duration(course.n_slots * course.width_ns)
