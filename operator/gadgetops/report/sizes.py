"""Sizes and lifetimes as text."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from gadgetops.questions.asking.filters import GroupBy
from gadgetops.questions.lifetimes import Lifetimes, LifetimesAnswer
from gadgetops.questions.sizes import GroupSizes, SizeBucket, Sizes
from gadgetops.report.answers import (
    Entry,
    Forms,
    amount_as_text,
    entries_as_lines,
    head,
    left_out,
    one_line,
    printable,
    stack_lines,
    table,
)
from gadgetops.report.drawing import Drawing
from gadgetops.units import format_bytes, format_count, format_duration, plural

_TABLE_WIDTH: Final = 46
"""What the columns beside a bar take, about."""
_LEAST_BAR, _MOST_BAR = 10, 80
_SPAN_WIDTH: Final = 32
_SIZE_HEADINGS: Final = ["size", "calls", "bytes", "live", ""]
_LIFETIME_COLUMNS: Final = ("released_count", "other_count", "p50_ns", "p90_ns", "p99_ns", "max_ns")
_LIFETIME_HEADINGS: Final = ["released", "other", "half", "90 %", "99 %", "longest"]


def sizes_forms(sizes: Sizes, group_by: GroupBy | None, drawing: Drawing) -> Forms:
    """Return *sizes* in its forms: as text a histogram for each group, as CSV a row for each bucket."""

    def rows(limit: int | None) -> list[dict[str, Any]]:
        return [
            {
                "min_bytes": bucket.min_bytes,
                "max_bytes": bucket.max_bytes,
                "bytes": bucket.allocated.size_bytes,
                "calls": bucket.allocated.count,
                "live_bytes": bucket.live.size_bytes,
                "live_count": bucket.live.count,
                "group": one_line(group.group),
            }
            for group in sizes.groups[:limit]
            for bucket in group.buckets
        ]

    return Forms(
        (sizes.certainty,),
        text=lambda limit: "\n".join(_sizes(sizes, group_by, limit, drawing)),
        json_value=sizes.to_json,
        rows=rows,
        columns=("min_bytes", "max_bytes", "bytes", "calls", "live_bytes", "live_count", "group"),
    )


def lifetimes_forms(lifetimes: LifetimesAnswer, group_by: GroupBy, drawing: Drawing) -> Forms:
    """Return *lifetimes* in its forms: as text the sentence about all, then each group."""

    def rows(limit: int | None) -> list[dict[str, Any]]:
        return [
            {**{name: getattr(row, name) for name in _LIFETIME_COLUMNS}, "group": one_line(row.group)}
            for row in lifetimes.rows[:limit]
        ]

    return Forms(
        (lifetimes.certainty,),
        text=lambda limit: "\n".join(_lifetimes(lifetimes, group_by, limit, drawing)),
        json_value=lifetimes.to_json,
        rows=rows,
        columns=(*_LIFETIME_COLUMNS, "group"),
    )


def _sizes(sizes: Sizes, group_by: GroupBy | None, limit: int, drawing: Drawing) -> Iterator[str]:
    yield from head(sizes.certainty, f"{amount_as_text(sizes.allocated)}, by size")
    for group in sizes.groups[:limit]:
        yield ""
        if group_by is not None:
            yield amount_as_text(group.allocated)
            yield from _name_lines(group)
        yield from _histogram(group, drawing)
    if group_by is not None:
        yield from left_out(len(sizes.groups) - limit, group_by)


def _name_lines(group: GroupSizes) -> Iterator[str]:
    if group.group.stack is None:
        yield f"  {printable(group.group.name)}"
    else:
        yield from stack_lines(group.group)


def _histogram(group: GroupSizes, drawing: Drawing) -> Iterator[str]:
    most = max(bucket.allocated.count for bucket in group.buckets)
    width = min(_MOST_BAR, max(_LEAST_BAR, drawing.width - _TABLE_WIDTH))
    rows = [
        (
            _range(bucket),
            format_count(bucket.allocated.count),
            format_bytes(bucket.allocated.size_bytes),
            format_bytes(bucket.live.size_bytes),
            drawing.bar(bucket.allocated.count, most, width),
        )
        for bucket in group.buckets
    ]
    yield from table(rows, _SIZE_HEADINGS)


def _range(bucket: SizeBucket) -> str:
    if bucket.min_bytes == bucket.max_bytes:
        return format_bytes(bucket.min_bytes)
    if bucket.max_bytes < 1024:
        return f"{bucket.min_bytes} to {format_bytes(bucket.max_bytes)}"
    return f"from {format_bytes(bucket.min_bytes)}"


def _lifetimes(lifetimes: LifetimesAnswer, group_by: GroupBy, limit: int, drawing: Drawing) -> Iterator[str]:
    yield from head(lifetimes.certainty, _lifetime(lifetimes.total))
    bounds = _bounds(lifetimes.rows[:limit])
    if bounds is not None:
        ends = " to ".join(format_duration(each) for each in bounds)
        yield f"  drawn: half, then 90 %, 99 % and the longest, from {ends}, each step the same factor"
    entries = []
    for row in lifetimes.rows:
        span = "" if bounds is None else _span(row, bounds, drawing)
        sentence = f"{_lifetime(row)}\n  {span}" if span else _lifetime(row)
        entries.append(Entry(row.group, sentence, (*_cells(row), span.ljust(_SPAN_WIDTH))))
    yield from entries_as_lines(entries, [*_LIFETIME_HEADINGS, "", group_by], limit)


def _bounds(rows: Sequence[Lifetimes]) -> tuple[int, int] | None:
    """Return the shortest half and the longest lifetime of all *rows*; None if nothing was released."""
    marks = [mark for row in rows for mark in _marks(row)]
    return (min(marks), max(marks)) if marks else None


def _span(row: Lifetimes, bounds: tuple[int, int], drawing: Drawing) -> str:
    marks = _marks(row)
    return drawing.span(marks, bounds, _SPAN_WIDTH) if marks else ""


def _marks(row: Lifetimes) -> list[int]:
    return [each for each in (row.p50_ns, row.p90_ns, row.p99_ns, row.max_ns) if each is not None]


def _lifetime(row: Lifetimes) -> str:
    if row.p50_ns is None or row.p90_ns is None or row.p99_ns is None or row.max_ns is None:
        return f"none of {plural(row.other_count, 'allocation')} was released by the program"
    times = [format_duration(each) for each in (row.p50_ns, row.p90_ns, row.p99_ns, row.max_ns)]
    quantiles = f"half within {times[0]}, 90 % within {times[1]}, 99 % within {times[2]}, longest {times[3]}"
    others = f"; {format_count(row.other_count)} not released" if row.other_count else ""
    return f"{plural(row.released_count, 'allocation')} released, {quantiles}{others}"


def _cells(row: Lifetimes) -> tuple[str, ...]:
    times = (row.p50_ns, row.p90_ns, row.p99_ns, row.max_ns)
    shown = ("-" if each is None else format_duration(each) for each in times)
    return (format_count(row.released_count), format_count(row.other_count), *shown)
