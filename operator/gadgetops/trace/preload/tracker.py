"""What processes map and start, as the library in them reports it."""

import os
import select
from collections.abc import Callable, Iterable
from typing import Any, Final

from gadgetops.trace.address_spaces import ANONYMOUS, AddressSpace, AddressSpaces, Mapping, now_ns
from gadgetops.trace.preload import layout
from gadgetops.trace.preload.layout import Note, read_note

_REPORTED_NS: Final = 20_000_000
"""What a process sent before its end is read so long afterwards at the latest, where nothing waits."""
_STARTED_NS: Final = 2_000_000_000
"""A program that is executed has begun by then, if the library is in it."""
_MOST_NAMED: Final = 20
_WITHOUT_LIBRARY: Final = "is static, set-user-ID, or of another architecture: nothing can be preloaded"


class ReportedSpaces(AddressSpaces):
    """Follows processes by what they say themselves; that one has ended, its descriptor says."""

    def __init__(self, container_of: Callable[[int], str | None] = lambda _pid: None) -> None:
        super().__init__(container_of)
        self._poll = select.poll()
        self._descriptors: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._executing: dict[int, Note] = {}
        self._not_covered: dict[int, dict[str, Any]] = {}
        self._n_not_covered = 0
        self.unseen: str | None = None
        """Why nothing is seen of what the last program allocates that said so."""
        self.on_finish: Callable[[], None] = lambda: None
        """Told that nothing more will be known."""
        self._take_kind: dict[int, Callable[[Note], None]] = {
            layout.START: self._start,
            layout.FORK: self._forked,
            layout.MAPPING: self._mapped,
            layout.EXEC: self._executes,
            layout.EXEC_FAILED: self._executes_not,
            layout.UNSEEN: self._is_unseen,
        }

    def __exit__(self, *_: object) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        super().__exit__()

    def description(self) -> dict[str, Any]:
        """Return what of the target was not recorded: for the recording's header."""
        found: dict[str, Any] = {} if self.unseen is None else {"unseen": self.unseen}
        if self._n_not_covered:
            found |= {"n_not_covered": self._n_not_covered, "not_covered": [*self._not_covered.values()]}
        return found

    def follow(self, pid: int) -> AddressSpace:
        """As for others; and note its end."""
        space = super().follow(pid)
        self._watch(pid)
        return space

    def read(self) -> None:
        """Take note of processes that have ended."""
        super().read()
        for descriptor, _ in self._poll.poll(0):
            self._poll.unregister(descriptor)
            os.close(descriptor)
            self._ended[self._descriptors.pop(descriptor)] = now_ns()

    def take_records(self, records: Iterable[bytes]) -> None:
        """Take in the notes among *records*, in their order."""
        for record in records:
            note = read_note(record)
            if note is not None and note.kind in self._take_kind:
                self._take_kind[note.kind](note)

    def forget_gone(self, taken_ns: int) -> None:
        """Forget the processes that have ended, when all is read that they sent."""
        for pid, ended_ns in [*self._ended.items()]:
            if ended_ns + _REPORTED_NS < taken_ns:
                del self._ended[pid]
                self._end(ended_ns, pid)
        for pid, note in [*self._executing.items()]:
            if note.timestamp_ns + _STARTED_NS < taken_ns:
                self._has_no_library(pid, note)
        super().forget_gone(taken_ns)

    def finish(self) -> None:
        """Note what has ended; what has not begun by now does not report that it did."""
        for pid, ended_ns in self._ended.items():
            self._end(ended_ns, pid)
        self._ended.clear()
        for pid, note in [*self._executing.items()]:
            self._has_no_library(pid, note)
        self.on_finish()

    def _end(self, timestamp_ns: int, pid: int) -> None:
        if pid in self._executing:
            self._has_no_library(pid, self._executing[pid])
        if pid in self.spaces:
            self._forget(timestamp_ns, pid, self.spaces[pid])

    def _has_no_library(self, pid: int, note: Note) -> None:
        """Note that the program which *pid* executed did not report that it began."""
        del self._executing[pid]
        self._n_not_covered += 1
        if len(self._not_covered) < _MOST_NAMED:
            why = f"{note.name} {_WITHOUT_LIBRARY}"
            self._not_covered[pid] = {"pid": pid, "comm": note.name.rpartition("/")[2], "why": why}

    def _watch(self, pid: int) -> None:
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            self._ended[pid] = now_ns()
            return
        self._descriptors[descriptor] = pid
        self._poll.register(descriptor, select.POLLIN)

    def _forked(self, note: Note) -> None:
        if note.pid in self._ended:
            self._end(note.timestamp_ns, note.pid)
            self._ended.pop(note.pid, None)
        is_new = note.pid not in self.spaces
        self._fork(note.timestamp_ns, note.pid, note.other, note.pid)
        if is_new and note.pid in self.spaces:
            self._watch(note.pid)

    def _start(self, note: Note) -> None:
        """Begin anew with a process that executes a program; one that is new was forked just before."""
        self._executing.pop(note.pid, None)
        if note.pid not in self.spaces:
            self._forked(note._replace(timestamp_ns=note.timestamp_ns - 1))
        space = self.spaces.get(note.pid)
        if space is None:
            space = self.follow(note.pid)
        space.comm, space.threads = note.name, {note.pid}
        self.jit.forget(note.pid)
        space.exec(note.timestamp_ns)
        self._note(note.timestamp_ns, note.pid, "exec", space)

    def _mapped(self, note: Note) -> None:
        space = self.spaces.get(note.pid)
        if space is not None:
            path = note.name.replace("\\012", "\n") or ANONYMOUS
            where = note.start_address, note.end_address, note.file_offset
            self._map(space, Mapping(note.pid, note.timestamp_ns, *where, path, None), note.pid)

    def _executes(self, note: Note) -> None:
        """Await the program's beginning; what a parent says of its child may come after that."""
        is_of_parent = note.other != 0
        if not (is_of_parent and (note.pid in self.spaces or note.pid in self._gone)):
            self._executing[note.pid] = note

    def _executes_not(self, note: Note) -> None:
        self._executing.pop(note.pid, None)

    def _is_unseen(self, note: Note) -> None:
        self.unseen = f"{self._name_of(note.pid)}: {note.name}"

    def _name_of(self, pid: int) -> str:
        space = self.spaces.get(pid)
        return str(pid if space is None else space.comm)
