"""
What is different between two recordings of a program, stack by stack.

Stacks are matched by their fingerprints, which survive address randomisation, edits and other builds; several
stacks of one recording with the same fingerprint (two lines of one function) are taken together.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import ALL, Filters, GroupBy
from gadgetops.questions.asking.groups import Group
from gadgetops.questions.asking.question import NOTHING, Amount, span_of
from gadgetops.questions.top import COUNTED, Measure, measured, totals
from gadgetops.recording.reader import Recording

Per = Literal["recording", "second", "call"]
"""What two recordings are made comparable by: nothing, their durations, or their numbers of allocations."""

Change = Literal["new", "grown", "same", "shrunk", "gone"]
CHANGES: Final[tuple[Change, ...]] = get_args(Change)


@dataclass(frozen=True)
class DiffRow:
    """
    One group in both recordings.

    Args:
        group: As the later recording has it, or else the earlier.
        before: In the earlier recording, as recorded.
        after: In the later one, as recorded.
        scaled_before: What is compared, in the measure's unit: scaled to the later recording's time or calls.
        change_amount: What was added in the later one, in that unit; negative where less.
        change: What became of it. Less than one byte or allocation is no change.
    """

    group: Group
    before: Amount
    after: Amount
    scaled_before: float
    change_amount: float
    change: Change

    def to_json(self) -> dict[str, Any]:
        """Return it as the documented JSON."""
        return {
            "group": self.group.to_json(),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "scaled_before": self.scaled_before,
            "change_amount": self.change_amount,
            "change": self.change,
        }


@dataclass(frozen=True)
class Diff:
    """
    Two recordings compared.

    Args:
        certainty_before: How sure the earlier recording's side is.
        certainty_after: And the later one's.
        by: What is measured.
        per: What both are made comparable by.
        scale: What the earlier recording's amounts are multiplied by for that; None if it has no time or
            calls.
        before: All of the earlier recording.
        after: All of the later one.
        rows: Every group of either, the greatest change first.
    """

    certainty_before: Certainty
    certainty_after: Certainty
    by: Measure
    per: Per
    scale: float | None
    before: Amount
    after: Amount
    rows: tuple[DiffRow, ...]

    def counts(self) -> dict[Change, int]:
        """Return how many groups are new, grown, the same, shrunk and gone."""
        return {change: sum(row.change == change for row in self.rows) for change in CHANGES}

    def to_json(self, limit: int | None = None) -> dict[str, Any]:
        """Return the first *limit* groups that changed as the documented JSON."""
        changed = [row for row in self.rows if row.change != "same"]
        return {
            "before": {**self.certainty_before.to_json(), "total": self.before.to_json()},
            "after": {**self.certainty_after.to_json(), "total": self.after.to_json()},
            "by": self.by,
            "per": self.per,
            "scale": self.scale,
            "counts": {**self.counts()},
            "groups": [row.to_json() for row in changed[:limit]],
            "group_count": len(changed),
        }


def diff(
    before: Recording,
    after: Recording,
    by: Measure = "live",
    per: Per = "recording",
    filters: Filters = ALL,
    group_by: GroupBy = "stack",
) -> Diff:
    """
    Return what changed from *before* to *after*, the greatest change first.

    Raises:
        RecordingError: One of them could not be asked.
    """
    certainty_before, amounts_before = measured(before, by, filters, group_by)
    certainty_after, amounts_after = measured(after, by, filters, group_by)
    scale = _scale(before, after, per, filters)
    old, new = _by_name(amounts_before), _by_name(amounts_after)
    groups = {name: group for name, (group, _) in [*old.items(), *new.items()]}
    rows = [
        _row(group, old.get(name), new.get(name), by in COUNTED, scale or 1.0)
        for name, group in groups.items()
    ]
    return Diff(
        certainty_before,
        certainty_after,
        by,
        per,
        scale,
        sum(amounts_before.values(), NOTHING),
        sum(amounts_after.values(), NOTHING),
        tuple(sorted(rows, key=lambda row: (-abs(row.change_amount), row.group.name))),
    )


def _scale(before: Recording, after: Recording, per: Per, filters: Filters) -> float | None:
    if per == "recording":
        return 1.0
    old, new = (_extent(recording, per, filters) for recording in (before, after))
    return new / old if old and new else None


def _extent(recording: Recording, per: Per, filters: Filters) -> int:
    if per == "second":
        return span_of(recording).duration_ns
    return sum(each.allocated.count for each in totals(recording, filters)[1])


def _by_name(amounts: dict[Group, Amount]) -> dict[str, tuple[Group, Amount]]:
    """Return the groups by what they are called by in every recording."""
    found: dict[str, tuple[Group, Amount]] = {}
    for group, amount in amounts.items():
        name = group.name if group.stack is None else group.stack.fingerprint
        first, so_far = found.get(name, (group, NOTHING))
        found[name] = (first, so_far + amount)
    return found


def _row(
    group: Group,
    old: tuple[Group, Amount] | None,
    new: tuple[Group, Amount] | None,
    by_count: bool,
    scale: float,
) -> DiffRow:
    before, after = (NOTHING if side is None else side[1] for side in (old, new))
    scaled = (before.count if by_count else before.size_bytes) * scale
    change_amount = (after.count if by_count else after.size_bytes) - scaled
    return DiffRow(group, before, after, scaled, change_amount, _change(old, new, change_amount))


def _change(old: object, new: object, change_amount: float) -> Change:
    if old is None or new is None:
        return "new" if old is None else "gone"
    if abs(change_amount) < 1:
        return "same"
    return "grown" if change_amount > 0 else "shrunk"
