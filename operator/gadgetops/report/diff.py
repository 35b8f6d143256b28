"""Two recordings compared, as text."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from gadgetops.questions.asking.filters import GroupBy
from gadgetops.questions.asking.question import Amount
from gadgetops.questions.diff import Diff, DiffRow, Per
from gadgetops.questions.top import COUNTED, Measure
from gadgetops.report.answers import Entry, Forms, amount_as_text, entries_as_lines, one_line, printable
from gadgetops.units import format_bytes, format_count, plural

_SURENESS: Final = ("certain", "possible", "inconclusive")
_MEASURED: Final[dict[Measure, str]] = {
    "bytes": "bytes allocated",
    "calls": "allocations",
    "live": "bytes not released",
    "temporary": "temporary allocations",
    "peak": "bytes live at the peak",
}
_PER: Final[dict[Per, str]] = {
    "recording": "",
    "second": "; the earlier one scaled to the later one's duration, by {scale:.3g}",
    "call": "; the earlier one scaled to the later one's allocations, by {scale:.3g}",
}


def diff_forms(diff: Diff, group_by: GroupBy) -> Forms:
    """Return *diff* in its forms: the totals and how many groups changed, then the greatest changes."""
    changed = [row for row in diff.rows if row.change != "same"]

    def rows(limit: int | None) -> list[dict[str, Any]]:
        return [
            {
                "change": row.change,
                "change_amount": row.change_amount,
                "before_bytes": row.before.size_bytes,
                "before_count": row.before.count,
                "after_bytes": row.after.size_bytes,
                "after_count": row.after.count,
                "group": one_line(row.group),
            }
            for row in changed[:limit]
        ]

    return Forms(
        (diff.certainty_before, diff.certainty_after),
        text=lambda limit: "\n".join(_lines(diff, changed, group_by, limit)),
        json_value=diff.to_json,
        rows=rows,
        columns=(
            *("change", "change_amount", "before_bytes", "before_count", "after_bytes", "after_count"),
            "group",
        ),
    )


def _lines(diff: Diff, changed: Sequence[DiffRow], group_by: GroupBy, limit: int) -> Iterator[str]:
    by_count = diff.by in COUNTED
    sides = (("before", diff.certainty_before), ("after", diff.certainty_after))
    word = max((certainty.word for _, certainty in sides), key=_SURENESS.index)
    totals = f"{amount_as_text(diff.before)} before, {amount_as_text(diff.after)} after"
    yield f"{word}: {_MEASURED[diff.by]}: {totals}{_per(diff)}"
    for side, certainty in sides:
        yield from (f"  {side}: {printable(reason)}" for reason in certainty.reasons)
    counts = [f"{format_count(count)} {change}" for change, count in diff.counts().items() if count]
    yield f"  {group_by}s: {', '.join(counts) or 'none'}"
    entries = [_entry(row, by_count) for row in changed]
    yield from entries_as_lines(entries, ["change", "", "before", "after", group_by], limit)


def _per(diff: Diff) -> str:
    if diff.scale is None:
        return "; not scaled, since one of them has nothing to scale by"
    return _PER[diff.per].format(scale=diff.scale)


def _entry(row: DiffRow, by_count: bool) -> Entry:
    amount = round(row.change_amount)
    size = plural(abs(amount), "allocation") if by_count else format_bytes(abs(amount))
    change = f"{'-' if amount < 0 else '+'}{size}"
    sentence = f"{change}, {row.change}: {_side(row.before)} before, {_side(row.after)} after"
    sides = [format_count(each.count) if by_count else _side(each) for each in (row.before, row.after)]
    return Entry(row.group, sentence, (change, row.change, *sides))


def _side(amount: Amount) -> str:
    return amount_as_text(amount) if amount.count else "nothing"
