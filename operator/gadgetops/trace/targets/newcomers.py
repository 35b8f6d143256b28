"""
Processes that begin, or begin anew, while a recording runs: which of them the probes do not reach yet.

A probe on a file reaches whoever maps that file, a probe on a process only that process. So what is forked or
exec'd later may have to be reached by a probe of its own, which comes a little after its beginning: how much
later, and who was gone by then, is kept and stands in the recording.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from gadgetops.errors import GadgetOpsError
from gadgetops.trace.address_spaces import AddressSpace, ModuleTracker
from gadgetops.trace.attachment import Attachment
from gadgetops.trace.probes.allocator import Allocator, allocators_of_process

_KEPT_IN_DETAIL: Final = 100
_FIRST_RETRY_S: Final = 0.002
_ENDED: Final = "it ended before it could be reached"

_World = tuple[int, frozenset[str]]
"""A mount namespace and the paths that are mapped in it: the same allocators, whoever it is."""


@dataclass
class _Retry:
    """When to look again at a process that was not ready: its memory is still being laid out, say."""

    since: float
    at: float = 0.0
    delay_s: float = _FIRST_RETRY_S

    def is_due(self, now: float) -> bool:
        return now >= self.at

    def postpone(self) -> None:
        self.at, self.delay_s = time.monotonic() + self.delay_s, self.delay_s * 2


class Newcomers:
    """
    Attaches to what a target's processes map, as far as that is not probed already.

    Args:
        by_process: Limit probes to the process they are made for; else all that map the file are reached.
        library: Look for allocators here first, as the processes see it.
    """

    def __init__(self, *, by_process: bool, library: Path | None = None) -> None:
        self._by_process = by_process
        self._library = library
        self._allocators: dict[_World, tuple[Allocator, ...]] = {}
        self._attached: set[tuple[int | None, int, int, frozenset[str]]] = set()
        self._attached_paths: set[tuple[int | None, str]] = set()
        self._seen: dict[int, int] = {}
        self._retries: dict[int, _Retry] = {}
        self._unreached: dict[int, dict[str, Any]] = {}
        self._late: list[dict[str, Any]] = []
        self._n_late = 0
        self._looked_at = time.monotonic()

    def add(self, attachment: Attachment, allocator: Allocator) -> None:
        """Attach to *allocator* unless that is done already."""
        pid = allocator.pid if self._by_process else None
        file = allocator.probed.stat()
        key = pid, file.st_dev, file.st_ino, frozenset(allocator.functions)
        if key not in self._attached:
            attachment.attach(allocator)
            self._attached.add(key)
            self._attached_paths.add((pid, str(allocator.path)))

    def watch(self, tracker: ModuleTracker) -> None:
        """Learn from *tracker* of processes that end before `update` has seen them."""
        tracker.on_exit = self._note_end

    def update(self, attachment: Attachment, tracker: ModuleTracker) -> None:
        """Reach each process that maps other files than when it was last looked at."""
        before, self._looked_at = self._looked_at, time.monotonic()
        for pid, space in [*tracker.spaces.items()]:
            if self._seen.get(pid) != space.n_changes:
                self._seen[pid] = space.n_changes
                self._retries.pop(pid, None)
                self._reach(attachment, pid, space.paths(), before)
            elif pid in self._retries and self._retries[pid].is_due(self._looked_at):
                self._reach(attachment, pid, space.paths(), self._retries[pid].since)

    def description(self) -> dict[str, Any]:
        """Return what the header says: who was reached late, who was not, the first hundred in detail."""
        unreached = [*self._unreached.values()]
        return {
            "n_attached_late": self._n_late,
            "attached_late": self._late,
            "n_not_covered": len(unreached),
            "not_covered": unreached[:_KEPT_IN_DETAIL],
        }

    def _reach(self, attachment: Attachment, pid: int, paths: frozenset[str], since: float) -> None:
        try:
            world = Path(f"/proc/{pid}/ns/mnt").stat().st_ino, paths
            for allocator in self._allocators_of(world, pid):
                self._reach_file(attachment, allocator, pid, since)
            self._unreached.pop(pid, None)
            self._retries.pop(pid, None)
        except FileNotFoundError:
            self._note_unreached(pid, paths, _ENDED)
        except (GadgetOpsError, OSError) as error:
            self._note_unreached(pid, paths, str(error).splitlines()[0])
            self._retries.setdefault(pid, _Retry(since)).postpone()

    def _reach_file(self, attachment: Attachment, allocator: Allocator, pid: int, since: float) -> None:
        path = Path(f"/proc/{pid}/root") / allocator.path.relative_to("/")
        limited = pid if self._by_process else None
        n_before = len(self._attached)
        self.add(attachment, replace(allocator, probed=path, pid=limited))
        if len(self._attached) == n_before:
            return
        self._n_late += 1
        if len(self._late) < _KEPT_IN_DETAIL:
            late_ms = round((time.monotonic() - since) * 1000, 1)
            details = {"pid": pid, "path": str(allocator.path), "at_most_ms_late": late_ms}
            self._late.append(details)

    def _allocators_of(self, world: _World, pid: int) -> Iterable[Allocator]:
        if world not in self._allocators:
            self._allocators[world] = (*allocators_of_process(pid, self._library),)
        return self._allocators[world]

    def _note_end(self, pid: int, space: AddressSpace) -> None:
        self._retries.pop(pid, None)
        was_seen = self._seen.pop(pid, None) is not None
        if self._is_reached(pid, space.paths()):
            self._unreached.pop(pid, None)
        elif not was_seen:
            self._note_unreached(pid, space.paths(), _ENDED)
        # Its number may be another's one day.
        self._attached = {key for key in self._attached if key[0] != pid}
        self._attached_paths = {key for key in self._attached_paths if key[0] != pid}

    def _note_unreached(self, pid: int, paths: frozenset[str], why: str) -> None:
        if not self._is_reached(pid, paths):
            self._unreached[pid] = {"pid": pid, "maps": min(paths, default=None), "why": why}

    def _is_reached(self, pid: int, paths: frozenset[str]) -> bool:
        """Return whether one of *paths*, which *pid* maps, has probes that reach it."""
        limited = pid if self._by_process else None
        return any((limited, path) in self._attached_paths for path in paths)
