"""Faulty calls as text."""

from collections.abc import Iterator

from gadgetops.questions.asking.filters import GroupBy
from gadgetops.questions.faults import KINDS, Fault, Faults
from gadgetops.report.answers import Entry, entries_as_lines, head
from gadgetops.units import format_bytes, format_count, format_duration, plural


def faults_as_text(faults: Faults, group_by: GroupBy, *, limit: int) -> str:
    """Return *faults* as lines: how many of each kind, and the first *limit* of them."""
    return "\n".join(_lines(faults, group_by, limit))


def _lines(faults: Faults, group_by: GroupBy, limit: int) -> Iterator[str]:
    total = sum(faults.counts.values())
    yield from head(faults.certainty, f"{plural(total, 'faulty call') if total else 'no faulty call'}")
    for kind, count in faults.counts.items():
        if count:
            yield f"  {format_count(count)} {KINDS[kind]}"
    if faults.counts["unknown"] and not faults.from_start:
        yield "  the program ran before it was recorded: what it allocated then is unknown, and no fault"
    elif faults.counts["unknown"] and faults.certainty.word != "certain":
        yield "  what was allocated where nothing was recorded is unknown, too, and no fault"
    entries = [_entry(fault) for fault in faults.faults]
    yield from entries_as_lines(entries, ["fault", "function", "calls", "bytes", "first", group_by], limit)


def _entry(fault: Fault) -> Entry:
    calls, first = plural(fault.count, "call"), format_duration(fault.first_ns)
    asked = f" for {format_bytes(fault.size_bytes)}" if fault.kind == "failed" else ""
    sentence = f"{fault.operation}: {KINDS[fault.kind]}: {calls}{asked}, first after {first}"
    size = format_bytes(fault.size_bytes) if fault.kind == "failed" else "-"
    cells = (fault.kind, fault.operation, format_count(fault.count), size, first)
    return Entry(fault.group, sentence, cells)
