"""
The moment when most bytes were live, exactly, in bounded memory.

What is live at a moment is the sum of all changes before it, for which they have to be in order; and DuckDB
keeps all that it sums up so in memory. So changes are counted first by slots of time: in a slot no more can
be live than what is live before it and all that is allocated in it. Only slots in which that is as much as is
reached somewhere are looked at, the most promising first, some millions of changes at a time.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from gadgetops.questions.asking.filters import MAX_BIGINT
from gadgetops.questions.asking.question import Amount, Question

_N_SLOTS: Final = 256
_MOST_CHANGES: Final = 8_000_000
"""So many are put in order at once; they take about half of DuckDB's memory limit."""


class _Moment(NamedTuple):
    """A time, and after which event of that time; and what is live then."""

    live_bytes: int
    timestamp_ns: int
    seq: int

    @property
    def rank(self) -> tuple[int, int, int]:
        """The smaller the higher, and the earlier of two that are as high."""
        return -self.live_bytes, self.timestamp_ns, self.seq


class _Slot(NamedTuple):
    """A time from `start_ns` on and before `end_ns`; its changes; what is live before, after and at most."""

    start_ns: int
    end_ns: int
    n_changes: int
    before_bytes: int
    after_bytes: int
    most_bytes: int

    @property
    def rank(self) -> tuple[int, int, int]:
        """No moment of the slot has a smaller one."""
        return -self.most_bytes, self.start_ns, 0

    @property
    def is_too_large(self) -> bool:
        """Whether it is to be looked at in parts."""
        return self.n_changes > _MOST_CHANGES and self.end_ns - self.start_ns > 1


def high_water(
    question: Question, from_ns: int = 0, to_ns: int | None = None
) -> tuple[int | None, dict[int, Amount]]:
    """
    Return when the chosen allocations first had most bytes live, and what each group had live then.

    Only moments from *from_ns* on and before *to_ns* are looked at. All times are since the first event; None
    is returned if there never was anything. Groups without are left out.
    """
    span = question.span
    start_ns = span.first_ns + from_ns
    end_ns = span.last_ns + 1 if to_ns is None else min(span.first_ns + to_ns, span.last_ns + 1)
    before_bytes, best = 0, None
    if from_ns:
        # What was live when it began; it may be that only less is live later.
        before = question.rows("peak", timestamp_ns=start_ns - 1, seq=MAX_BIGINT)
        before_bytes = sum(size_bytes for _, size_bytes, _ in before)
        best = _Moment(before_bytes, start_ns - 1, MAX_BIGINT)
    whole = _Slot(start_ns, end_ns, 0, before_bytes, 0, 0)
    moment = _highest(question, whole, best) if start_ns < end_ns else best
    if moment is None:
        return None, {}
    rows = question.rows("peak", timestamp_ns=moment.timestamp_ns, seq=moment.seq)
    live = {group_id: Amount(*amount) for group_id, *amount in rows}
    return max(moment.timestamp_ns - span.first_ns, from_ns) if live else None, live


def _highest(question: Question, whole: _Slot, best: _Moment | None) -> _Moment | None:
    """Return the highest moment of *whole*, or *best* if that is as high."""
    parts = [*_parts(question, whole)]
    reached = max((part.after_bytes for part in parts), default=0)
    for part in sorted(_joined(parts, reached), key=lambda part: part.rank):
        if best is not None and part.rank > best.rank:
            break
        found = _highest(question, part, best) if part.is_too_large else _moment(question, part)
        best = min(filter(None, (best, found)), key=lambda moment: moment.rank, default=None)
    return best


def _moment(question: Question, slot: _Slot) -> _Moment | None:
    rows = question.rows("peak_moment", start_ns=slot.start_ns, end_ns=slot.end_ns)
    return next((_Moment(slot.before_bytes + added, time_ns, seq) for time_ns, seq, added in rows), None)


def _parts(question: Question, whole: _Slot) -> Iterator[_Slot]:
    """Yield the slots of *whole* in which something changes."""
    width_ns = -(-(whole.end_ns - whole.start_ns) // _N_SLOTS)
    rows = question.rows("peak_slots", start_ns=whole.start_ns, end_ns=whole.end_ns, width_ns=width_ns)
    levels = accumulate((row[2] for row in rows), initial=whole.before_bytes)
    for (start_ns, n_changes, change, allocated), before in zip(rows, levels, strict=False):
        end_ns = min(start_ns + width_ns, whole.end_ns)
        yield _Slot(start_ns, end_ns, n_changes, before, before + change, before + allocated)


def _joined(slots: Sequence[_Slot], reached_bytes: int) -> Iterator[_Slot]:
    """Yield those of *slots* that may reach so much, neighbours as one unless it is too large."""
    group: list[_Slot] = []
    for slot in slots:
        is_wanted = slot.most_bytes >= reached_bytes
        has_room = sum(each.n_changes for each in group) + slot.n_changes <= _MOST_CHANGES
        if group and not (is_wanted and has_room):
            yield _as_one(group)
            group = []
        if is_wanted:
            group.append(slot)
    if group:
        yield _as_one(group)


def _as_one(slots: Sequence[_Slot]) -> _Slot:
    first, last = slots[0], slots[-1]
    n_changes, most_bytes = sum(slot.n_changes for slot in slots), max(slot.most_bytes for slot in slots)
    return _Slot(first.start_ns, last.end_ns, n_changes, first.before_bytes, last.after_bytes, most_bytes)
