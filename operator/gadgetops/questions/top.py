"""
Which stacks (or functions, threads, …) have most: of all bytes, calls, temporary allocations, or of the peak.

`totals` gives the sums that other questions and exports are made of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import ALL, Filters, GroupBy
from gadgetops.questions.asking.groups import UNKNOWN, Group
from gadgetops.questions.asking.question import NOTHING, Amount, asked, of_what_is_readable
from gadgetops.questions.peak import peak
from gadgetops.questions.temporary import temporary
from gadgetops.recording.reader import Recording

Measure = Literal["bytes", "calls", "live", "temporary", "peak"]
"""What is counted: bytes allocated, allocations, bytes live at the end, temporary allocations, bytes at the
peak."""

_STORED: Final = frozenset({"stack", "function", "module"})
"""What groups can be answered from the sums by stack that pairing keeps; with filters none can."""

COUNTED: Final = frozenset({"calls", "temporary"})
"""The measures that count allocations; the others count bytes."""


@dataclass(frozen=True)
class Totals:
    """
    What the allocations of one group come to.

    Args:
        group: The group.
        allocated: All of them.
        live: Those that the program never released; of a mapping released in part, the rest.
    """

    group: Group
    allocated: Amount
    live: Amount


@dataclass(frozen=True)
class Share:
    """
    One group's part of the whole.

    Args:
        group: The group.
        amount: What is measured, in bytes and allocations.
        share: From 0 to 1, of what the measure counts.
    """

    group: Group
    amount: Amount
    share: float

    def to_json(self) -> dict[str, Any]:
        """Return it as the documented JSON."""
        return {"group": self.group.to_json(), **self.amount.to_json(), "share": self.share}


@dataclass(frozen=True)
class Top:
    """
    The groups, the one with most first.

    Args:
        certainty: How sure it is.
        by: What is measured.
        total: Of all groups together.
        shares: Every group that has anything; largest first, then by name.
    """

    certainty: Certainty
    by: Measure
    total: Amount
    shares: tuple[Share, ...]

    def to_json(self, limit: int | None = None) -> dict[str, Any]:
        """Return the first *limit* groups as the documented JSON."""
        return {
            **self.certainty.to_json(),
            "by": self.by,
            "total": self.total.to_json(),
            "groups": [share.to_json() for share in self.shares[:limit]],
            "group_count": len(self.shares),
        }


@of_what_is_readable
def totals(
    recording: Recording, filters: Filters = ALL, group_by: GroupBy = "stack"
) -> tuple[Certainty, tuple[Totals, ...]]:
    """
    Return what the chosen allocations of *recording* come to by group, most bytes first.

    Raises:
        RecordingError: The question could not be answered.
    """
    is_stored = filters.is_empty and group_by in _STORED
    calls, answer = ("stored_sums", "by_stored_group") if is_stored else ("allocations", "by_group")
    with asked(recording, filters, group_by, calls=calls) as question:
        found = [
            Totals(question.groups[group_id], Amount(*row[:2]), Amount(*row[2:]))
            for group_id, *row in question.rows(answer)
        ]
    return question.certainty, tuple(sorted(found, key=_size_rank))


def top(
    recording: Recording, by: Measure = "bytes", filters: Filters = ALL, group_by: GroupBy = "stack"
) -> Top:
    """
    Return the groups of *recording* with most of what *by* measures.

    Raises:
        RecordingError: The question could not be answered.
    """
    certainty, amounts = measured(recording, by, filters, group_by)
    return Top(certainty, by, sum(amounts.values(), NOTHING), shares(amounts, by in COUNTED))


def top_inclusive(
    recording: Recording, by: Measure = "bytes", filters: Filters = ALL, group_by: GroupBy = "function"
) -> Top:
    """
    Return functions, or modules, with all that is allocated by them and by what they call.

    A stack counts once for a function that calls itself. The groups add up to more than the total.

    Raises:
        RecordingError: The question could not be answered.
    """
    certainty, amounts = measured(recording, by, filters, "stack")
    sums: dict[str, Amount] = {}
    for group, amount in amounts.items():
        for name in _names(group, group_by):
            sums[name] = sums.get(name, NOTHING) + amount
    whole = sum(amounts.values(), NOTHING)
    by_count = by in COUNTED
    ranked = sorted(sums.items(), key=lambda item: (*_rank(item[1], by_count), item[0]))
    counted = _counted(whole, by_count)
    return Top(
        certainty,
        by,
        whole,
        tuple(
            Share(Group(name), amount, _counted(amount, by_count) / counted if counted else 0.0)
            for name, amount in ranked
        ),
    )


def _names(group: Group, group_by: GroupBy) -> set[str]:
    """Return the functions, or modules, that a stack has."""
    frames = group.stack.frames if group.stack else ()
    if group_by == "module":
        return {frame.module or UNKNOWN for frame in frames} or {group.name}
    return {frame.name for frame in frames} or {group.name}


def measured(
    recording: Recording, by: Measure, filters: Filters = ALL, group_by: GroupBy = "stack"
) -> tuple[Certainty, dict[Group, Amount]]:
    """
    Return what *by* measures of each group that has any.

    Raises:
        RecordingError: The question could not be answered.
    """
    if by == "temporary":
        short = temporary(recording, filters=filters, group_by=group_by)
        return short.certainty, {row.group: row.temporary for row in short.rows if row.temporary.count}
    if by == "peak":
        highest = peak(recording, filters, group_by)
        return highest.certainty, {row.group: row.live for row in highest.rows}
    certainty, found = totals(recording, filters, group_by)
    amounts = ((each.group, each.live if by == "live" else each.allocated) for each in found)
    return certainty, {group: amount for group, amount in amounts if amount.count}


def shares(amounts: Mapping[Group, Amount], by_count: bool) -> tuple[Share, ...]:
    """Return each group's share of the whole, the largest first; of nothing the share is 0."""
    whole = sum(_counted(amount, by_count) for amount in amounts.values())
    ranked = sorted(amounts.items(), key=lambda item: (*_rank(item[1], by_count), item[0].name))
    return tuple(
        Share(group, amount, _counted(amount, by_count) / whole if whole else 0.0) for group, amount in ranked
    )


def _counted(amount: Amount, by_count: bool) -> int:
    return amount.count if by_count else amount.size_bytes


def _rank(amount: Amount, by_count: bool) -> tuple[int, int]:
    return (-amount.count, -amount.size_bytes) if by_count else (-amount.size_bytes, -amount.count)


def _size_rank(totals: Totals) -> tuple[int, int, str]:
    return (*_rank(totals.allocated, by_count=False), totals.group.name)
