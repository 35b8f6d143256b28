"""A recording at a glance."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import ALL, Filters
from gadgetops.questions.asking.question import NOTHING, Amount, asked, of_what_is_readable
from gadgetops.questions.asking.windows import windows_of
from gadgetops.questions.high_water import high_water
from gadgetops.questions.temporary import OTHERS, share
from gadgetops.recording.reader import Recording


@dataclass(frozen=True)
class Summary:
    """
    What the allocations that were asked about come to.

    Args:
        certainty: How sure it is.
        duration_ns: From the first to the last event of the recording.
        event_count: Events of the recording.
        allocated: All allocations.
        live: Those that the program never released, as for `leaks`.
        peak: What was live when most bytes were.
        peak_at_ns: When that was, since the first event; None if nothing was allocated.
        temporary: Released by their thread with at most one other allocation in between.
        operations: Allocations by function, most calls first.
        thread_count: Threads that allocated.
        process_count: Processes that allocated.
        is_in_windows: Whether a part of the time alone was recorded.
    """

    certainty: Certainty
    duration_ns: int
    event_count: int
    allocated: Amount
    live: Amount
    peak: Amount
    peak_at_ns: int | None
    temporary: Amount
    operations: dict[str, Amount]
    thread_count: int
    process_count: int
    is_in_windows: bool

    @property
    def released(self) -> Amount:
        """What was allocated and is not live; a mapping released in part counts as live."""
        return Amount(
            self.allocated.size_bytes - self.live.size_bytes, self.allocated.count - self.live.count
        )

    @property
    def temporary_share(self) -> float:
        """What part of the allocations was temporary, from 0 to 1."""
        return share(self.temporary, self.allocated)

    @property
    def per_second(self) -> Amount | None:
        """Allocations and bytes a second, rounded down; None without duration, and of windows."""
        if self.duration_ns <= 0 or self.is_in_windows:
            return None
        return Amount(
            *(each * 10**9 // self.duration_ns for each in (self.allocated.size_bytes, self.allocated.count))
        )

    def to_json(self) -> dict[str, Any]:
        """Return all of it as the documented JSON."""
        per_second = self.per_second
        return {
            **self.certainty.to_json(),
            "duration_ns": self.duration_ns,
            "event_count": self.event_count,
            "allocated": self.allocated.to_json(),
            "released": self.released.to_json(),
            "live": self.live.to_json(),
            "peak": {**self.peak.to_json(), "at_ns": self.peak_at_ns},
            "temporary": {**self.temporary.to_json(), "share": self.temporary_share, "others": OTHERS},
            "per_second": None if per_second is None else per_second.to_json(),
            "operations": {name: amount.to_json() for name, amount in self.operations.items()},
            "thread_count": self.thread_count,
            "process_count": self.process_count,
        }


@of_what_is_readable
def summary(recording: Recording, filters: Filters = ALL) -> Summary:
    """
    Return what the chosen allocations of *recording* come to.

    Raises:
        RecordingError: The question could not be answered.
    """
    with asked(recording, filters, None) as question:
        rows = question.rows("summary")
        peak_at_ns, peak = high_water(question)
        temporary = [Amount(*row[3:]) for row in question.rows("temporary", others=OTHERS)]
    return Summary(
        certainty=question.certainty,
        duration_ns=question.span.duration_ns,
        event_count=recording.n_events,
        allocated=_sum(row[3:5] for row in rows),
        live=_sum(row[5:7] for row in rows),
        peak=sum(peak.values(), NOTHING),
        peak_at_ns=peak_at_ns,
        temporary=sum(temporary, NOTHING),
        operations=_operations(rows),
        thread_count=len({row[:2] for row in rows}),
        process_count=len({row[0] for row in rows}),
        is_in_windows=windows_of(recording.header) is not None,
    )


def _operations(rows: Sequence[tuple[Any, ...]]) -> dict[str, Amount]:
    names = {row[2] for row in rows}
    found = {name: _sum(row[3:5] for row in rows if row[2] == name) for name in names}
    return dict(sorted(found.items(), key=lambda item: (-item[1].count, item[0])))


def _sum(amounts: Iterable[Sequence[int]]) -> Amount:
    return sum((Amount(*amount) for amount in amounts), NOTHING)
