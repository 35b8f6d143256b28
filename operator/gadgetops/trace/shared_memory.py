"""
Processes that run in the memory of another one: children of vfork(2), and of clone(2) with CLONE_VM.

Until they execute a program or end, what they release is the other one's. The kernel's report of a fork does
not say whether memory is shared; its tracepoint `task_newtask` does.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER: Final = Path("/sys/kernel/tracing/events/task/task_newtask")
"""Where the tracing file system describes the tracepoint."""
_CLONE_VM, _CLONE_THREAD = 0x100, 0x10000
_FIELD: Final = re.compile(r"\b(pid|clone_flags);\s+offset:(\d+);\s+size:(\d+);")
_UNENDED: Final = 2**63 - 1


class NewTask:
    """
    Reads the raw data of `task_newtask`.

    Raises:
        OSError: There is no such tracepoint, or no tracing file system.
        ValueError: Its description is not of the known form.
    """

    def __init__(self) -> None:
        self.id = int((FOLDER / "id").read_text())
        fields = {name: (int(at), int(n)) for name, at, n in _FIELD.findall((FOLDER / "format").read_text())}
        if {*fields} != {"pid", "clone_flags"}:
            raise ValueError(fields)
        self._fields = fields

    def sharer(self, raw: bytes) -> int | None:
        """Return the number of the new process if it shares its parent's memory; else None."""
        flags = self._value(raw, "clone_flags")
        return self._value(raw, "pid") if flags & _CLONE_VM and not flags & _CLONE_THREAD else None

    def _value(self, raw: bytes, name: str) -> int:
        offset, size = self._fields[name]
        return int.from_bytes(raw[offset : offset + size], "little")


class _Period(NamedTuple):
    """When a process ran in the memory of another one, in ns since boot."""

    pid: int
    start_ns: int
    end_ns: int
    owner: int


class SharedMemory:
    """Which process ran in whose memory, and when."""

    def __init__(self) -> None:
        self.n_sharers = 0
        """How many there were so far."""
        self._periods: dict[int, _Period] = {}
        self._ended: list[_Period] = []

    def owner(self, pid: int) -> int:
        """Return the process whose memory *pid* has now: itself, as a rule."""
        period = self._periods.get(pid)
        return pid if period is None else period.owner

    def begin(self, pid: int, parent: int, timestamp_ns: int) -> None:
        """Note that *pid* has begun in the memory of *parent*."""
        self.n_sharers += 1
        self._periods[pid] = _Period(pid, timestamp_ns, _UNENDED, self.owner(parent))

    def end(self, pid: int, timestamp_ns: int) -> None:
        """Note that *pid* has memory of its own, or has ended."""
        period = self._periods.pop(pid, None)
        if period is not None:
            self._ended.append(period._replace(end_ns=timestamp_ns))

    def forget(self, until_ns: int) -> None:
        """Forget what had ended by *until_ns*."""
        self._ended = [period for period in self._ended if period.end_ns > until_ns]

    def owners(self, pids: "NDArray[Any]", timestamps_ns: "NDArray[Any]") -> "NDArray[Any]":
        """Return in whose memory each of *pids* ran at the time beside it."""
        periods = [*self._all()]
        # Imported here: numpy takes its time, and the tracker is there before the target begins.
        import numpy as np  # noqa: PLC0415

        if not periods or not np.isin(pids, [period.pid for period in periods]).any():
            return pids
        found = pids.copy()
        for pid, start_ns, end_ns, owner in periods:
            found[(pids == pid) & (timestamps_ns >= start_ns) & (timestamps_ns < end_ns)] = owner
        return found

    def _all(self) -> Iterator[_Period]:
        yield from self._ended
        yield from self._periods.values()
