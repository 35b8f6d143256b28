"""A timeline as a small chart of characters."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from gadgetops.questions.asking.filters import GroupBy
from gadgetops.questions.timeline import Series, Timeline
from gadgetops.report.answers import Forms, head, left_out, one_line, printable, stack_lines
from gadgetops.report.drawing import Drawing, stretched
from gadgetops.units import format_bytes, format_count, format_duration, plural

_COLUMNS: Final = ("end_ns", "live_bytes", "live_count", "allocated_bytes", "allocated_count", "group")
_HEIGHT: Final = 8
_LABEL_WIDTH: Final = 9
_LEAST_WIDTH: Final = 10
_INDENT: Final = " " * _LABEL_WIDTH


def timeline_forms(timeline: Timeline, group_by: GroupBy | None, drawing: Drawing) -> Forms:
    """
    Return *timeline* in its forms.

    As text a chart of live bytes as wide as *drawing* has room, a line of the rate, and one for each group;
    as CSV a row for each part of the time and group.
    """
    return Forms(
        (timeline.certainty,),
        text=lambda limit: "\n".join(_lines(timeline, group_by, limit, drawing)),
        json_value=timeline.to_json,
        rows=lambda limit: [*_rows(timeline, limit)],
        columns=_COLUMNS,
    )


def _rows(timeline: Timeline, limit: int | None) -> Iterator[dict[str, Any]]:
    for series in timeline.series[:limit] or (timeline.total,):
        for number in range(len(series.live_bytes)):
            row = {name: getattr(series, name)[number] for name in _COLUMNS[1:-1]}
            end_ns = timeline.start_ns + timeline.width_ns * (number + 1)
            yield {"end_ns": end_ns, **row, "group": one_line(series.group)}


def _lines(timeline: Timeline, group_by: GroupBy | None, limit: int, drawing: Drawing) -> Iterator[str]:
    live, width_ns = timeline.total.live_bytes, timeline.width_ns
    sizes = f"up to {format_bytes(max(0, *live))} live, {format_bytes(live[-1])} at the end"
    parts = plural(len(live), "part")
    yield from head(timeline.certainty, f"{sizes}; in {parts} of {format_duration(width_ns)}")
    yield ""
    yield from _chart(timeline, drawing)
    yield ""
    yield from _rate(timeline, drawing)
    if any(timeline.resident_bytes or ()):
        yield from _resident(timeline.resident_bytes or (), drawing)
    if group_by is not None:
        yield from _series_lines(timeline.series, limit, drawing)
        yield from left_out(len(timeline.series) - limit, group_by)


def _width(drawing: Drawing) -> int:
    """Return how many columns are left for a curve."""
    return max(_LEAST_WIDTH, drawing.width - _LABEL_WIDTH - len(" |"))


def _chart(timeline: Timeline, drawing: Drawing) -> Iterator[str]:
    live = timeline.total.live_bytes
    highest = max(0, *live)
    labels = {0: format_bytes(highest), _HEIGHT // 2: format_bytes(highest // 2)}
    width = _width(drawing)
    for number, line in enumerate(drawing.area(live, width, _HEIGHT)):
        yield f"{labels.get(number, ''):>{_LABEL_WIDTH}} |{line}"
    yield f"{'0 B':>{_LABEL_WIDTH}} +{'-' * width}"
    first = format_duration(timeline.start_ns)
    last = format_duration(timeline.start_ns + timeline.width_ns * len(live))
    yield f"{_INDENT}  {first} {last:>{max(1, width - len(first) - 1)}}"


def _rate(timeline: Timeline, drawing: Drawing) -> Iterator[str]:
    counts = timeline.total.allocated_count
    highest = max(counts)
    line = drawing.sparkline(stretched(counts, _width(drawing)), _width(drawing))
    yield f"{'rate':>{_LABEL_WIDTH}} |{line.rstrip()}"
    per_second = round(highest * 10**9 / timeline.width_ns)
    yield f"{_INDENT}  {plural(per_second, 'allocation')} a second where most were made"


def _resident(resident_bytes: Sequence[int | None], drawing: Drawing) -> Iterator[str]:
    known = [each for each in resident_bytes if each is not None]
    width = _width(drawing)
    line = drawing.sparkline(stretched([each or 0 for each in resident_bytes], width), width)
    yield f"{'RSS':>{_LABEL_WIDTH}} |{line.rstrip()}"
    most, last = format_bytes(max(known)), format_bytes(known[-1])
    yield f"{_INDENT}  at most {most} resident where it was measured, {last} the last time"


def _series_lines(series: Sequence[Series], limit: int, drawing: Drawing) -> Iterator[str]:
    highest = max((max(each.live_bytes) for each in series), default=0)
    for each in series[:limit]:
        width = _width(drawing)
        line = drawing.sparkline(stretched(each.live_bytes, width), width, highest)
        most, last = format_bytes(max(each.live_bytes)), format_bytes(each.live_bytes[-1])
        yield ""
        yield f"{_INDENT} |{line.rstrip()}"
        yield f"at most {most} live, {last} at the end, {format_count(sum(each.allocated_count))} calls"
        stack = each.group.stack
        yield from stack_lines(each.group) if stack else [f"  {printable(each.group.name)}"]
