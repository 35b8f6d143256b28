"""How long allocations lived until the program released them."""

from dataclasses import dataclass
from typing import Any

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import ALL, Filters, GroupBy
from gadgetops.questions.asking.groups import EVERYTHING, Group
from gadgetops.questions.asking.question import asked, of_what_is_readable
from gadgetops.recording.reader import Recording


@dataclass(frozen=True)
class Lifetimes:
    """
    The lifetimes of one group's allocations. Percentiles are lifetimes that occurred: the shortest that at
    least so many of the released allocations do not outlive.

    Args:
        group: The group.
        released_count: Allocations that the program released: they have a lifetime.
        other_count: Those without one: live, ended with their process, or the release was not seen.
        p50_ns: Half of the released lived no longer; None if none was released.
        p90_ns: Nor did nine of ten live longer than this.
        p99_ns: Nor 99 of a hundred.
        max_ns: The longest.
    """

    group: Group
    released_count: int
    other_count: int
    p50_ns: int | None
    p90_ns: int | None
    p99_ns: int | None
    max_ns: int | None

    def to_json(self) -> dict[str, Any]:
        """Return it as the documented JSON."""
        return {**vars(self), "group": self.group.to_json()}


@dataclass(frozen=True)
class LifetimesAnswer:
    """
    The lifetimes of a recording's allocations.

    Args:
        certainty: How sure it is.
        total: Of all groups together.
        rows: By group, most released allocations first.
    """

    certainty: Certainty
    total: Lifetimes
    rows: tuple[Lifetimes, ...]

    def to_json(self, limit: int | None = None) -> dict[str, Any]:
        """Return the first *limit* groups as the documented JSON."""
        return {
            **self.certainty.to_json(),
            "total": self.total.to_json(),
            "groups": [row.to_json() for row in self.rows[:limit]],
            "group_count": len(self.rows),
        }


@of_what_is_readable
def lifetimes(
    recording: Recording, filters: Filters = ALL, group_by: GroupBy | None = "stack"
) -> LifetimesAnswer:
    """
    Return how long the chosen allocations of *recording* lived, by group.

    Raises:
        RecordingError: The question could not be answered.
    """
    with asked(recording, filters, group_by) as question:
        counts = {group_id: count for group_id, _, count, *_ in question.rows("by_group")}
        found = {group_id: row for group_id, *row in question.rows("lifetimes", is_together=0)}
        together = next((row for _, *row in question.rows("lifetimes", is_together=1)), None)
    named = question.groups
    rows = [_lifetimes(named[group_id], count, found.get(group_id)) for group_id, count in counts.items()]
    return LifetimesAnswer(
        question.certainty,
        _lifetimes(EVERYTHING, sum(counts.values()), together),
        tuple(sorted(rows, key=lambda row: (-row.released_count, -row.other_count, row.group.name))),
    )


def _lifetimes(group: Group, count: int, row: list[Any] | None) -> Lifetimes:
    released, *lifetimes_ns = row or (0, None, None, None, None)
    return Lifetimes(group, released, count - released, *lifetimes_ns)
