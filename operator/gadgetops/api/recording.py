"""A recording, and what the verbs answer about it, as values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gadgetops.api.table import Table
from gadgetops.questions.asking.filters import ALL, Filters, GroupBy
from gadgetops.questions.diff import Diff, diff
from gadgetops.questions.faults import Faults, faults
from gadgetops.questions.info import Info, info
from gadgetops.questions.leaks.leaks import Leaks, leaks
from gadgetops.questions.lifetimes import LifetimesAnswer, lifetimes
from gadgetops.questions.peak import Peak, peak
from gadgetops.questions.sizes import Sizes, sizes
from gadgetops.questions.summary import Summary, summary
from gadgetops.questions.temporary import Temporary, temporary
from gadgetops.questions.timeline import Timeline, timeline
from gadgetops.questions.top import Measure, Top, top
from gadgetops.recording.reader import Recording as _Read
from gadgetops.recording.reader import open_recording as read


class Recording:
    """
    A recording in a folder.

    It is read when it is asked, so that a recording that is still written is asked as far as it goes. Sizes
    are bytes, times nanoseconds. Each answer has `to_json()`, which is what `--format json` prints.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        """Return the folder."""
        return f"<recording {self.path}>"

    @property
    def header(self) -> Mapping[str, Any]:
        """What recording.json says: who was recorded, by what, how it ended."""
        return self._read().header

    @property
    def problems(self) -> tuple[str, ...]:
        """What is missing, a sentence each; empty for a whole recording."""
        return self._read().problems

    def info(self) -> Info:
        """Return what it holds, and how good its stacks are."""
        return info(self._read())

    def summary(self, filters: Filters = ALL) -> Summary:
        """Return totals, peak and rates."""
        return summary(self._read(), filters)

    def leaks(self, filters: Filters = ALL) -> Leaks:
        """Return what was never released, by stack, with the certainty of that."""
        return leaks(self._read(), filters)

    def top(self, by: Measure = "bytes", filters: Filters = ALL, group_by: GroupBy = "stack") -> Top:
        """Return who allocates most, by bytes, calls, what is live, temporary or at the peak."""
        return top(self._read(), by, filters, group_by)

    def peak(
        self,
        filters: Filters = ALL,
        group_by: GroupBy | None = "stack",
        *,
        from_ns: int = 0,
        to_ns: int | None = None,
    ) -> Peak:
        """Return what was live when most bytes were, of the moments from *from_ns* on and before *to_ns*."""
        return peak(self._read(), filters, group_by, from_ns=from_ns, to_ns=to_ns)

    def temporary(
        self, others: int = 1, filters: Filters = ALL, group_by: GroupBy | None = "stack"
    ) -> Temporary:
        """Return what is released with at most *others* allocations of its thread in between."""
        return temporary(self._read(), others, filters, group_by)

    def timeline(
        self, buckets: int = 60, filters: Filters = ALL, group_by: GroupBy | None = None
    ) -> Timeline:
        """Return live memory and allocations over time, in so many equal parts."""
        return timeline(self._read(), buckets, filters, group_by)

    def sizes(self, filters: Filters = ALL, group_by: GroupBy | None = None) -> Sizes:
        """Return how large allocations are."""
        return sizes(self._read(), filters, group_by)

    def lifetimes(self, filters: Filters = ALL, group_by: GroupBy | None = "stack") -> LifetimesAnswer:
        """Return how long allocations lived."""
        return lifetimes(self._read(), filters, group_by)

    def faults(self, filters: Filters = ALL, group_by: GroupBy | None = "stack") -> Faults:
        """Return wrong releases, and allocations that failed."""
        return faults(self._read(), filters, group_by)

    def diff(self, before: "Recording", filters: Filters = ALL) -> Diff:
        """Return what changed since the recording *before*, stack by stack."""
        return diff(before._read(), self._read(), filters=filters)

    def sql(self, query: str) -> Table:
        """Return what *query* selects: one statement of DuckDB's SQL that reads (views: docs/answers.md)."""
        return Table(self.path, query)

    def events(self) -> Table:
        """Return every event, in order."""
        return self.sql("select * from events order by seq")

    def allocations(self) -> Table:
        """Return every allocation, with its release if there was one."""
        return self.sql("select * from allocations")

    def stacks(self) -> Table:
        """Return every stack: its frames, leaf first."""
        return self.sql("select * from stacks")

    def frames(self) -> Table:
        """Return every frame: address, module, function, file and line."""
        return self.sql("select * from frames")

    def modules(self) -> Table:
        """Return what was mapped, where and when."""
        return self.sql("select * from modules")

    def processes(self) -> Table:
        """Return what became of processes: started, forked, executed, ended."""
        return self.sql("select * from processes")

    def _read(self) -> _Read:
        return read(self.path)


def open_recording(path: "str | Path") -> Recording:
    """
    Return the recording in the folder *path*.

    Raises:
        RecordingError: There is none, or it cannot be read.
    """
    recording = Recording(Path(path))
    recording._read()
    return recording
