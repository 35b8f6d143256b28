"""
Processes that begin, or begin anew, while a recording runs: which of them the probes do not reach yet.

A probe on a file reaches whoever maps that file, a probe on a process only that process. So what is forked or
exec'd later may have to be reached by a probe of its own, which comes a little after its beginning: how much
later, and who was gone by then, is kept and stands in the recording.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from gadgetops.errors import GadgetOpsError
from gadgetops.trace.address_spaces import AddressSpace, Mapping, ModuleTracker
from gadgetops.trace.attachment import Attachment
from gadgetops.trace.probes.allocator import Allocator, allocators_of_process
from gadgetops.trace.probes.link_map import mapped_objects
from gadgetops.trace.processes import is_alive, memory_holder, mount_namespace

_KEPT_IN_DETAIL: Final = 100
_FIRST_RETRY_S: Final = 0.002
_ENDED: Final = "it ended before it could be reached"

_World = tuple[int, int, int, frozenset[str]]
"""A mount namespace, a root folder in it, and the paths mapped: the same allocators, whoever it is."""
_Inode = tuple[int, ...]
"""What the kernel reports a mapped file by."""


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
        shared: Files that others than the target map, too: there, too, probes are limited to a process.
    """

    def __init__(self, *, by_process: bool, library: Path | None = None, shared: Iterable[Path] = ()) -> None:
        self._by_process = by_process
        self._library = library
        self._shared = {(status.st_dev, status.st_ino) for status in map(Path.stat, shared)}
        self._allocators: dict[_World, tuple[Allocator, ...]] = {}
        self._attached: set[tuple[int | None, int, int, frozenset[str]]] = set()
        self._attached_paths: set[tuple[int | None, str]] = set()
        self._inodes: set[tuple[int | None, _Inode]] = set()
        """What was attached to, as the kernel reports it."""
        self._learned_paths: set[tuple[int | None, str]] = set()
        """Paths of those."""
        self._expected: set[tuple[int, str]] = set()
        """Processes and paths of files of whose next mapping the inode is to be learned."""
        self._covered: dict[int, int] = {}
        """Processes of which all is reached, and at which change of what they map."""
        self._seen: dict[int, int] = {}
        self._retries: dict[int, _Retry] = {}
        self._unreached: dict[int, dict[str, Any]] = {}
        self._late: list[dict[str, Any]] = []
        self._n_late = 0
        self._looked_at = time.monotonic()

    def add(self, attachment: Attachment, allocator: Allocator) -> bool:
        """
        Attach to *allocator*, for the process that it names or for all that map the file, unless done.

        Returns:
            Whether a probe is there that was not before: a process that is seen while it maps its libraries
            may be found to have fewer functions in one of them than it has a moment later.
        """
        file = allocator.probed.stat()
        key = allocator.pid, file.st_dev, file.st_ino, frozenset(allocator.functions)
        if key in self._attached:
            return False
        is_new = attachment.attach(allocator)
        self._attached.add(key)
        self._attached_paths.add((allocator.pid, str(allocator.path)))
        return is_new

    def expect(self, pid: int, path: Path) -> None:
        """Learn the inode of *path*, to which is attached, when process *pid* maps it."""
        self._expected.add((pid, str(path)))

    def watch(self, tracker: ModuleTracker) -> None:
        """Learn from *tracker* of processes that end before `update` has seen them, and of inodes."""
        tracker.on_exit = self._note_end
        tracker.on_map = self._note_mapping

    def begin(self, attachment: Attachment, tracker: ModuleTracker) -> None:
        """Reach the processes that run already: none of them is late."""
        self.update(attachment, tracker)
        self._late.clear()
        self._n_late = 0

    def update(self, attachment: Attachment, tracker: ModuleTracker) -> None:
        """Reach each process that maps other files than when it was last looked at."""
        before, self._looked_at = self._looked_at, time.monotonic()
        for pid, space in [*tracker.spaces.items()]:
            if self._seen.get(pid) != space.n_changes:
                self._seen[pid] = space.n_changes
                self._retries.pop(pid, None)
                self._reach(attachment, pid, space, before)
            elif pid in self._retries and self._retries[pid].is_due(self._looked_at):
                self._reach(attachment, pid, space, self._retries[pid].since)

    def description(self) -> dict[str, Any]:
        """Return what the header says: who was reached late, who was not, the first hundred in detail."""
        unreached = [*self._unreached.values()]
        return {
            "n_attached_late": self._n_late,
            "attached_late": self._late,
            "n_not_covered": len(unreached),
            "not_covered": unreached[:_KEPT_IN_DETAIL],
        }

    def _reach(self, attachment: Attachment, pid: int, space: AddressSpace, since: float) -> None:
        try:
            for allocator in self._allocators_of(pid, space.paths()):
                self._reach_file(attachment, allocator, pid, since)
                self._learn(allocator, pid, space)
            self._unreached.pop(pid, None)
            self._retries.pop(pid, None)
            self._covered[pid] = space.n_changes
        except (GadgetOpsError, OSError) as error:
            is_gone = not is_alive(pid)
            self._note_unreached(pid, space, _ENDED if is_gone else str(error).splitlines()[0])
            if not is_gone:
                self._retries.setdefault(pid, _Retry(since)).postpone()

    def _reach_file(self, attachment: Attachment, allocator: Allocator, pid: int, since: float) -> None:
        if not self.add(attachment, replace(allocator, pid=self._limit(pid, allocator))):
            return
        self._n_late += 1
        if len(self._late) < _KEPT_IN_DETAIL:
            late_ms = round((time.monotonic() - since) * 1000, 1)
            details = {"pid": pid, "path": str(allocator.path), "at_most_ms_late": late_ms}
            self._late.append(details)

    def _limit(self, pid: int, allocator: Allocator) -> int | None:
        """Return the process to which probes on *allocator* are limited; None for all that map the file."""
        if self._by_process:
            return pid
        file = allocator.probed.stat()
        return pid if (file.st_dev, file.st_ino) in self._shared else None

    def _allocators_of(self, pid: int, paths: frozenset[str]) -> Iterator[Allocator]:
        """Yield the allocators of *pid*, each with a way to its file that is good now."""
        root = Path(f"/proc/{memory_holder(pid)}/root")
        place = root.stat()
        world = (mount_namespace(pid) or 0, place.st_dev, place.st_ino, paths)
        if world not in self._allocators:
            self._allocators[world] = (*allocators_of_process(pid, self._library),)
            yield from self._allocators[world]
            return
        ways: dict[Path, Path] = {}
        for allocator in self._allocators[world]:
            # The one who was asked first may be gone, and with it the way through what it mapped.
            if not ways:
                ways = {mapped.path: mapped.probed for mapped in mapped_objects(pid)}
            yield replace(allocator, probed=ways.get(allocator.path, root / allocator.path.relative_to("/")))

    def _learn(self, allocator: Allocator, pid: int, space: AddressSpace) -> None:
        """Learn the inode of *allocator*'s file from the mapping that it was found by."""
        limited = self._limit(pid, allocator)
        start = allocator.probed.name.partition("-")[0]
        for mapping in space.mappings():
            if mapping.inode is not None and f"{mapping.start_address:x}" == start:
                self._inodes.add((limited, mapping.inode))
                self._learned_paths.add((limited, mapping.path))

    def _note_mapping(self, pid: int, mapping: Mapping) -> None:
        key = pid, mapping.path
        if key in self._expected and mapping.inode is not None:
            self._expected.remove(key)
            self._inodes.add((None, mapping.inode))
            self._learned_paths.add((None, mapping.path))

    def _note_end(self, pid: int, space: AddressSpace) -> None:
        self._retries.pop(pid, None)
        was_seen = self._seen.pop(pid, None) is not None
        if self._is_reached(pid, space):
            self._unreached.pop(pid, None)
        elif pid not in self._unreached and not (was_seen and self._covered.get(pid) == space.n_changes):
            self._note_unreached(pid, space, _ENDED)
        # Its number may be another's one day.
        self._covered.pop(pid, None)
        self._attached = {key for key in self._attached if key[0] != pid}
        self._attached_paths = {key for key in self._attached_paths if key[0] != pid}
        self._inodes = {key for key in self._inodes if key[0] != pid}
        self._learned_paths = {key for key in self._learned_paths if key[0] != pid}

    def _note_unreached(self, pid: int, space: AddressSpace, why: str) -> None:
        if not self._is_reached(pid, space):
            self._unreached[pid] = {"pid": pid, "maps": min(space.paths(), default=None), "why": why}

    def _is_reached(self, pid: int, space: AddressSpace) -> bool:
        """
        Return whether a file that *pid* maps has probes that reach it.

        A path says little, for the process may have another root folder: the inode counts where it is known.
        """
        return any(
            self._has_probes(limited, mapping) for mapping in space.mappings() for limited in (None, pid)
        )

    def _has_probes(self, limited: int | None, mapping: Mapping) -> bool:
        by_path = limited, mapping.path
        if mapping.inode is not None and by_path in self._learned_paths:
            return (limited, mapping.inode) in self._inodes
        return by_path in self._attached_paths or (limited, mapping.inode) in self._inodes
