"""What was live when most bytes were."""

from dataclasses import dataclass
from typing import Any

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import ALL, Filters, GroupBy
from gadgetops.questions.asking.groups import Group
from gadgetops.questions.asking.question import NOTHING, Amount, asked, of_what_is_readable
from gadgetops.questions.high_water import high_water
from gadgetops.recording.reader import Recording


@dataclass(frozen=True)
class PeakRow:
    """
    What one group had live at the peak.

    Args:
        group: The group.
        live: Its live allocations; of a mapping released in part, the rest.
    """

    group: Group
    live: Amount


@dataclass(frozen=True)
class Peak:
    """
    The moment when the allocations that were asked about had most bytes live; the first, if there are
    several.

    Args:
        certainty: How sure it is.
        at_ns: When, since the first event; None if nothing was allocated.
        live: What was live then.
        rows: By group; most bytes first. Only groups with something live.
    """

    certainty: Certainty
    at_ns: int | None
    live: Amount
    rows: tuple[PeakRow, ...]

    def to_json(self, limit: int | None = None) -> dict[str, Any]:
        """Return the first *limit* groups as the documented JSON."""
        return {
            **self.certainty.to_json(),
            "at_ns": self.at_ns,
            "live": self.live.to_json(),
            "groups": [self._row_to_json(row) for row in self.rows[:limit]],
            "group_count": len(self.rows),
        }

    def share(self, row: PeakRow) -> float:
        """Return the part of the peak's bytes that *row* had, from 0 to 1."""
        return row.live.size_bytes / self.live.size_bytes if self.live.size_bytes else 0.0

    def _row_to_json(self, row: PeakRow) -> dict[str, Any]:
        return {"group": row.group.to_json(), **row.live.to_json(), "share": self.share(row)}


@of_what_is_readable
def peak(
    recording: Recording,
    filters: Filters = ALL,
    group_by: GroupBy | None = "stack",
    *,
    from_ns: int = 0,
    to_ns: int | None = None,
) -> Peak:
    """
    Return what the chosen allocations of *recording* had live at their peak, exactly.

    The peak is the highest moment from *from_ns* on and before *to_ns*, since the first event; what was
    allocated earlier counts as long as it is live.

    Raises:
        RecordingError: The question could not be answered.
    """
    with asked(recording, filters, group_by) as question:
        at_ns, found = high_water(question, from_ns, to_ns)
    rows = [PeakRow(question.groups[group_id], live) for group_id, live in found.items()]
    return Peak(
        question.certainty,
        at_ns,
        sum((row.live for row in rows), NOTHING),
        tuple(sorted(rows, key=lambda row: (-row.live.size_bytes, -row.live.count, row.group.name))),
    )
