"""A line about a recording's state, for a pipe."""

from gadgetops.live.snapshot import Snapshot
from gadgetops.report.answers import printable
from gadgetops.units import format_bytes, format_count, format_duration, plural


def line_of(snapshot: Snapshot) -> str:
    """Return time, events, rate, what is not released, what is lost, and what grows most."""
    lost = format_count(snapshot.certainty.lost)
    parts = [
        format_duration(snapshot.duration_ns),
        plural(snapshot.n_events, "event"),
        f"{format_count(round(snapshot.events_per_s))}/s",
        f"{format_bytes(snapshot.live.size_bytes)} not released",
        f"{lost} lost",
    ]
    growing = snapshot.growing
    if growing:
        first = growing[0]
        leaf = printable(first.stack.frames[0].name if first.stack.frames else first.stack.name)
        parts.append(
            f"{plural(len(growing), 'stack')} growing, most {leaf} with {format_bytes(first.live.size_bytes)}"
        )
    if snapshot.is_ended:
        parts.append(f"ended: {snapshot.certainty.word}")
    return ", ".join(parts)
