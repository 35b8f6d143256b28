"""
The highest moment of every slot of time, exactly, in bounded memory, and the curve of live memory.

Changes are put in order some millions at a time, whole slots together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gadgetops.duckdb_sql import create_table
from gadgetops.questions.asking.question import Question

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Column = npt.NDArray[np.int64]

_MOST_CHANGES: Final = 2_000_000
"""So many are put in order at once, unless one slot has more: few enough to stay in the processor's cache."""


@dataclass(frozen=True)
class HighestMoments:
    """
    What was live over time; a number for each point or slot.

    Args:
        slot_ns: When most was live in each slot, on the recording's clock; -1 where nothing changed.
        slot_seq: After which event of that time.
        slot_bytes: How much; where nothing changed, what was live all along.
        live_bytes: Live at the end of each point.
        live_most: The most within each point.
        allocated_count: Allocations in each point.
    """

    slot_ns: Column
    slot_seq: Column
    slot_bytes: Column
    live_bytes: Column
    live_most: Column
    allocated_count: Column

    def create_table(self, connection: "DuckDBPyConnection") -> None:
        """Create `slot_peaks` with `slot`, `timestamp_ns` and `seq`, which `slot_changes` joins."""
        columns = dict.fromkeys(("slot", "timestamp_ns", "seq"), "bigint")
        rows = zip(range(len(self.slot_ns)), self.slot_ns.tolist(), self.slot_seq.tolist(), strict=True)
        create_table(connection, "slot_peaks", columns, rows)


def highest_moments(
    question: Question, start_ns: int, point_ns: int, n_points: int, points_a_slot: int
) -> HighestMoments:
    """
    Return what was live over time of what *question* chose.

    Args:
        question: Has the view `changes`.
        start_ns: Where the first point begins, on the recording's clock.
        point_ns: How long each is; the last one also has what comes after it.
        n_points: How many there are.
        points_a_slot: How many are one slot.
    """
    n_slots = -(-n_points // points_a_slot)
    found = _Moments(n_slots, n_points, start_ns, point_ns, points_a_slot)
    for first, end in _chunks(question, n_slots, start_ns, point_ns * points_a_slot):
        found.add(_changes(question, start_ns, point_ns * points_a_slot, first, end, n_slots))
    return found.finish()


class _Moments:
    """The moments seen so far."""

    def __init__(self, n_slots: int, n_points: int, start_ns: int, point_ns: int, points_a_slot: int) -> None:
        self._start_ns, self._point_ns, self._points_a_slot = start_ns, point_ns, points_a_slot
        self._level = 0
        self._slot_ns, self._slot_seq = np.full(n_slots, -1), np.full(n_slots, -1)
        self._slot_bytes, self._most = np.full(n_slots, -1), np.full(n_points, -1)
        self._ends, self._allocated = np.full(n_points, -1), np.zeros(n_points, dtype=np.int64)

    def add(self, changes: dict[str, Column]) -> None:
        """Add changes, all of them later than those before."""
        order = _in_order(changes["timestamp_ns"], changes["seq"], changes["change_bytes"])
        if not len(order):
            return
        time_ns = changes["timestamp_ns"][order]
        added = changes["change_bytes"][order]
        levels = self._level + np.cumsum(added)
        last = len(self._most) - 1
        points = np.minimum((time_ns - self._start_ns) // self._point_ns, last)
        first = np.flatnonzero(np.concatenate([[True], points[1:] != points[:-1]]))
        self._most[points[first]] = np.maximum.reduceat(levels, first)
        self._ends[points[first]] = levels[np.concatenate([first[1:] - 1, [len(levels) - 1]])]
        is_allocation = changes["change_count"][order] > 0
        self._allocated += np.bincount(points[is_allocation], minlength=len(self._most))
        slots = points[first] // self._points_a_slot
        starts = first[np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))]
        for start, end in zip(starts, [*starts[1:], len(levels)], strict=True):
            highest = start + int(np.argmax(levels[start:end]))
            slot = points[highest] // self._points_a_slot
            self._slot_ns[slot] = time_ns[highest]
            self._slot_seq[slot] = changes["seq"][order[highest]]
            self._slot_bytes[slot] = levels[highest]
        self._level = int(levels[-1])

    def finish(self) -> HighestMoments:
        """Return them; where nothing changed it stays as it was."""
        ends = _carried_on(self._ends)
        before = np.concatenate([[0], ends[:-1]])
        most = np.where(self._most < 0, before, self._most)
        before_slot = before[:: self._points_a_slot]
        highest = np.where(self._slot_bytes < 0, before_slot, self._slot_bytes)
        return HighestMoments(self._slot_ns, self._slot_seq, highest, ends, most, self._allocated)


def _carried_on(values: Column) -> Column:
    """Return *values* with the last known one wherever there is -1; 0 before the first."""
    known = np.maximum.accumulate(np.where(values >= 0, np.arange(len(values)), -1))
    return np.where(known < 0, 0, values[np.maximum(known, 0)])


def _in_order(time_ns: Column, seq: Column, change_bytes: Column) -> npt.NDArray[np.intp]:
    """Return the order by time, event and change; sorting by time alone is what is quick."""
    order = np.argsort(time_ns, kind="stable")
    is_tied = time_ns[order[1:]] == time_ns[order[:-1]]
    tied = np.flatnonzero(np.concatenate([[False], is_tied]) | np.concatenate([is_tied, [False]]))
    if len(tied):
        some = order[tied]
        order[tied] = some[np.lexsort((change_bytes[some], seq[some], time_ns[some]))]
    return order


def _chunks(question: Question, n_slots: int, start_ns: int, width_ns: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of slots with so many changes as are put in order at once."""
    rows = question.rows(
        "peak_slots", start_ns=start_ns, end_ns=start_ns + n_slots * width_ns, width_ns=width_ns
    )
    counts = {(int(slot_ns) - start_ns) // width_ns: int(n_changes) for slot_ns, n_changes, *_ in rows}
    first, n_changes = 0, 0
    for slot in range(n_slots):
        if n_changes and n_changes + counts.get(slot, 0) > _MOST_CHANGES:
            yield first, slot
            first, n_changes = slot, 0
        n_changes += counts.get(slot, 0)
    yield first, n_slots


def _changes(
    question: Question, start_ns: int, width_ns: int, first: int, end: int, n_slots: int
) -> dict[str, Column]:
    from_ns = -(2**63) if first == 0 else start_ns + first * width_ns
    to_ns = 2**63 - 1 if end == n_slots else start_ns + end * width_ns
    query = (
        "select timestamp_ns, seq, change_bytes, change_count from changes "
        "where timestamp_ns >= $from_ns and timestamp_ns <= $to_ns - 1"
    )
    found: dict[str, Any] = question.connection.execute(
        query, {"from_ns": from_ns, "to_ns": to_ns}
    ).fetchnumpy()
    return {name: np.asarray(column, dtype=np.int64) for name, column in found.items()}
