"""
Keep what processes say about code that they generate: perf maps and jitdumps, held open as soon as they are
there, since some programs remove them when they end.

While they grow they are read for code that takes the place of other code. The recording gets what they hold
when it ends. A map is looked for in the process's own mount namespace, by its number in its own pid
namespace.
"""

import contextlib
import ctypes
import os
import re
import resource
import stat
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Final

from gadgetops.recording.schema import JitCodeRow
from gadgetops.stacks.naming.files import File, Root
from gadgetops.stacks.naming.jit_code import MOST_DEFINITIONS, Definition, DumpReader, MapReader, Places
from gadgetops.trace.c_library import libc
from gadgetops.trace.processes import start_time

_SYS_OPENAT2: Final = 437
_OPEN_HOW: Final = struct.Struct("<QQQ")
_RESOLVE_IN_ROOT, _RESOLVE_NO_MAGICLINKS = 0x10, 0x02
_READ_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_PROCESSES: Final = 256
_SHARE_OF_DESCRIPTORS: Final = 8
_DUMP_NAME: Final = re.compile(r"jit-\d+\.dump( \(deleted\))?")
_OFTEN_NS, _SELDOM_NS = 10_000_000, 200_000_000
"""How often a map is looked for: while its process is young, and later."""
_YOUNG_NS: Final = 2_000_000_000
_WATCHED_BYTES: Final = 16 << 20
"""So much of a file is read while it grows; later replacements are not noticed."""
_COARSE_S: Final = 1.0
"""By how much times of files and processes may be off."""
_READ_BYTES: Final = 1 << 18
_READ_RECORDS: Final = 4096
_MOST_REPLACEMENTS: Final = 1000
"""Of a process: each begins new stacks."""
_ROWS_AT_ONCE: Final = 10_000
_COMPARISONS: Final = 5

OnReplaced = Callable[[int, int], None]
"""Told of a process, and when code of it took the place of other code."""


@dataclass
class _Watched:
    """
    A process that generates code.

    Attributes:
        pid: Its number here.
        root: Its root folder, open; None once that is not needed any more.
        name: Of its map, from the root.
        owner: The user who may have written it; None where unknown.
        began_s: Since when the process runs, in seconds since 1970: an older map is that of another one.
        seen_ns: Since when it is watched.
        asked_ns: When its map was looked for last.
        map_file: Its map, open.
        dump_file: Its jitdump, open.
        marks: At which offsets of the map reading went on, and when.
    """

    pid: int
    root: int | None
    name: bytes
    owner: int | None
    began_s: float
    seen_ns: int
    asked_ns: int = 0
    map_file: int | None = None
    dump_file: int | None = None
    marks: list[tuple[int, int]] = field(default_factory=list)
    n_replaced: int = 0
    places: Places = field(default_factory=Places)
    map_reader: MapReader | None = None
    dump_reader: DumpReader | None = None


class JitFiles:
    """
    The perf maps and jitdumps of the processes that are followed.

    Args:
        on_replaced: Told of code that took the place of other code.
    """

    def __init__(self, on_replaced: OnReplaced) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit = min(_MOST_PROCESSES, soft // _SHARE_OF_DESCRIPTORS)
        self._on_replaced = on_replaced
        # Once: the same time is to be the same number wherever it is needed.
        self._ahead_ns = _ahead_ns(time.CLOCK_MONOTONIC)
        self._began_s = time.time()
        self._watched: dict[int, list[_Watched]] = {}
        self._n_watched = 0

    def close(self) -> None:
        """Close all files."""
        for watched in self._all():
            for descriptor in (watched.root, watched.map_file, watched.dump_file):
                _close(descriptor)
        self._watched = {}

    def watch(self, pid: int, root: Root | None) -> None:
        """Look for the map of *pid* from now on, below *root* if it is gone; once is enough."""
        is_watched = any(watched.root is not None for watched in self._watched.get(pid, []))
        if not is_watched and self._n_watched < self._limit:
            with contextlib.suppress(OSError):
                self._add(pid, root)

    def watch_dump(self, pid: int, path: str, file: File | None, root: Root | None) -> None:
        """Keep the jitdump that *pid* has mapped, if *path* is the name of one."""
        if file is None or _DUMP_NAME.fullmatch(path.rpartition("/")[2]) is None:
            return
        self.watch(pid, root)
        for watched in self._watched.get(pid, [])[-1:]:
            if watched.dump_file is None:
                watched.dump_file = _regular(lambda: os.open(file.path, _READ_FLAGS & ~os.O_NOFOLLOW))

    def forget(self, pid: int) -> None:
        """Note that *pid* has ended or executes another program; what it wrote is kept."""
        for watched in self._watched.get(pid, [])[-1:]:
            watched.asked_ns = 0
            self._look(watched, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
            _close(watched.root)
            watched.root = None

    def poll(self) -> None:
        """Look for maps that are not there yet, and read what is new; to be called often."""
        if self._watched:
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            for watched in self._all():
                if watched.root is not None:
                    self._look(watched, now_ns)

    def rows(self) -> Iterator[list[JitCodeRow]]:
        """Yield what all of them say, a part at a time."""
        for watched in self._all():
            self._find_map(watched)
        yield from _portions(chain.from_iterable(_rows(watched, self._ahead_ns) for watched in self._all()))

    def _all(self) -> Iterator[_Watched]:
        for of_process in self._watched.values():
            yield from of_process

    def _add(self, pid: int, root: Root | None) -> None:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            descriptor = os.open(f"/proc/{pid}/root", flags)
        except OSError:
            if root is None:
                raise
            descriptor = os.open(root.folder.path, flags)
        number, owner, began_s = pid, None, self._began_s
        with contextlib.suppress(OSError, ValueError, IndexError):
            number = _own_number(pid)
            owner = Path(f"/proc/{pid}").stat().st_uid
            booted_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
            began_s = booted_s + int(start_time(pid) or 0) / os.sysconf("SC_CLK_TCK")
        name = b"tmp/perf-%d.map" % number
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._watched.setdefault(pid, []).append(_Watched(pid, descriptor, name, owner, began_s, now_ns))
        self._n_watched += 1

    def _look(self, watched: _Watched, now_ns: int) -> None:
        every_ns = _OFTEN_NS if now_ns - watched.seen_ns < _YOUNG_NS else _SELDOM_NS
        if now_ns - watched.asked_ns >= every_ns:
            watched.asked_ns = now_ns
            self._find_map(watched)
        if watched.n_replaced < _MOST_REPLACEMENTS:
            self._read_map(watched)
            self._read_dump(watched)

    def _find_map(self, watched: _Watched) -> None:
        root = watched.root
        if watched.map_file is None and root is not None:
            found = _regular(lambda: _open_in(root, watched.name), watched.owner)
            if found is not None and os.fstat(found).st_mtime + _COARSE_S < watched.began_s:
                os.close(found)
                found = None
            watched.map_file = found

    def _read_map(self, watched: _Watched) -> None:
        if watched.map_file is None:
            return
        if watched.map_reader is None:
            watched.map_reader = MapReader(watched.map_file)
        reader = watched.map_reader
        if reader.offset > _WATCHED_BYTES:
            return
        # Lines have no times; when the last one was written is the best that is known.
        start, written_ns = reader.offset, _written_ns(watched.map_file)
        if watched.marks:
            written_ns = max(written_ns, watched.marks[-1][1] + 1)
        # A list: whether one of them takes the place of another, and all of them are known afterwards.
        replaced = [watched.places.takes_place(found) for _, found in reader.read(_READ_BYTES)]
        if reader.offset > start:
            watched.marks.append((start, written_ns if start else 0))
        if any(replaced):
            self._note_replaced(watched, written_ns)

    def _read_dump(self, watched: _Watched) -> None:
        if watched.dump_file is None:
            return
        if watched.dump_reader is None:
            watched.dump_reader = DumpReader(watched.dump_file)
        for found in watched.dump_reader.read(_READ_RECORDS):
            is_whole = found.line is None
            if is_whole and watched.places.takes_place(found) and found.timestamp_ns:
                self._note_replaced(watched, found.timestamp_ns + self._ahead_ns)

    def _note_replaced(self, watched: _Watched, timestamp_ns: int) -> None:
        if watched.n_replaced < _MOST_REPLACEMENTS:
            watched.n_replaced += 1
            self._on_replaced(watched.pid, timestamp_ns)


def _rows(watched: _Watched, ahead_ns: int) -> Iterator[JitCodeRow]:
    if watched.map_file is not None:
        marks = watched.marks or [(0, 0)]
        index = 0
        for offset, found in islice(MapReader(watched.map_file).read(), MOST_DEFINITIONS):
            while index + 1 < len(marks) and marks[index + 1][0] <= offset:
                index += 1
            yield _row(watched.pid, found, marks[index][1])
    if watched.dump_file is not None:
        for found in islice(DumpReader(watched.dump_file).read(), MOST_DEFINITIONS):
            yield _row(watched.pid, found, found.timestamp_ns + ahead_ns if found.timestamp_ns else 0)


def _row(pid: int, found: Definition, timestamp_ns: int) -> JitCodeRow:
    place = (found.address, found.size_bytes)
    return JitCodeRow(pid, 0, min(timestamp_ns, (1 << 63) - 1), *place, found.name, found.file, found.line)


def _portions(rows: Iterator[JitCodeRow]) -> Iterator[list[JitCodeRow]]:
    """Yield *rows* numbered, some at a time."""
    number = 0
    while portion := [row._replace(number=number + n) for n, row in enumerate(islice(rows, _ROWS_AT_ONCE))]:
        number += len(portion)
        yield portion


def _ahead_ns(clock: int) -> int:
    """
    Return by how much the clock of events, which goes on in suspend, is ahead of another one.

    Of several comparisons the one that took least: between two clocks a busy machine may be elsewhere for as
    long as code takes to be replaced.
    """
    comparisons = []
    for _ in range(_COMPARISONS):
        before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        other_ns = time.clock_gettime_ns(clock)
        took_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - before_ns
        comparisons.append((took_ns, before_ns - other_ns))
    return min(comparisons)[1]


def _written_ns(descriptor: int) -> int:
    """Return when the file was written last, on the clock of events; no later than now."""
    written_ns = os.fstat(descriptor).st_mtime_ns + _ahead_ns(time.CLOCK_REALTIME)
    return min(written_ns, time.clock_gettime_ns(time.CLOCK_BOOTTIME))


def _own_number(pid: int) -> int:
    """Return the number of *pid* in its own pid namespace."""
    for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return pid


def _open_in(root: int, name: bytes) -> int:
    """Open *name* below *root*, whatever links there are on the way (openat2(2))."""
    how = _OPEN_HOW.pack(_READ_FLAGS, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    descriptor: int = libc.syscall(_SYS_OPENAT2, root, name, how, len(how))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor


def _regular(open_: Callable[[], int], owner: int | None = None) -> int | None:
    """Return the open file if it is a regular one, of *owner* or of root."""
    try:
        descriptor = open_()
    except OSError:
        return None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and (owner is None or status.st_uid in (owner, 0)):
        return descriptor
    os.close(descriptor)
    return None


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        with contextlib.suppress(OSError):
            os.close(descriptor)
