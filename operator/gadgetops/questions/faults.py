"""Calls that were wrong, or went wrong: double and mismatched releases, unknown addresses, failed
allocations."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import ALL, Filters, GroupBy
from gadgetops.questions.asking.groups import Group
from gadgetops.questions.asking.question import asked, of_what_is_readable
from gadgetops.recording.reader import Recording

Kind = Literal["double", "mismatched", "unknown", "failed"]

KINDS: Final[dict[Kind, str]] = {
    "double": "released twice",
    "mismatched": "released in another way than allocated (munmap of a block, free of a mapping)",
    "unknown": "released, but never seen allocated",
    "failed": "allocation failed",
}
"""What a fault can be, and that in words; the worst first."""


@dataclass(frozen=True)
class Fault:
    """
    Faulty calls of one kind, operation and group.

    Args:
        kind: One of `KINDS`.
        operation: The function that was called.
        group: Of the faulty call: a release's stack is where it was released.
        count: Calls.
        size_bytes: What failed allocations asked for together; 0 for releases.
        first_ns: When the first was made, since the first event.
    """

    kind: Kind
    operation: str
    group: Group
    count: int
    size_bytes: int
    first_ns: int

    def to_json(self) -> dict[str, Any]:
        """Return it as the documented JSON."""
        return {
            "kind": self.kind,
            "operation": self.operation,
            "group": self.group.to_json(),
            "count": self.count,
            "bytes": self.size_bytes,
            "first_ns": self.first_ns,
        }


@dataclass(frozen=True)
class Faults:
    """
    The faulty calls of a recording.

    Args:
        certainty: How sure it is.
        from_start: Whether the program was recorded from its start; else what it allocated before counts as
            unknown.
        counts: Calls of every kind of `KINDS`, in that order.
        faults: The worst kind first, then most calls.
    """

    certainty: Certainty
    from_start: bool
    counts: dict[Kind, int]
    faults: tuple[Fault, ...]

    def to_json(self, limit: int | None = None) -> dict[str, Any]:
        """Return the first *limit* rows as the documented JSON."""
        return {
            **self.certainty.to_json(),
            "from_start": self.from_start,
            "counts": {**self.counts},
            "faults": [fault.to_json() for fault in self.faults[:limit]],
            "fault_count": len(self.faults),
        }


@of_what_is_readable
def faults(recording: Recording, filters: Filters = ALL, group_by: GroupBy | None = "stack") -> Faults:
    """
    Return the faulty calls of *recording* that *filters* choose; a release counts as one of 0 bytes.

    Raises:
        RecordingError: The question could not be answered.
    """
    with asked(recording, filters, group_by, calls="faulty_calls") as question:
        found = [
            Fault(
                kind,
                operation,
                question.groups[group_id],
                count,
                size_bytes,
                first_ns - question.span.first_ns,
            )
            for kind, operation, group_id, count, size_bytes, first_ns in question.rows("faults")
        ]
    counts = {kind: sum(fault.count for fault in found if fault.kind == kind) for kind in KINDS}
    return Faults(question.certainty, _from_start(recording), counts, tuple(sorted(found, key=_rank)))


def _from_start(recording: Recording) -> bool:
    """Whether the recorder started the program, as the header says."""
    target = recording.header.get("target")
    return isinstance(target, dict) and bool(target.get("command"))


def _rank(fault: Fault) -> tuple[int, int, str, str]:
    return ([*KINDS].index(fault.kind), -fault.count, fault.group.name, fault.operation)
