"""Who has most, who has temporary allocations, and what was live at the peak, as text."""

from collections.abc import Iterator

from gadgetops.questions.asking.filters import GroupBy
from gadgetops.questions.peak import Peak
from gadgetops.questions.temporary import Temporary, TemporaryRow
from gadgetops.questions.top import COUNTED, Measure, Top
from gadgetops.report.answers import Entry, amount_as_text, entries_as_lines, head, share_as_text
from gadgetops.units import format_bytes, format_count, format_duration, plural

MEASURED: dict[Measure, str] = {
    "bytes": "",
    "calls": "",
    "live": " not released",
    "temporary": " released at once",
    "peak": " live at the peak",
}


def top_as_text(top: Top, group_by: GroupBy, *, limit: int) -> str:
    """Return *top* as lines: the total, and the first *limit* groups with their shares."""
    return "\n".join(_top(top, group_by, limit))


def temporary_as_text(temporary: Temporary, group_by: GroupBy, *, limit: int) -> str:
    """Return *temporary* as lines: the share of all, and the first *limit* groups that have any."""
    return "\n".join(_temporary(temporary, group_by, limit))


def peak_as_text(peak: Peak, group_by: GroupBy, *, limit: int) -> str:
    """Return *peak* as lines: when and how much, and the first *limit* groups of what was live."""
    return "\n".join(_peak(peak, group_by, limit))


def _top(top: Top, group_by: GroupBy, limit: int) -> Iterator[str]:
    by = "calls" if top.by in COUNTED else "bytes"
    yield from head(top.certainty, f"{amount_as_text(top.total)}{MEASURED[top.by]}; most {by} first")
    entries = [
        Entry(
            share.group,
            f"{share_as_text(share.share)}: {amount_as_text(share.amount)}",
            (
                share_as_text(share.share),
                format_bytes(share.amount.size_bytes),
                format_count(share.amount.count),
            ),
        )
        for share in top.shares
    ]
    yield from entries_as_lines(entries, ["share", "bytes", "calls", group_by], limit)


def _temporary(temporary: Temporary, group_by: GroupBy, limit: int) -> Iterator[str]:
    short, whole = temporary.temporary, temporary.allocated
    between = plural(temporary.others, "allocation")
    yield from head(
        temporary.certainty,
        f"{share_as_text(temporary.share)} of the allocations were temporary: "
        f"{format_count(short.count)} of {format_count(whole.count)}, {format_bytes(short.size_bytes)}",
    )
    yield f"  temporary: released by the thread that made it, with at most {between} of its own in between"
    entries = [_temporary_entry(row) for row in temporary.rows if row.temporary.count]
    yield from entries_as_lines(entries, ["temporary", "of", "share", "bytes", group_by], limit)


def _temporary_entry(row: TemporaryRow) -> Entry:
    share, size = share_as_text(row.share), format_bytes(row.temporary.size_bytes)
    counts = (format_count(row.temporary.count), format_count(row.allocated.count))
    sentence = f"{counts[0]} of {plural(row.allocated.count, 'allocation')} ({share}), {size}"
    return Entry(row.group, sentence, (*counts, share, size))


def _peak(peak: Peak, group_by: GroupBy, limit: int) -> Iterator[str]:
    when = "" if peak.at_ns is None else f", {format_duration(peak.at_ns)} after the first event"
    yield from head(peak.certainty, f"{amount_as_text(peak.live)} live at the peak{when}")
    entries = [
        Entry(
            row.group,
            f"{share_as_text(peak.share(row))}: {amount_as_text(row.live)}",
            (share_as_text(peak.share(row)), format_bytes(row.live.size_bytes), format_count(row.live.count)),
        )
        for row in peak.rows
    ]
    yield from entries_as_lines(entries, ["share", "bytes", "allocations", group_by], limit)
