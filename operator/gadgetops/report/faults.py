"""Faulty calls as text."""

from collections.abc import Iterator
from typing import Any

from gadgetops.questions.asking.filters import GroupBy
from gadgetops.questions.faults import KINDS, Fault, Faults
from gadgetops.report.answers import Entry, Forms, entries_as_lines, head, one_line
from gadgetops.units import format_bytes, format_count, format_duration, plural


def faults_forms(faults: Faults, group_by: GroupBy) -> Forms:
    """Return *faults* in its forms: how many of each kind, then each fault."""

    def rows(limit: int | None) -> list[dict[str, Any]]:
        return [
            {
                "kind": fault.kind,
                "operation": fault.operation,
                "calls": fault.count,
                "bytes": fault.size_bytes,
                "first_ns": fault.first_ns,
                "group": one_line(fault.group),
            }
            for fault in faults.faults[:limit]
        ]

    return Forms(
        (faults.certainty,),
        text=lambda limit: "\n".join(_lines(faults, group_by, limit)),
        json_value=faults.to_json,
        rows=rows,
        columns=("kind", "operation", "calls", "bytes", "first_ns", "group"),
    )


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
