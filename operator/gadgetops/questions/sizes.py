"""How large allocations are: a histogram by powers of two."""

from dataclasses import dataclass
from typing import Any

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import ALL, Filters, GroupBy
from gadgetops.questions.asking.groups import Group
from gadgetops.questions.asking.question import NOTHING, Amount, asked, of_what_is_readable
from gadgetops.recording.reader import Recording


@dataclass(frozen=True)
class SizeBucket:
    """
    The allocations of one group with a size from a power of two to before the next.

    Args:
        group: The group.
        min_bytes: Smallest size of the bucket: 0, 1, 2, 4, 8, …
        max_bytes: Largest one: 0, 1, 3, 7, 15, …
        allocated: All allocations of such a size.
        live: Those that the program never released.
    """

    group: Group
    min_bytes: int
    max_bytes: int
    allocated: Amount
    live: Amount

    def to_json(self) -> dict[str, Any]:
        """Return it as the documented JSON."""
        return {
            "min_bytes": self.min_bytes,
            "max_bytes": self.max_bytes,
            **self.allocated.to_json(),
            "live": self.live.to_json(),
        }


@dataclass(frozen=True)
class GroupSizes:
    """
    One group's histogram.

    Args:
        group: The group.
        allocated: All its allocations.
        buckets: From small to large; none of them is empty.
    """

    group: Group
    allocated: Amount
    buckets: tuple[SizeBucket, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as the documented JSON."""
        return {
            "group": self.group.to_json(),
            **self.allocated.to_json(),
            "buckets": [bucket.to_json() for bucket in self.buckets],
        }


@dataclass(frozen=True)
class Sizes:
    """
    Histograms of the sizes of allocations.

    Args:
        certainty: How sure it is.
        allocated: All allocations that were asked about.
        groups: One histogram a group, most allocations first; a single one if there are no groups.
    """

    certainty: Certainty
    allocated: Amount
    groups: tuple[GroupSizes, ...]

    def to_json(self, limit: int | None = None) -> dict[str, Any]:
        """Return the first *limit* groups as the documented JSON."""
        return {
            **self.certainty.to_json(),
            "allocated": self.allocated.to_json(),
            "groups": [group.to_json() for group in self.groups[:limit]],
            "group_count": len(self.groups),
        }


@of_what_is_readable
def sizes(recording: Recording, filters: Filters = ALL, group_by: GroupBy | None = None) -> Sizes:
    """
    Return how large the chosen allocations of *recording* are.

    Raises:
        RecordingError: The question could not be answered.
    """
    by_group: dict[int, list[SizeBucket]] = {}
    with asked(recording, filters, group_by) as question:
        for group_id, digits, *row in sorted(question.rows("sizes")):
            bounds = (1 << digits >> 1, (1 << digits) - 1)
            bucket = SizeBucket(question.groups[group_id], *bounds, Amount(*row[:2]), Amount(*row[2:]))
            by_group.setdefault(group_id, []).append(bucket)
    groups = sorted(map(_group, by_group.values()), key=_rank)
    return Sizes(question.certainty, sum((group.allocated for group in groups), NOTHING), tuple(groups))


def _group(buckets: list[SizeBucket]) -> GroupSizes:
    return GroupSizes(
        buckets[0].group, sum((bucket.allocated for bucket in buckets), NOTHING), tuple(buckets)
    )


def _rank(group: GroupSizes) -> tuple[int, int, str]:
    return (-group.allocated.count, -group.allocated.size_bytes, group.group.name)
