"""Two recordings compared, as text."""

from collections.abc import Iterator
from typing import Final

from gadgetops.questions.asking.filters import GroupBy
from gadgetops.questions.asking.question import Amount
from gadgetops.questions.diff import Diff, DiffRow, Per
from gadgetops.questions.top import COUNTED, Measure
from gadgetops.report.answers import Entry, amount_as_text, entries_as_lines, printable
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


def diff_as_text(diff: Diff, group_by: GroupBy, *, limit: int) -> str:
    """Return *diff* as lines: the totals, how many groups changed, and the *limit* greatest changes."""
    return "\n".join(_lines(diff, group_by, limit))


def _lines(diff: Diff, group_by: GroupBy, limit: int) -> Iterator[str]:
    by_count = diff.by in COUNTED
    sides = (("before", diff.certainty_before), ("after", diff.certainty_after))
    word = max((certainty.word for _, certainty in sides), key=_SURENESS.index)
    totals = f"{amount_as_text(diff.before)} before, {amount_as_text(diff.after)} after"
    yield f"{word}: {_MEASURED[diff.by]}: {totals}{_per(diff)}"
    for side, certainty in sides:
        yield from (f"  {side}: {printable(reason)}" for reason in certainty.reasons)
    counts = [f"{format_count(count)} {change}" for change, count in diff.counts().items() if count]
    yield f"  {group_by}s: {', '.join(counts) or 'none'}"
    entries = [_entry(row, by_count) for row in diff.rows if row.change != "same"]
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
