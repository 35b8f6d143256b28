"""
The rules by which a stack's course is judged: each a function that finds something, or leaves it to the next.

Most stacks only ever add: each step to a new high is kept. There the question is whether steps still come,
at their own pace, when the recording ends. Where blocks are given back between them, chance may look like
growth, so growth has to be significant: the sum of the changes, in units of the root of the sum of their
squares, exceeds `SIGNIFICANT` by chance in fewer than one of twenty cases whatever the sizes are (Hoeffding's
bound), and so has that of the survivors.

`rule_table` has them in their order, with the words by which docs/verdicts.md describes them.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Final, Literal, NamedTuple

from gadgetops.questions.leaks.activity import N_BINS, Activity
from gadgetops.questions.leaks.course import Course, Curves, ages, calm, curves, levels_of
from gadgetops.questions.leaks.course_words import grown, silence, since
from gadgetops.units import format_duration, plural

Kind = Literal["growing", "levelling", "plateau", "startup", "recent", "unclear"]

SIGNIFICANT: Final = 2.5
"""Of a sum, in units of the root of the sum of squares."""
ENOUGH_STEPS: Final = 5
"""So many steps to a new high, or more, show growth."""
FEW_STEPS: Final = 4
"""So many do, too, if they come regularly."""
FEW: Final = 3
"""Fewer survivors of a stack that also releases show nothing."""
EARLY: Final = 0.25
"""What ended so early was start-up."""
LONG: Final = 0.2
"""A shorter part of the recording without a step says nothing."""
OVERDUE: Final = 2.5
"""So many times the longest wait for a step, without one, says that no more come; doubling needs twice."""
OFTEN: Final = 6
"""After so many waits a shorter silence says that no more steps come."""
OVERDUE_OFTEN: Final = 1.5
"""It is so many times the longest of them."""
_LATE: Final = 0.9
_OLDER: Final = 0.75
"""What was allocated before that part of the recording, and is left, is not merely in use."""
_SAME_AGE: Final = 1.3
"""Blocks that live at most so many times as long as before live as long."""
_ENOUGH_EVICTED: Final = 20
"""So many blocks were released, and as many allocated meanwhile, where a cache is full."""
MANY_RELEASED: Final = 3
"""So many times as many as are left were released, where what is left is in use."""
_SHORT: Final = 8
"""With fewer cells nothing is seen."""
_SMALLEST_STEP: Final = 256
"""A step adds at least one such part of all that was added after start-up."""
_CLOCKS: Final = (0, 1)


class Finding(NamedTuple):
    """A kind, what was seen, and what part of the recording it would take to know more."""

    kind: Kind
    reason: str
    missing_share: float | None = None


class _Step(NamedTuple):
    """The live bytes reached a new high: in which cell, and which."""

    cell: int
    level: int


def find_nothing(course: Course, _activity: Activity) -> Finding | None:
    """Return what is said of a stack of which nothing is left."""
    return None if course.survivors else Finding("unclear", "nothing is left")


def find_startup(course: Course, activity: Activity) -> Finding | None:
    """Return what is said of a stack all of whose survivors are old, while the program went on."""
    last = max(course.survivors)
    early = activity.is_startup(last) or activity.position(last).latest <= 0.1
    if activity.n_cells < _SHORT or not early:
        return None
    after_ns = course.last_ns - activity.first_ns
    when = f"in the first {format_duration(after_ns)}" if after_ns > 0 else "at the start"
    return Finding("startup", f"all of it {when}, {silence(course, activity)}")


def find_in_use(course: Course, activity: Activity) -> Finding | None:
    """Return what is said of a stack whose older blocks were all released."""
    first, count = min(course.survivors), course.n_survivors
    if not first or course.released_count < MANY_RELEASED * count:
        return None
    began = activity.position(first - 1).earliest
    is_late = began >= _LATE and course.released_count > 10 * count
    if _only_adds(course, activity):
        # A list that grows replaces its only block each time: there, steps tell.
        is_recent = is_late and len(_steps(calm(course), activity)) < FEW
        # Of a list there is one block: how old that is says nothing.
        is_recent = is_recent or (began >= 0.5 and count >= FEW and _is_passing(course, activity))
    else:
        made = sum(number for cell, number in course.allocated.items() if cell >= first)
        is_recent = is_late or (began >= 0.5 and count >= 0.9 * made and not _is_flat(course, activity))
    if not is_recent:
        return None
    released = plural(course.released_count, "allocation")
    age = format_duration(max(0, activity.end_ns - course.first_ns))
    return Finding("recent", f"{released} before were released, what is left is of the last {age}")


def find_full(course: Course, activity: Activity) -> Finding | None:
    """Return what is said of a stack that replaces its blocks and is no larger than half-way through."""
    if not course.replaces or course.n_survivors < FEW or activity.n_cells < _SHORT:
        return None
    found = [levels_of(course, activity, clock) for clock in _CLOCKS]
    if all((each[-1] - each[N_BINS // 2 - 1]) * 20 <= each[-1] for each in found):
        return Finding("plateau", f"{grown(course, activity)}{since(course, activity)}")
    return None


def _is_passing(course: Course, activity: Activity) -> bool:
    """Whether blocks live no longer at the end than half-way, on one of both clocks, though they are more."""
    if _is_flat(course, activity):
        return False
    found = [ages(course, activity, clock) for clock in _CLOCKS]
    return any(end <= _SAME_AGE * middle for middle, end in found)


def find_rising(course: Course, activity: Activity) -> Finding | None:
    """
    Return what is said of a stack that gives back most, and whose low points rise by what is left in the end.

    A buffer that is flushed but for a few blocks, a cache with blocks that are forgotten: what is live says
    nothing there, since it goes up and down by more.
    """
    if not course.replaces or course.n_survivors < FEW or activity.n_cells < _SHORT:
        return None
    found = curves(course, activity)
    if not any(_floor_rises(found, activity, clock) for clock in _CLOCKS):
        return None
    older = [
        cell
        for cell in course.survivors
        if not activity.is_startup(cell) and activity.position(cell).latest <= _OLDER
    ]
    most = max(course.survivors[cell] for cell in older)
    n_steps = sum(4 * course.survivors[cell] >= most for cell in older)
    if n_steps < FEW:
        return None
    words = f"{grown(course, activity)}, and some of each time is left"
    if n_steps < ENOUGH_STEPS:
        return Finding("unclear", f"{words}, in {plural(n_steps, 'step')}", ENOUGH_STEPS / n_steps - 1)
    return Finding("growing", f"{words}{since(course, activity)}")


def _floor_rises(found: Curves, activity: Activity, clock: int) -> bool:
    """Whether what is left grew in the second quarter and the third at one pace, and the floor by that."""
    positions = [activity.position(cell)[clock] for cell in range(len(activity.cells))]
    marks = [min(bisect_left(positions, share), len(positions) - 1) for share in (0.25, 0.5, _OLDER)]
    floors = [found.floor[mark] for mark in marks]
    kept = [found.kept[mark] for mark in marks]
    rises = [after - before for before, after in pairwise(floors)]
    left = [after - before for before, after in pairwise(kept)]
    later = found.live[marks[1] :]
    falls = sum(max(0, before - after) for before, after in pairwise(later))
    # Of a few lumps one more may be in either quarter; and a cell may miss the lowest point.
    lump = max((after - before for before, after in pairwise([0, *found.kept])), default=0)
    is_most = all(2 * (part + lump) >= low for part, low in zip(kept, floors, strict=True))
    is_by_it = all(2 * (part + lump) >= rise for part, rise in zip(left, rises, strict=True))
    is_rising = is_by_it and all(40 * rise > floors[-1] for rise in rises)
    is_one_pace = min(left) > 0 and 5 * (left[0] + lump) >= 3 * left[1]
    return is_one_pace and (is_rising or (is_most and falls >= max(later)))


def find_evicting(course: Course, activity: Activity) -> Finding | None:
    """Return what is said of a stack that kept all at first, and then releases as much as it allocates."""
    cells = range(len(activity.cells))
    made = [course.allocated.get(cell, 0) for cell in cells]
    gone = [course.released.get(cell, 0) for cell in cells]
    total = sum(gone)
    if total < _ENOUGH_EVICTED or activity.n_cells < _SHORT:
        return None
    begin = next(cell for cell, count in enumerate(accumulate(gone)) if 50 * count >= total)
    net = [new - old for new, old in zip(made[begin + 1 :], gone[begin + 1 :], strict=True)]
    n_made = sum(made[begin + 1 :])
    filled = sum(made[: begin + 1])
    is_filled_before = 10 * sum(gone[: begin + 1]) <= filled and filled >= FEW
    is_balanced = 20 * abs(sum(net)) <= n_made and _significance(net) < SIGNIFICANT
    if n_made < _ENOUGH_EVICTED or len(net) < FEW or not is_filled_before or not is_balanced:
        return None
    last = plural(n_made, "allocation")
    return Finding("plateau", f"{grown(course, activity)}, as much released as allocated for the last {last}")


def _only_adds(course: Course, activity: Activity) -> bool:
    """Whether live bytes hardly ever fell, after start-up, from one cell to the next."""
    after = [change for cell, change in calm(course).items() if not activity.is_startup(cell)]
    down = -sum(change for change in after if change < 0)
    return 10 * down <= sum(change for change in after if change > 0)


def _keeps(course: Course, activity: Activity) -> bool:
    """Whether most of what is ever live at the end of a cell is what is left in the end."""
    cells = [cell for cell in sorted(course.changes) if not activity.is_startup(cell)]
    live = kept = in_use = 0
    for cell in cells:
        live += course.changes[cell]
        kept += course.kept.get(cell, 0)
        in_use += max(0, live - kept)
    return 4 * in_use <= kept * len(cells)


def doubted(found: Finding, course: Course, activity: Activity) -> Finding:
    """
    Return *found*, or a doubt of growth in a program that did ever new things.

    A program that loads what it works with grows all the time, and a short one does little else. What grew in
    nearly every part of the recording grew whatever the program did.
    """
    if activity.is_settled or found.kind not in ("growing", "levelling"):
        return found
    bins = [activity.binned(course.changes, clock) for clock in _CLOCKS]
    if all(4 * sum(change > 0 for change in each) >= 3 * N_BINS for each in bins):
        return found
    return Finding("unclear", f"{found.reason}, but the program did ever new things", 1.0)


def find_steady(course: Course, activity: Activity) -> Finding | None:
    """Return the verdict on a stack that only adds, or gives nothing back but what it needs for a moment."""
    if _only_adds(course, activity):
        return _steps_of(course, activity, calm(course))
    if course.n_survivors >= FEW and _keeps(course, activity):
        return _steps_of(course, activity, course.kept)
    return None


def _steps_of(course: Course, activity: Activity, values: Mapping[int, int]) -> Finding:
    """Return the verdict on a stack whose live bytes rise, in these cells by so much."""
    steps = _steps(values, activity)
    words = grown(course, activity)
    positions = [activity.position(step.cell) for step in steps]
    if steps and activity.n_cells < _SHORT:
        return _too_short(course, activity)
    if all(_has_ended([position[clock] for position in positions]) for clock in _CLOCKS):
        is_startup = bool(steps) and positions[-1].latest <= EARLY and not course.replaces
        return Finding("startup" if is_startup else "plateau", f"{words}, {silence(course, activity)}")
    n_steps = plural(len(steps), "step")
    if len(steps) < FEW_STEPS or (len(steps) < ENOUGH_STEPS and not _is_regular(positions)):
        is_single = course.n_survivors < FEW and not course.released_count
        reason = _few(course) if is_single else f"{words}, in {n_steps}"
        return Finding("unclear", reason, ENOUGH_STEPS / len(steps) - 1)
    if _slows_on_both(course, activity):
        return Finding("levelling", f"{words}, ever more slowly{since(course, activity)}")
    in_steps = "" if len(steps) > 2 * ENOUGH_STEPS else f", in {n_steps}"
    return Finding("growing", f"{words}{in_steps}{since(course, activity)}")


def find_mixed(course: Course, activity: Activity) -> Finding | None:
    """Return the verdict on a stack that adds and releases: the clearest of both clocks."""
    if course.n_survivors < FEW:
        return Finding("unclear", _few(course))
    if activity.n_cells < _SHORT:
        return _too_short(course, activity)
    found = [_growth(course, activity, clock) for clock in _CLOCKS]
    order: tuple[Kind, ...] = ("growing", "levelling", "plateau", "unclear")
    return min(found, key=lambda each: order.index(each.kind))


def _too_short(course: Course, activity: Activity) -> Finding:
    if course.n_survivors < FEW:
        return Finding("unclear", _few(course))
    duration = format_duration(max(0, activity.end_ns - activity.first_ns))
    return Finding("unclear", f"the recording is short, {duration}")


def _few(course: Course) -> str:
    made = course.n_survivors + course.released_count
    of = f" of {made:,}" if course.released_count else ""
    return f"only {plural(course.n_survivors, 'allocation')} left{of}"


def _growth(course: Course, activity: Activity, clock: int) -> Finding:
    changes = activity.binned(course.changes, clock)
    curve = levels_of(course, activity, clock)
    middle = N_BINS // 2
    before, after = curve[middle - 1], curve[-1]
    words = f"{grown(course, activity)}{since(course, activity)}"
    if (after - before) * 20 <= after:
        return Finding("plateau", words)
    # The last part has what is in use, the first quarter what is built once.
    window = slice(N_BINS // 4, N_BINS - 1)
    left = activity.binned(course.survivors, clock)[window]
    if max(curve[:middle]) >= after:
        return Finding("plateau", f"{words}; it was as much before")
    if min(_significance(changes[window]), _significance(left)) < SIGNIFICANT:
        return Finding("unclear", f"{words}, which may be chance", 1.0)
    older, younger = sum(left[: len(left) // 2]), sum(left[-(len(left) // 2) :])
    if 2 * older < younger and course.replaces:
        return Finding("unclear", f"{words}, but most of what is older was released", 1.0)
    if any(_slows(values) and not _keeps_pace(values) for values in (left, changes[window])):
        return Finding("levelling", f"{words}, ever more slowly")
    return Finding("growing", words)


def _steps(values: Mapping[int, int], activity: Activity) -> list[_Step]:
    """Return the cells after start-up in which the live bytes reached a new high, with that."""
    cells = sorted(values)
    levels = [*accumulate(values[cell] for cell in cells)]
    before = [level for cell, level in zip(cells, levels, strict=True) if activity.is_startup(cell)]
    highest = max([0, *before])
    # What sizes that differ by chance add is no step.
    least = max(1, (max(levels) - highest) // _SMALLEST_STEP)
    steps = []
    for cell, level in zip(cells, levels, strict=True):
        if level >= highest + least and not activity.is_startup(cell):
            highest = level
            steps.append(_Step(cell, level))
    return steps


def _has_ended(positions: Sequence[float]) -> bool:
    """Whether the next step after those at *positions* is overdue; without any there is none to wait for."""
    if not positions:
        return True
    waits = [later - earlier for earlier, later in pairwise(positions)]
    end = 1 - positions[-1]
    if not waits:
        return end > 0.5
    allowed = max(LONG, (OVERDUE_OFTEN if len(waits) >= OFTEN else OVERDUE) * max(waits))
    if len(waits) >= 2 and all(later >= 1.5 * earlier for earlier, later in pairwise(waits[-3:])):
        # Each step takes a multiple of the one before, as where a list grows by a factor.
        allowed = max(allowed, 1.5 * waits[-1] * waits[-1] / max(waits[-2], 1e-9))
    return end > allowed


def _is_regular(positions: Sequence[Sequence[float]]) -> bool:
    """Whether steps come at nearly equal distances on one of both clocks."""
    for clock in _CLOCKS:
        waits = sorted(later[clock] - earlier[clock] for earlier, later in pairwise(positions))
        if waits and waits[-1] <= 2 * waits[0]:
            return True
    return False


def _slows_on_both(course: Course, activity: Activity) -> bool:
    """Whether less and less is added, in bytes and in blocks, on both clocks."""
    for values in (course.changes, course.survivors):
        by_clock = [activity.binned(values, clock)[:-1] for clock in _CLOCKS]
        # A starved machine has a clock of its own, so both are asked together for the pace.
        if not all(map(_slows, by_clock)) or _keeps_pace([*map(sum, zip(*by_clock, strict=True))]):
            return False
    return True


def _significance(values: Sequence[int]) -> float:
    return sum(values) / (math.sqrt(sum(value * value for value in values)) or 1.0)


def _slows(values: Sequence[int]) -> bool:
    """Whether the mean of the younger half is below three quarters of the older one's, significantly."""
    half = len(values) // 2
    (older, older_error), (younger, younger_error) = _mean(values[:half]), _mean(values[-half:])
    is_less = 4 * younger < 3 * older
    return is_less and older - younger > SIGNIFICANT * math.hypot(older_error, younger_error)


def _keeps_pace(values: Sequence[int]) -> bool:
    """
    Whether values that are less in the younger half do not go on to fall within it.

    What fills once and then grows at a steady pace is no cache that fills. By how much a course that slows at
    one rate falls within its younger half, is the root of what it falls by between the halves; less is asked.
    """
    half = len(values) // 2
    (older, _), (younger, _) = _mean(values[:half]), _mean(values[-half:])
    (before, _), (last, _) = _mean(values[-half : -(half // 2)]), _mean(values[-(half // 2) :])
    return older <= 0 or last > before * max(0.0, younger / older) ** 0.2


def _mean(values: Sequence[int]) -> tuple[float, float]:
    """Return the mean of two or more values, and its standard error; `statistics` would load for 10 ms."""
    mean = sum(values) / len(values)
    squares = sum((value - mean) ** 2 for value in values)
    return mean, math.sqrt(squares / (len(values) - 1) / len(values))


def _is_flat(course: Course, activity: Activity) -> bool:
    """Whether the live bytes are about what they were at any time in the last half."""
    later = levels_of(course, activity, 0)[N_BINS // 2 :]
    return 10 * (max(later) - min(later)) <= 2 * max(later)
