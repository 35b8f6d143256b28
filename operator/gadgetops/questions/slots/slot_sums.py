"""
Sums by stack, thread and slot of time: what a report carries instead of events.

Any window of whole slots is answered from them by adding up, with the numbers that the questions give for the
same window: they come from the questions' own views.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import ALL, Filters
from gadgetops.questions.asking.groups import Groups
from gadgetops.questions.asking.question import Question, asked, of_what_is_readable
from gadgetops.questions.asking.stacks_of import Stack
from gadgetops.questions.slots.highest_moments import highest_moments
from gadgetops.questions.slots.resident import resident_course
from gadgetops.questions.temporary import OTHERS
from gadgetops.questions.texts import text
from gadgetops.recording.reader import Recording

Column = npt.NDArray[np.int64]

N_SLOTS: Final = 256
POINTS_A_SLOT: Final = 4
"""The curve of all live memory has so many points in each of `N_SLOTS`."""
_FEWEST_SLOTS: Final = 32
_MANY_ROWS: Final = 200_000
"""Slots are wider where there would be more rows: a file of 3 MB would not hold them."""
MOST_BYTES: Final = 2**62
"""Sums above that are shown as that: no machine has so much memory, but a recording can say so."""

FACETS: Final = ("thread", "process", "container")
"""What threads are told apart by, in every recording."""


class Rows(NamedTuple):
    """
    Sums of one stack and thread in one slot, a column each; sorted by stack, thread and slot.

    Args:
        stack: Number of the stack.
        thread: Number of the thread.
        slot: Number of the slot.
        allocated_bytes: Allocated in the slot; `_count`: in so many allocations.
        left_bytes: What of that was never released.
        temporary_bytes: What of that was temporary.
        change_bytes: By how much live memory is more at the slot's end than at its beginning.
        rise_bytes: The same at the slot's highest moment.
    """

    stack: Column
    thread: Column
    slot: Column
    allocated_bytes: Column
    allocated_count: Column
    left_bytes: Column
    left_count: Column
    temporary_bytes: Column
    temporary_count: Column
    change_bytes: Column
    change_count: Column
    rise_bytes: Column
    rise_count: Column


class Histogram(NamedTuple):
    """
    Sums by thread, slot, and the number of digits of a size or lifetime; a column each.

    Args:
        digits: Of sizes the binary ones: n are 2^(n-1) … 2^n - 1, and 0 is 0 bytes. Of lifetimes in ns the
            decimal ones; -1 stands for allocations without a lifetime.
    """

    thread: Column
    slot: Column
    digits: Column
    sums: tuple[Column, ...]


@dataclass(frozen=True)
class SlotSums:
    """
    A recording's sums.

    Args:
        certainty: How sure they are.
        duration_ns: From the first to the last event.
        width_ns: How long a slot is; the first begins with the first event.
        n_slots: How many there are.
        stacks: The stacks, by number; the last may stand for several, see `folded`.
        threads: Of each thread its name by each of `facets`.
        facets: What threads are told apart by.
        rows: The sums.
        highest_ns: When most bytes were live in each slot, since the first event.
        highest_bytes: How many then.
        point_ns: How long a point of the curve is.
        live_bytes: The curve: live at the end of each point.
        live_most: The most that was live within each point.
        allocated_count: How many allocations there were within each point.
        resident_bytes: The most that the processes had in RAM within each point, -1 where that is not known;
            empty if it never is.
        sizes: Allocated and left, in bytes and allocations, by size.
        lifetimes: Number of allocations by lifetime.
    """

    certainty: Certainty
    duration_ns: int
    width_ns: int
    n_slots: int
    stacks: tuple[Stack, ...]
    threads: tuple[tuple[str, ...], ...]
    facets: tuple[str, ...]
    rows: Rows
    highest_ns: Column
    highest_bytes: Column
    point_ns: int
    live_bytes: Column
    live_most: Column
    allocated_count: Column
    resident_bytes: Column
    sizes: Histogram
    lifetimes: Histogram

    def coarser(self) -> "SlotSums":
        """Return the same with slots of twice the width."""
        n_slots = -(-self.n_slots // 2)
        before = np.full(2 * n_slots, -1, dtype=np.int64)
        before[: self.n_slots] = self.highest_bytes
        is_second = before[1::2] > before[0::2]
        index = 2 * np.arange(n_slots) + is_second
        return replace(
            self,
            width_ns=2 * self.width_ns,
            n_slots=n_slots,
            rows=_summed(_in_wider_slots(self.rows, is_second)),
            highest_ns=self.highest_ns[index],
            highest_bytes=self.highest_bytes[index],
            sizes=_halved(self.sizes),
            lifetimes=_halved(self.lifetimes),
        )

    def folded(self, n_kept: int) -> "SlotSums":
        """Return the same with all but the *n_kept* largest stacks together as the last one."""
        if n_kept >= len(self.stacks):
            return self
        order = np.argsort(-self._importance(), kind="stable")
        number = np.full(len(self.stacks), n_kept, dtype=np.int64)
        kept = np.sort(order[:n_kept])
        number[kept] = np.arange(n_kept)
        rest = Stack((), f"{len(self.stacks) - n_kept:,} smaller stacks together")
        return replace(
            self,
            stacks=(*(self.stacks[each] for each in kept), rest),
            rows=_summed(self.rows._replace(stack=number[self.rows.stack])),
        )

    def _importance(self) -> npt.NDArray[np.float64]:
        """Return for each stack the largest share that it has of anything."""
        shares = np.zeros(len(self.stacks))
        rows = self.rows
        for column in (rows.allocated_bytes, rows.allocated_count, rows.left_bytes, rows.temporary_count):
            sums = np.bincount(rows.stack, weights=column, minlength=len(self.stacks))
            shares = np.maximum(shares, sums / max(1.0, float(sums.sum())))
        return shares


@of_what_is_readable
def slot_sums(recording: Recording, filters: Filters = ALL, facets: tuple[str, ...] = FACETS) -> SlotSums:
    """
    Return the sums of what *filters* choose in *recording*.

    Args:
        recording: One, or a fleet.
        filters: Which allocations.
        facets: What threads are told apart by; each is something to group by.

    Raises:
        RecordingError: The question could not be answered.
    """
    # Groups are made below, of stacks and threads together.
    with asked(recording, filters, None) as question:
        return _Sums(question, facets).collect()


class _Sums:
    """The sums of one question."""

    def __init__(self, question: Question, facets: tuple[str, ...]) -> None:
        self._question = question
        self._start_ns = question.span.first_ns
        self._point_ns = max(1, -(-(question.span.duration_ns + 1) // (N_SLOTS * POINTS_A_SLOT)))
        self._width_ns = self._point_ns * POINTS_A_SLOT
        self._n_slots = -(-(question.span.duration_ns + 1) // self._width_ns)
        self._facets = facets
        self._stacks: tuple[Stack, ...] = ()
        self._threads: tuple[tuple[str, ...], ...] = ()

    def collect(self) -> SlotSums:
        """Return all of them."""
        self._number_groups()
        self._execute(f"create temp table slotted as {text('slotted')}", others=OTHERS)
        self._execute("create or replace temp view chosen as from slotted")
        allocated = self._allocated()
        n_points = -(-(self._question.span.duration_ns + 1) // self._point_ns)
        found = highest_moments(
            self._question, self._start_ns, self._point_ns, n_points, self._width_ns // self._point_ns
        )
        found.create_table(self._question.connection)
        return SlotSums(
            certainty=self._question.certainty,
            duration_ns=self._question.span.duration_ns,
            width_ns=self._width_ns,
            n_slots=self._n_slots,
            stacks=self._stacks,
            threads=self._threads,
            facets=self._facets,
            rows=self._rows(allocated),
            highest_ns=np.maximum(found.slot_ns - self._start_ns, 0),
            highest_bytes=found.slot_bytes,
            point_ns=self._point_ns,
            live_bytes=found.live_bytes,
            live_most=found.live_most,
            allocated_count=found.allocated_count,
            resident_bytes=resident_course(self._question, self._start_ns, self._point_ns, n_points),
            sizes=self._histogram("slot_sizes"),
            lifetimes=self._histogram("slot_lifetimes"),
        )

    def _number_groups(self) -> None:
        """
        Make each pair of a stack and a thread a group.

        The questions' views add the group of a stack to that of its thread; in answers one of both is 0.
        """
        question = self._question
        found = question.grouped("stack")
        ids = {group_id: number for number, group_id in enumerate(sorted(found.groups))}
        of_stack = {
            stack_id: (ids[group_id], is_chosen) for stack_id, (group_id, is_chosen) in found.of_stack.items()
        }
        of_thread, self._threads = _thread_numbers(question, self._facets, found)
        Groups(
            of_stack,
            {key: (number * max(1, len(ids)), is_chosen) for key, (number, is_chosen) in of_thread.items()},
            {},
        ).create_tables(question.connection)
        self._stacks = tuple(_stack_of(found.groups[group_id].stack) for group_id in sorted(found.groups))

    def _allocated(self) -> dict[str, Column]:
        """Return what was allocated, by group and slot, and choose how wide slots are."""
        found = self._columns("slot_allocated", most_bytes=MOST_BYTES)
        n_rows = len(found["slot"])
        while n_rows > _MANY_ROWS and self._n_slots > _FEWEST_SLOTS:
            self._width_ns *= 2
            self._n_slots = -(-self._n_slots // 2)
            found["slot"] //= 2
            n_rows //= 2
        return found

    def _rows(self, allocated: dict[str, Column]) -> Rows:
        n_stacks = max(1, len(self._stacks))
        changes = self._columns("slot_changes", most_bytes=MOST_BYTES)
        zeros_a, zeros_c = np.zeros_like(allocated["slot"]), np.zeros_like(changes["slot"])
        group_id = np.concatenate([allocated["group_id"], changes["group_id"]])
        columns = {
            "stack": group_id % n_stacks,
            "thread": group_id // n_stacks,
            "slot": np.concatenate([allocated["slot"], changes["slot"]]),
        }
        for name in Rows._fields[3:]:
            columns[name] = np.concatenate([allocated.get(name, zeros_a), changes.get(name, zeros_c)])
        return _summed(Rows(**columns))

    def _histogram(self, name: str) -> Histogram:
        bounds = {"most_bytes": MOST_BYTES} if name == "slot_sizes" else {}
        found = self._columns(name, part=max(1, len(self._stacks)), **bounds)
        thread, slot, digits = found.pop("part"), found.pop("slot"), found.pop("digits")
        return _sorted(Histogram(thread, slot, digits, tuple(found.values())))

    def _columns(self, name: str, **parameters: int) -> dict[str, Column]:
        result = self._execute(
            text(name),
            start_ns=self._start_ns,
            width_ns=self._width_ns,
            last=self._n_slots - 1,
            **parameters,
        ).fetchnumpy()
        return {column: np.asarray(values, dtype=np.int64) for column, values in result.items()}

    def _execute(self, query: str, **parameters: Any) -> Any:
        return self._question.connection.execute(query, parameters or None)


def _stack_of(stack: Stack | None) -> Stack:
    return Stack((), "unknown") if stack is None else stack


def _thread_numbers(
    question: Question, facets: Sequence[str], found: Groups
) -> tuple[Mapping[tuple[int, int], tuple[int, bool]], tuple[tuple[str, ...], ...]]:
    """Return number and choice of each thread, and the names by number; threads of equal names are one."""
    by_facet = [question.grouped(facet) for facet in facets]  # type: ignore[arg-type]
    names = {
        key: tuple(groups.groups[groups.of_thread[key][0]].name for groups in by_facet)
        for key in found.of_thread
    }
    numbers = {each: number for number, each in enumerate(dict.fromkeys(names.values()))}
    return (
        {key: (numbers[names[key]], is_chosen) for key, (_, is_chosen) in found.of_thread.items()},
        tuple(numbers),
    )


def _in_wider_slots(rows: Rows, is_second: npt.NDArray[np.bool_]) -> Rows:
    """Return *rows* in slots of twice the width, whose highest moment is in their second half or not."""
    slot = rows.slot // 2
    is_late, is_high_late = rows.slot % 2 == 1, is_second[slot]
    rises = {
        f"rise_{unit}": np.where(
            is_late & ~is_high_late,
            0,
            np.where(~is_late & is_high_late, getattr(rows, f"change_{unit}"), getattr(rows, f"rise_{unit}")),
        )
        for unit in ("bytes", "count")
    }
    return rows._replace(slot=slot, **rises)


def _summed(rows: Rows) -> Rows:
    """Return *rows* sorted, those of one stack, thread and slot as one."""
    (stack, thread, slot), sums = _added_up(rows[:3], rows[3:])
    return Rows(stack, thread, slot, *sums)


def _halved(found: Histogram) -> Histogram:
    return _sorted(found._replace(slot=found.slot // 2))


def _sorted(found: Histogram) -> Histogram:
    """Return *found* sorted, those of one thread, slot and number of digits as one."""
    (thread, slot, digits), sums = _added_up(found[:3], found.sums)
    return Histogram(thread, slot, digits, tuple(sums))


def _added_up(keys: Sequence[Column], sums: Sequence[Column]) -> tuple[list[Column], list[Column]]:
    """Return *keys* in order, each triple once, and the *sums* of each."""
    if not len(keys[0]):
        return [*keys], [*sums]
    lowest = [int(column.min()) for column in keys]
    ranges = [int(column.max()) - low + 1 for column, low in zip(keys, lowest, strict=True)]
    # One number for the three: sorting it takes a fifth of the time.
    key = (keys[0] - lowest[0]) * ranges[1] + (keys[1] - lowest[1])
    key = key * ranges[2] + (keys[2] - lowest[2])
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    at = order[first]
    return [column[at] for column in keys], [np.add.reduceat(column[order], first) for column in sums]
