"""How live memory, and the rate of allocations, went over the time of a recording."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import ALL, Filters, GroupBy
from gadgetops.questions.asking.groups import EVERYTHING, Group
from gadgetops.questions.asking.question import Question, Span, asked, of_what_is_readable
from gadgetops.questions.slots.resident import resident_course
from gadgetops.recording.reader import Recording

BUCKETS: Final = 60
"""How many parts a recording's time is cut into, unless asked otherwise."""


@dataclass(frozen=True)
class Series:
    """
    One group over time; each member has a number for each bucket.

    Args:
        group: The group.
        live_bytes: Live at the end of the bucket.
        live_count: Allocations live then.
        allocated_bytes: Allocated in the bucket.
        allocated_count: Allocations in the bucket.
    """

    group: Group
    live_bytes: tuple[int, ...]
    live_count: tuple[int, ...]
    allocated_bytes: tuple[int, ...]
    allocated_count: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as the documented JSON."""
        return {
            "group": self.group.to_json(),
            "live_bytes": [*self.live_bytes],
            "live_count": [*self.live_count],
            "allocated_bytes": [*self.allocated_bytes],
            "allocated_count": [*self.allocated_count],
        }


@dataclass(frozen=True)
class Timeline:
    """
    A recording cut into equal parts.

    Args:
        certainty: How sure it is.
        start_ns: When the first bucket begins, since the first event.
        width_ns: How long each bucket is; the last one ends with the last event.
        total: All groups together.
        series: Each group, the one that ever had most bytes live first; empty if there are no groups.
        resident_bytes: The most that the processes had in RAM in each bucket, None where that is not known;
            None if it never is.
    """

    certainty: Certainty
    start_ns: int
    width_ns: int
    total: Series
    series: tuple[Series, ...]
    resident_bytes: tuple[int | None, ...] | None = None

    def to_json(self, limit: int | None = None) -> dict[str, Any]:
        """Return all, of the groups the first *limit*, as the documented JSON."""
        return {
            **self.certainty.to_json(),
            "start_ns": self.start_ns,
            "width_ns": self.width_ns,
            "total": self.total.to_json(),
            "resident_bytes": None if self.resident_bytes is None else [*self.resident_bytes],
            "groups": [series.to_json() for series in self.series[:limit]],
            "group_count": len(self.series),
        }


@of_what_is_readable
def timeline(
    recording: Recording,
    buckets: int = BUCKETS,
    filters: Filters = ALL,
    group_by: GroupBy | None = None,
) -> Timeline:
    """
    Return how the live bytes of the chosen allocations went, in *buckets* equal parts of the time.

    The time is that of the recording, from where `filters.since_ns` says.

    Raises:
        RecordingError: The question could not be answered.
    """
    with asked(recording, filters, group_by) as question:
        start_ns, width_ns = _cut(question.span, filters.since_ns, buckets)
        changes = _changes(question, buckets, start_ns, width_ns)
        resident = resident_course(question, start_ns, width_ns, buckets)
    series = [_series(question.groups[group_id], changes[group_id]) for group_id in changes]
    return Timeline(
        question.certainty,
        start_ns - question.span.first_ns,
        width_ns,
        _total(series, buckets),
        () if group_by is None else tuple(sorted(series, key=_rank)),
        tuple(None if each < 0 else each for each in resident.tolist()) or None,
    )


def _cut(span: Span, since_ns: int, buckets: int) -> tuple[int, int]:
    """Return the beginning and the width of equal buckets that cover the time from *since_ns* to the end."""
    start_ns = min(span.first_ns + since_ns, span.last_ns)
    return start_ns, max(1, -(-(span.last_ns - start_ns + 1) // buckets))


def _changes(
    question: Question, buckets: int, start_ns: int, width_ns: int
) -> dict[int, list[Sequence[int]]]:
    """Return for each group a row of four changes for each bucket."""
    found: dict[int, list[Sequence[int]]] = {}
    rows = question.rows("timeline", start_ns=start_ns, width_ns=width_ns, last=buckets - 1)
    for group_id, bucket, *changes in rows:
        found.setdefault(group_id, [(0, 0, 0, 0)] * buckets)[bucket] = changes
    return found


def _series(group: Group, changes: Iterable[Sequence[int]]) -> Series:
    live_bytes, live_count, allocated_bytes, allocated_count = zip(*changes, strict=True)
    return Series(
        group, tuple(accumulate(live_bytes)), tuple(accumulate(live_count)), allocated_bytes, allocated_count
    )


def _total(series: Sequence[Series], buckets: int) -> Series:
    def added(name: str) -> tuple[int, ...]:
        return tuple(map(sum, zip([0] * buckets, *(getattr(each, name) for each in series), strict=True)))

    names = ("live_bytes", "live_count", "allocated_bytes", "allocated_count")
    return Series(EVERYTHING, *map(added, names))


def _rank(series: Series) -> tuple[int, int, str]:
    return (-max(series.live_bytes), -sum(series.allocated_bytes), series.group.name)
