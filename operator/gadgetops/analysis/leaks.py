"""
What was never released, by stack.

The questions are the SQL files beside this module, in the subset that DuckDB and Spark share (only
`live_frames.sql` takes lists apart as DuckDB does); this module asks them and weighs the answers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Literal

from gadgetops.analysis.stacks_of import Frame
from gadgetops.errors import RecordingError
from gadgetops.recording.reader import Recording
from gadgetops.recording.schema import FAILED_STACK, NO_STACK
from gadgetops.units import plural

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Certainty = Literal["certain", "possible", "inconclusive"]

_NO_FRAMES: Final = {NO_STACK: "no stack was collected", FAILED_STACK: "its stack could not be collected"}
_NOT_RECORDED: Final = "its stack is not in the recording"


@dataclass(frozen=True)
class Leak:
    """
    What one stack allocated and nobody released.

    Args:
        live_bytes: In all; of a mapping released in part, the rest.
        live_count: Number of allocations.
        stack: Frames leaf first; may be empty.
        no_stack: Why the stack is empty; None if it is not.
    """

    live_bytes: int
    live_count: int
    stack: tuple[Frame, ...]
    no_stack: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the leak as the documented JSON."""
        return {
            "bytes": self.live_bytes,
            "count": self.live_count,
            "stack": [frame.to_json() for frame in self.stack],
            "no_stack": self.no_stack,
        }


@dataclass(frozen=True)
class Amount:
    """A number of allocations and their bytes together."""

    size_bytes: int
    count: int


@dataclass(frozen=True)
class Leaks:
    """
    What is live when the recording ends, and how far that can be believed.

    Args:
        certainty: `certain` if nothing is missing, `inconclusive` if nothing was recorded, else `possible`.
        reasons: Why it is not certain, a sentence each; empty if it is.
        allocated: All allocations that succeeded.
        live: Those not released.
        at_least: What is live even if every lost event was a release; None if nobody knows how many are lost.
        lost: Events that are known to be missing.
        failed_stacks: Allocations whose stack could not be collected.
        leaks: Largest first, then most, then by stack.
    """

    certainty: Certainty
    reasons: tuple[str, ...]
    allocated: Amount
    live: Amount
    at_least: Amount | None
    lost: int
    failed_stacks: int
    leaks: tuple[Leak, ...]

    @property
    def released(self) -> Amount:
        """What was allocated and is not live; a mapping released in part counts as live."""
        return Amount(
            self.allocated.size_bytes - self.live.size_bytes, self.allocated.count - self.live.count
        )

    def to_json(self) -> dict[str, Any]:
        """Return all of it as the documented JSON."""
        least = self.at_least
        return {
            "certainty": self.certainty,
            "reasons": [*self.reasons],
            "lost": self.lost,
            "failed_stacks": self.failed_stacks,
            "allocated_bytes": self.allocated.size_bytes,
            "allocated_count": self.allocated.count,
            "released_bytes": self.released.size_bytes,
            "released_count": self.released.count,
            "live_bytes": self.live.size_bytes,
            "live_count": self.live.count,
            "at_least_bytes": None if least is None else least.size_bytes,
            "at_least_count": None if least is None else least.count,
            "leaks": [leak.to_json() for leak in self.leaks],
        }


def leaks(recording: Recording) -> Leaks:
    """
    Return what is live at the end of *recording*, by stack.

    Files with damaged pages are left out, and are then a reason for doubt.

    Raises:
        RecordingError: The question could not be answered, as for want of space to spill to.
    """
    try:
        return _leaks(recording)
    except RecordingError:
        verified = recording.verified()
        if verified.problems == recording.problems:
            raise
        return _leaks(verified)


def _leaks(recording: Recording) -> Leaks:
    with recording.connect() as connection:
        for table in ("ignored", "live"):
            connection.execute(f"create temp table {table} as {_sql(table)}")
        [(allocated_bytes, allocated_count, lost_before_last, failed)] = _rows(connection, "totals")
        by_stack = _rows(connection, "live_by_stack")
        live = Amount(sum(row[1] for row in by_stack), sum(row[2] for row in by_stack))
        missing = recording.n_missing
        lost = max(lost_before_last, recording.counters.get("lost", 0)) + (missing or 0)
        most_false = _largest(connection, min(lost, live.count))
        merged = _merged(by_stack, _stacks(connection))
    failed_stacks = max(int(failed), recording.counters.get("failed_stacks", 0))
    reasons = tuple(_reasons(recording, lost, failed_stacks))
    least = Amount(live.size_bytes - most_false.size_bytes, live.count - most_false.count)
    return Leaks(
        certainty="inconclusive" if not recording.n_events else "possible" if reasons else "certain",
        reasons=reasons,
        allocated=Amount(int(allocated_bytes), int(allocated_count)),
        live=live,
        at_least=None if missing is None else least,
        lost=lost,
        failed_stacks=failed_stacks,
        leaks=merged,
    )


def _reasons(recording: Recording, lost: int, failed_stacks: int) -> Iterator[str]:
    if not recording.n_events:
        yield "no event was recorded"
    if lost:
        yield f"{plural(lost, 'event')} lost: as many of these allocations may have been released"
    if failed_stacks:
        yield f"{plural(failed_stacks, 'allocation')} without a stack: it could not be collected"
    yield from recording.problems


def _sql(name: str) -> str:
    return (resources.files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def _rows(connection: "DuckDBPyConnection", name: str) -> list[tuple[Any, ...]]:
    return connection.execute(_sql(name)).fetchall()


def _largest(connection: "DuckDBPyConnection", n_allocations: int) -> Amount:
    """Return the *n_allocations* largest live ones: what may be false if as many releases were lost."""
    [(size_bytes, count)] = connection.execute(_sql("largest"), {"n": n_allocations}).fetchall()
    return Amount(int(size_bytes), int(count))


def _stacks(connection: "DuckDBPyConnection") -> dict[int, tuple[Frame, ...]]:
    rows = _rows(connection, "live_frames")
    return {
        stack_id: tuple(Frame(*row[1:]) for row in group)
        for stack_id, group in groupby(rows, key=lambda row: int(row[0]))
    }


def _merged(by_stack: list[tuple[Any, ...]], stacks: Mapping[int, tuple[Frame, ...]]) -> tuple[Leak, ...]:
    """Return one leak for all stacks that are equal to people, largest first."""
    found: dict[tuple[Any, ...], Leak] = {}
    for stack_id, live_bytes, live_count in by_stack:
        stack = stacks.get(stack_id, ())
        no_stack = None if stack else _NO_FRAMES.get(stack_id, _NOT_RECORDED)
        key = (no_stack, *(frame.identity for frame in stack))
        so_far = found.get(key, Leak(0, 0, stack, no_stack))
        total = (so_far.live_bytes + int(live_bytes), so_far.live_count + int(live_count))
        found[key] = Leak(*total, so_far.stack, no_stack)
    return tuple(sorted(found.values(), key=_rank))


def _rank(leak: Leak) -> tuple[Any, ...]:
    return (-leak.live_bytes, -leak.live_count, [repr(frame.identity) for frame in leak.stack])
