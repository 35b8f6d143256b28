"""
A report in Markdown, for a CI summary or a ticket: the verdict, what grows, and live memory over time.

GitHub shows no SVG inside a summary, but draws Mermaid. Characters of names that Markdown could take for
something are written as numeric entities.
"""

from collections.abc import Iterator, Sequence

from gadgetops.questions.asking.wrappers import wrappers
from gadgetops.questions.leaks.leaks import Leak, Leaks
from gadgetops.questions.timeline import Timeline
from gadgetops.report.answers import printable
from gadgetops.report.page.verdict import verdict
from gadgetops.units import format_bytes, format_count, format_duration, plural

N_POINTS = 60
_MOST_ROWS = 10
_UNITS = (("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1))
_PLAIN = frozenset(" /.:+-,()=")


def markdown_summary(title: str, answers: Sequence[Leaks], timeline: Timeline) -> str:
    """
    Return the report on the recordings that *answers* are about.

    Args:
        title: What was recorded.
        answers: What each recording never released.
        timeline: Live memory of all together.
    """
    return "\n".join(_lines(title, answers, timeline)) + "\n"


def _lines(title: str, answers: Sequence[Leaks], timeline: Timeline) -> Iterator[str]:
    yield from (f"### {_text(title)}", "", f"**{verdict(answers).sentence}**", "")
    yield f"The figures are {timeline.certainty.word}."
    yield from (f"- {_text(reason)}" for reason in timeline.certainty.reasons)
    leaks = [leak for answer in answers for leak in answer.leaks]
    if leaks:
        yield from ("", "| not released | in | place | verdict |", "|---:|---:|---|---|")
        yield from map(_row, leaks[:_MOST_ROWS])
    if len(leaks) > _MOST_ROWS:
        yield from ("", f"{plural(len(leaks) - _MOST_ROWS, 'more place')}: `gadgetops leaks` shows them.")
    if any(timeline.total.live_bytes):
        yield from ("", *_chart(timeline))


def _row(leak: Leak) -> str:
    frame = wrappers().place(leak.stack)
    name = f"<{leak.no_stack}>" if frame is None else frame.name
    line = (
        "" if frame is None or frame.file is None else f" {frame.file.rpartition('/')[2]}:{frame.line or 0}"
    )
    place = f"<code>{_text(name + line)}</code>"
    return (
        f"| {format_bytes(leak.live_bytes)} | {format_count(leak.live_count)} | {place} "
        f"| {_text(leak.trend.sentence)} |"
    )


def _chart(timeline: Timeline) -> Iterator[str]:
    """Yield live memory as a chart in Mermaid."""
    values = timeline.total.live_bytes
    highest = max(values)
    divisor, unit = next(
        (1024**power, name)
        for power, name in ((3, "GiB"), (2, "MiB"), (1, "KiB"), (0, "B"))
        if highest >= 1024**power
    )
    duration_ns = timeline.width_ns * len(values)
    factor, time_unit = next((factor, name) for name, factor in _UNITS if duration_ns >= factor)
    first, last = timeline.start_ns / factor, (timeline.start_ns + duration_ns) / factor
    yield "```mermaid"
    yield "xychart-beta"
    yield f'    title "Live memory over {format_duration(duration_ns)}"'
    yield f'    x-axis "{time_unit}" {first:.3f} --> {last:.3f}'
    yield f'    y-axis "{unit}" 0 --> {highest / divisor * 1.05:.3f}'
    yield f"    line [{', '.join(f'{value / divisor:.3f}' for value in values)}]"
    yield "```"


def _text(text: str) -> str:
    """Return *text* so that Markdown, HTML and mentions of people are only text."""
    return "".join(
        each if each.isalnum() or each in _PLAIN else f"&#{ord(each)};" for each in printable(text)
    )
