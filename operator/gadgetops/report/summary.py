"""A recording at a glance, as text."""

from collections.abc import Iterator
from typing import Any

from gadgetops.questions.summary import Summary
from gadgetops.report.answers import Forms, amount_as_text, head, printable, properties, share_as_text, table
from gadgetops.units import format_bytes, format_count, format_duration, plural


def summary_forms(summary: Summary) -> Forms:
    """Return *summary* in its forms: a sentence, properties, and the functions called, which are the CSV."""

    def rows(limit: int | None) -> list[dict[str, Any]]:
        return [
            {"operation": name, "bytes": amount.size_bytes, "calls": amount.count}
            for name, amount in [*summary.operations.items()][:limit]
        ]

    return Forms(
        (summary.certainty,),
        text=lambda _limit: "\n".join(_lines(summary)),
        json_value=lambda _limit: summary.to_json(),
        rows=rows,
        columns=("operation", "bytes", "calls"),
    )


def _lines(summary: Summary) -> Iterator[str]:
    live, allocated = amount_as_text(summary.live), amount_as_text(summary.allocated)
    yield from head(summary.certainty, f"{live} not released, of {allocated}")
    yield ""
    yield from properties(_properties(summary))
    if summary.operations:
        yield ""
        rows = [
            (format_count(amount.count), format_bytes(amount.size_bytes), printable(name))
            for name, amount in summary.operations.items()
        ]
        yield from table(rows, ["calls", "bytes", "function"])


def _properties(summary: Summary) -> dict[str, str]:
    at_ns, rate = summary.peak_at_ns, summary.per_second
    when = "" if at_ns is None else f", {format_duration(at_ns)} after the first event"
    temporary = f"{share_as_text(summary.temporary_share)} of the allocations"
    return {
        "duration": f"{format_duration(summary.duration_ns)}, {plural(summary.event_count, 'event')}",
        "allocated": amount_as_text(summary.allocated),
        "a second": "-" if rate is None else amount_as_text(rate),
        "released": amount_as_text(summary.released),
        "not released": amount_as_text(summary.live),
        "peak": f"{amount_as_text(summary.peak)}{when}",
        "temporary": f"{temporary}, {amount_as_text(summary.temporary)}",
        "processes": format_count(summary.process_count),
        "threads": format_count(summary.thread_count),
        "lost": plural(summary.certainty.lost, "event"),
    }
