"""A timeline as a small chart of characters."""

from collections.abc import Iterator, Sequence
from typing import Final

from gadgetops.questions.asking.filters import GroupBy
from gadgetops.questions.timeline import Series, Timeline
from gadgetops.report.answers import head, left_out, printable, stack_lines
from gadgetops.units import format_bytes, format_count, format_duration, plural

_HEIGHT: Final = 8
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_LABEL_WIDTH: Final = 9
_INDENT: Final = " " * _LABEL_WIDTH


def timeline_as_text(timeline: Timeline, group_by: GroupBy | None, *, limit: int) -> str:
    """Return *timeline* as a chart of live bytes, a line of the rate, and one for each of *limit* groups."""
    return "\n".join(_lines(timeline, group_by, limit))


def bars(values: Sequence[int], highest: int, height: int = 1) -> list[str]:
    """
    Return *values* as a bar chart, the top line first, a character for each value.

    Args:
        values: Not negative; what is below 0 is drawn as 0.
        highest: What reaches the top; where it is 0 the chart is empty.
        height: Lines. A value above 0 has at least an eighth of one.
    """
    eighths = [_eighths(value, highest, height) for value in values]
    return [
        "".join(_EIGHTHS[min(max(each - 8 * line, 0), 8)] for each in eighths).rstrip()
        for line in reversed(range(height))
    ]


def _eighths(value: int, highest: int, height: int) -> int:
    return 0 if value <= 0 or highest <= 0 else max(1, round(8 * height * value / highest))


def _lines(timeline: Timeline, group_by: GroupBy | None, limit: int) -> Iterator[str]:
    live, width_ns = timeline.total.live_bytes, timeline.width_ns
    sizes = f"up to {format_bytes(max(0, *live))} live, {format_bytes(live[-1])} at the end"
    yield from head(timeline.certainty, f"{sizes}; each column is {format_duration(width_ns)}")
    yield ""
    yield from _chart(timeline)
    yield ""
    yield from _rate(timeline)
    if group_by is not None:
        yield from _series_lines(timeline.series, limit)
        yield from left_out(len(timeline.series) - limit, group_by)


def _chart(timeline: Timeline) -> Iterator[str]:
    live = timeline.total.live_bytes
    highest = max(0, *live)
    labels = {0: format_bytes(highest), _HEIGHT // 2: format_bytes(highest // 2)}
    for number, line in enumerate(bars(live, highest, _HEIGHT)):
        yield f"{labels.get(number, ''):>{_LABEL_WIDTH}} |{line}"
    yield f"{'0 B':>{_LABEL_WIDTH}} +{'-' * len(live)}"
    first = format_duration(timeline.start_ns)
    last = format_duration(timeline.start_ns + timeline.width_ns * len(live))
    yield f"{_INDENT}  {first} {last:>{max(1, len(live) - len(first) - 1)}}"


def _rate(timeline: Timeline) -> Iterator[str]:
    counts = timeline.total.allocated_count
    highest = max(counts)
    [line] = bars(counts, highest)
    yield f"{'rate':>{_LABEL_WIDTH}} |{line}"
    per_second = round(highest * 10**9 / timeline.width_ns)
    yield f"{_INDENT}  {plural(per_second, 'allocation')} a second in the highest column"


def _series_lines(series: Sequence[Series], limit: int) -> Iterator[str]:
    highest = max((max(each.live_bytes) for each in series), default=0)
    for each in series[:limit]:
        [line] = bars(each.live_bytes, highest)
        most, last = format_bytes(max(each.live_bytes)), format_bytes(each.live_bytes[-1])
        yield ""
        yield f"{_INDENT} |{line}"
        yield f"at most {most} live, {last} at the end, {format_count(sum(each.allocated_count))} calls"
        stack = each.group.stack
        yield from stack_lines(each.group) if stack else [f"  {printable(each.group.name)}"]
