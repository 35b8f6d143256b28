"""Who has most, who has temporary allocations, and what was live at the peak, as text."""

from collections.abc import Iterator, Sequence
from typing import Any

from gadgetops.questions.asking.filters import GroupBy
from gadgetops.questions.peak import Peak
from gadgetops.questions.temporary import Temporary, TemporaryRow
from gadgetops.questions.top import COUNTED, Measure, Top
from gadgetops.report.answers import (
    Entry,
    Forms,
    amount_as_text,
    entries_as_lines,
    head,
    one_line,
    share_as_text,
)
from gadgetops.units import format_bytes, format_count, format_duration, plural

MEASURED: dict[Measure, str] = {
    "bytes": "",
    "calls": "",
    "live": " not released",
    "temporary": " released at once",
    "peak": " live at the peak",
}


def top_forms(top: Top, group_by: GroupBy) -> Forms:
    """Return *top* in its forms: the total, then each group with its share."""

    def rows(limit: int | None) -> list[dict[str, Any]]:
        return [
            {
                "bytes": share.amount.size_bytes,
                "calls": share.amount.count,
                "share": share.share,
                "group": one_line(share.group),
            }
            for share in top.shares[:limit]
        ]

    return Forms(
        (top.certainty,),
        text=lambda limit: "\n".join(_top(top, group_by, limit)),
        json_value=top.to_json,
        rows=rows,
        columns=("bytes", "calls", "share", "group"),
    )


def temporary_forms(temporary: Temporary, group_by: GroupBy) -> Forms:
    """Return *temporary* in its forms: the share of all, then each group that has any."""
    found = [row for row in temporary.rows if row.temporary.count]

    def rows(limit: int | None) -> list[dict[str, Any]]:
        return [
            {
                "temporary_bytes": row.temporary.size_bytes,
                "temporary_calls": row.temporary.count,
                "calls": row.allocated.count,
                "share": row.share,
                "group": one_line(row.group),
            }
            for row in found[:limit]
        ]

    return Forms(
        (temporary.certainty,),
        text=lambda limit: "\n".join(_temporary(temporary, found, group_by, limit)),
        json_value=temporary.to_json,
        rows=rows,
        columns=("temporary_bytes", "temporary_calls", "calls", "share", "group"),
    )


def peak_forms(peak: Peak, group_by: GroupBy) -> Forms:
    """Return *peak* in its forms: when and how much, then each group of what was live."""

    def rows(limit: int | None) -> list[dict[str, Any]]:
        return [
            {
                "bytes": row.live.size_bytes,
                "count": row.live.count,
                "share": peak.share(row),
                "group": one_line(row.group),
            }
            for row in peak.rows[:limit]
        ]

    return Forms(
        (peak.certainty,),
        text=lambda limit: "\n".join(_peak(peak, group_by, limit)),
        json_value=peak.to_json,
        rows=rows,
        columns=("bytes", "count", "share", "group"),
    )


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


def _temporary(
    temporary: Temporary, found: Sequence[TemporaryRow], group_by: GroupBy, limit: int
) -> Iterator[str]:
    short, whole = temporary.temporary, temporary.allocated
    between = plural(temporary.others, "allocation")
    yield from head(
        temporary.certainty,
        f"{share_as_text(temporary.share)} of the allocations were temporary: "
        f"{format_count(short.count)} of {format_count(whole.count)}, {format_bytes(short.size_bytes)}",
    )
    yield f"  temporary: released by the thread that made it, with at most {between} of its own in between"
    entries = [_temporary_entry(row) for row in found]
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
