"""Allocations that the thread which made them released again at once: often a loop that could keep its
buffer."""

from dataclasses import dataclass
from typing import Any, Final

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import ALL, Filters, GroupBy
from gadgetops.questions.asking.groups import Group
from gadgetops.questions.asking.question import NOTHING, Amount, asked, of_what_is_readable
from gadgetops.recording.reader import Recording

OTHERS: Final = 1
"""How many other allocations there may be in between, as memray has it: a growing container has one."""


@dataclass(frozen=True)
class TemporaryRow:
    """
    One group's temporary allocations.

    Args:
        group: The group.
        temporary: Those that were temporary.
        allocated: All of the group, temporary or not.
    """

    group: Group
    temporary: Amount
    allocated: Amount

    @property
    def share(self) -> float:
        """What part of the group's allocations was temporary, from 0 to 1."""
        return share(self.temporary, self.allocated)

    def to_json(self) -> dict[str, Any]:
        """Return it as the documented JSON."""
        return {
            "group": self.group.to_json(),
            **self.temporary.to_json(),
            "allocated": self.allocated.to_json(),
            "share": self.share,
        }


@dataclass(frozen=True)
class Temporary:
    """
    The temporary allocations of a recording.

    Args:
        certainty: How sure it is.
        others: How many other allocations of the thread there may have been in between.
        temporary: All temporary ones.
        allocated: All allocations that were asked about.
        rows: By group, those with most temporary allocations first; groups that have none are there, too.
    """

    certainty: Certainty
    others: int
    temporary: Amount
    allocated: Amount
    rows: tuple[TemporaryRow, ...]

    @property
    def share(self) -> float:
        """What part of all allocations was temporary, from 0 to 1."""
        return share(self.temporary, self.allocated)

    def to_json(self, limit: int | None = None) -> dict[str, Any]:
        """Return the first *limit* groups that have temporary allocations as the documented JSON."""
        found = [row for row in self.rows if row.temporary.count]
        return {
            **self.certainty.to_json(),
            "others": self.others,
            "temporary": self.temporary.to_json(),
            "allocated": self.allocated.to_json(),
            "share": self.share,
            "groups": [row.to_json() for row in found[:limit]],
            "group_count": len(found),
        }


def share(part: Amount, whole: Amount) -> float:
    """Return which part of *whole*'s allocations *part*'s are, from 0 to 1; 0 of none."""
    return part.count / whole.count if whole.count else 0.0


@of_what_is_readable
def temporary(
    recording: Recording,
    others: int = OTHERS,
    filters: Filters = ALL,
    group_by: GroupBy | None = "stack",
) -> Temporary:
    """
    Return the allocations that their own thread released with at most *others* of its allocations in between.

    Raises:
        RecordingError: The question could not be answered.
    """
    with asked(recording, filters, group_by) as question:
        found = [
            TemporaryRow(question.groups[group_id], Amount(*row[2:]), Amount(*row[:2]))
            for group_id, *row in question.rows("temporary", others=others)
        ]
    return Temporary(
        question.certainty,
        others,
        sum((row.temporary for row in found), NOTHING),
        sum((row.allocated for row in found), NOTHING),
        tuple(sorted(found, key=_rank)),
    )


def _rank(row: TemporaryRow) -> tuple[int, int, str]:
    return (-row.temporary.count, -row.temporary.size_bytes, row.group.name)
