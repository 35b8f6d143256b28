"""Sizes and lifetimes as text."""

from collections.abc import Iterator
from typing import Final

from gadgetops.questions.asking.filters import GroupBy
from gadgetops.questions.lifetimes import Lifetimes, LifetimesAnswer
from gadgetops.questions.sizes import GroupSizes, SizeBucket, Sizes
from gadgetops.report.answers import (
    Entry,
    amount_as_text,
    entries_as_lines,
    head,
    left_out,
    printable,
    stack_lines,
    table,
)
from gadgetops.units import format_bytes, format_count, format_duration, plural

_BAR_WIDTH: Final = 40
_SIZE_HEADINGS: Final = ["size", "calls", "bytes", "live", ""]
_LIFETIME_HEADINGS: Final = ["released", "other", "half", "90 %", "99 %", "longest"]


def sizes_as_text(sizes: Sizes, group_by: GroupBy | None, *, limit: int) -> str:
    """Return *sizes* as a histogram for each of the first *limit* groups."""
    return "\n".join(_sizes(sizes, group_by, limit))


def lifetimes_as_text(lifetimes: LifetimesAnswer, group_by: GroupBy, *, limit: int) -> str:
    """Return *lifetimes* as lines: of all, and of the first *limit* groups."""
    return "\n".join(_lifetimes(lifetimes, group_by, limit))


def _sizes(sizes: Sizes, group_by: GroupBy | None, limit: int) -> Iterator[str]:
    yield from head(sizes.certainty, f"{amount_as_text(sizes.allocated)}, by size")
    for group in sizes.groups[:limit]:
        yield ""
        if group_by is not None:
            yield amount_as_text(group.allocated)
            yield from _name_lines(group)
        yield from _histogram(group)
    if group_by is not None:
        yield from left_out(len(sizes.groups) - limit, group_by)


def _name_lines(group: GroupSizes) -> Iterator[str]:
    if group.group.stack is None:
        yield f"  {printable(group.group.name)}"
    else:
        yield from stack_lines(group.group)


def _histogram(group: GroupSizes) -> Iterator[str]:
    most = max(bucket.allocated.count for bucket in group.buckets)
    rows = [
        (
            _range(bucket),
            format_count(bucket.allocated.count),
            format_bytes(bucket.allocated.size_bytes),
            format_bytes(bucket.live.size_bytes),
            "#" * max(1, round(_BAR_WIDTH * bucket.allocated.count / most)),
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


def _lifetimes(lifetimes: LifetimesAnswer, group_by: GroupBy, limit: int) -> Iterator[str]:
    yield from head(lifetimes.certainty, _lifetime(lifetimes.total))
    entries = [Entry(row.group, _lifetime(row), _cells(row)) for row in lifetimes.rows]
    yield from entries_as_lines(entries, [*_LIFETIME_HEADINGS, group_by], limit)


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
