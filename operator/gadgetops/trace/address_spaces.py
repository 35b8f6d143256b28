"""
Which file lay where in which process, and when: followed as it happens, so that a process that is gone by the
end can still be symbolised.

The kernel reports each executable mapping, fork, exec and exit as perf side-band records
(perf_event_open(2)), here on every CPU; those of other processes are not kept.
"""

import bisect
import contextlib
import mmap
import os
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple, Self

from gadgetops.errors import KernelRefused
from gadgetops.recording.schema import JIT_MODULE, ModuleRow, ProcessRow
from gadgetops.stacks.naming.files import File, Files, Root, build_id_of
from gadgetops.trace.jit_files import JitFiles
from gadgetops.trace.kernel.perf_event import ATTRIBUTE_BYTES, perf_event_open
from gadgetops.trace.processes import is_alive, memory_holder, name_of, ranges_of, threads_of
from gadgetops.trace.shared_memory import NewTask, SharedMemory

_SOFTWARE, _DUMMY = 1, 9
_TRACEPOINT: Final = 2
_SAMPLE_TID_TIME: Final = 2 | 4
_SAMPLE_RAW: Final = 1 << 10
_CLOCK_BOOTTIME: Final = 7
_FLAG_BITS: Final = (8, 9, 13, 18, 23, 24, 25)
"""mmap, comm, task, sample_id_all, mmap2, comm_exec, use_clockid."""
_INODE_FLAG_BITS: Final = (8, 18, 23, 25)
"""mmap, sample_id_all, mmap2, use_clockid."""
_TASK_FLAG_BITS: Final = (18, 25)
"""sample_id_all, use_clockid."""
_FLAG_BUILD_ID: Final = 34
_DATA_PAGES: Final = 256
_INODE_PAGES: Final = 128
_TASK_PAGES: Final = 32
_FORK_KNOWN_S: Final = 2
"""How long it may take at most until a new process's fork is read, once it is known to share memory."""
_LOST, _COMM, _EXIT, _FORK, _SAMPLE, _MMAP2 = 2, 3, 4, 7, 9, 10
_MISC_EXEC: Final = 1 << 13
_MISC_BUILD_ID: Final = 1 << 14
_REMEMBERED_REPLACED: Final = 256
"""How many replaced mappings of a process are remembered, for events from just before."""
_GONE_NS: Final = 5_000_000_000
"""How long after its end a process is forgotten, on the clock of the events that were taken."""
ANONYMOUS: Final = "//anon"
_WITHOUT_FILE: Final = (ANONYMOUS, "/anon_hugepage", "/dev/zero", "/SYSV", "[heap]", "[stack", "[anon")
"""How paths begin of memory that has no file, or one that nobody wrote code to."""
_EVERYWHERE: Final = (1 << 63) - 1
_TWIN_NS: Final = 20_000_000
"""Two reports of one mapping, with its build id and with its inode, are no further apart."""


@dataclass(eq=False)
class Mapping:
    """
    One executable mapping; addresses and offsets in bytes, time in ns since boot.

    Attributes:
        pid: The process that made it; what it forks meanwhile has it too.
        file: A handle on the file; None if it could not be had.
        inode: What the kernel knows the file by: device, number, generation; None if it did not say.
        module_id: Its number in the recording, once a frame lies in it.
        frame_ids: Numbers of the return addresses that lie in it, by address.
    """

    pid: int
    timestamp_ns: int
    start_address: int
    end_address: int
    file_offset: int
    path: str
    build_id: str | None
    file: File | None = None
    inode: tuple[int, ...] | None = None
    module_id: int | None = None
    frame_ids: dict[int, int] = field(default_factory=dict)

    @property
    def is_module(self) -> bool:
        """Whether an offset into it means anything: code that was generated at run time has no file."""
        return not self.path.startswith(_WITHOUT_FILE)

    def offset_bytes(self, address: int) -> int:
        """Return where *address* lies in the file."""
        return address - self.start_address + self.file_offset

    def is_twin(self, other: "Mapping") -> bool:
        """Return whether *other* reports the same mapping again."""
        return (
            abs(self.timestamp_ns - other.timestamp_ns) < _TWIN_NS
            and (self.start_address, self.end_address) == (other.start_address, other.end_address)
            and (self.file_offset, self.path) == (other.file_offset, other.path)
        )

    def parts_beside(self, other: "Mapping") -> Iterator["Mapping"]:
        """Yield what is left of it, below and above, when *other* is mapped over it."""
        if self.start_address < other.start_address:
            yield replace(self, end_address=other.start_address)
        if other.end_address < self.end_address:
            offset = self.offset_bytes(other.end_address)
            yield replace(
                self, start_address=other.end_address, file_offset=offset, module_id=None, frame_ids={}
            )


class AddressSpace:
    """
    What one process has mapped, and until when it had what was replaced meanwhile.

    Attributes:
        comm: Name of the process.
        container: The container it is in, if known.
        threads: Its threads.
        root: Its root folder, when last seen.
        stack_numbers: The recording's stack for each kernel's id, caller, and time since which generated code
            is as it is; while these mean the same.
        is_stranger: Whether it is followed only because it gave events, and so are those that it starts.
        stacks: Number of each stack, by its frames; shared with forked processes until one executes anew.
        n_changes: How often what it maps has changed.
        changed_ns: When it did last.
        module_ids: Numbers of the modules that are mapped, once somebody asked and until that changes.
        generated: Stands for code without a file, wherever it lies: one, and another one from each time on at
            which code took the place of other code.
    """

    def __init__(self) -> None:
        self.comm: str | None = None
        self.container: str | None = None
        self.threads: set[int] = set()
        self.root: Root | None = None
        self.is_stranger = False
        self.stack_numbers: dict[tuple[int, int, bool, int], int] = {}
        self.stacks: dict[tuple[int, ...], int] = {}
        self.n_changes = 0
        self.changed_ns = 0
        self.module_ids: list[int] | None = None
        self.generated: list[Mapping] = []
        self._starts: list[int] = []
        self._mappings: list[Mapping] = []
        self._replaced: deque[tuple[int, Mapping]] = deque(maxlen=_REMEMBERED_REPLACED)

    def forked(self) -> "AddressSpace":
        """Return the space of a process that was just forked from this one; its threads are not known yet."""
        child = AddressSpace()
        child.comm, child.container, child.root = self.comm, self.container, self.root
        child.stacks, child.is_stranger = self.stacks, self.is_stranger
        child.generated = self.generated[-1:]
        child._starts, child._mappings = [*self._starts], [*self._mappings]
        return child

    def add(self, new: Mapping) -> None:
        """Map *new*, in place of what was there."""
        self._note_change(new.timestamp_ns)
        if not new.is_module and not (self.generated and self.generated[-1].pid == new.pid):
            self.add_generated(new.pid, new.timestamp_ns)
        low = bisect.bisect_right(self._starts, new.start_address) - 1
        low = low if low >= 0 and self._mappings[low].end_address > new.start_address else low + 1
        high = bisect.bisect_left(self._starts, new.end_address)
        covered = self._mappings[low:high]
        kept = [part for old in covered for part in old.parts_beside(new)]
        mappings = sorted([*kept, new], key=lambda mapping: mapping.start_address)
        self._mappings[low:high] = mappings
        self._starts[low:high] = [mapping.start_address for mapping in mappings]
        self._replaced.extend((new.timestamp_ns, old) for old in covered)
        if covered:
            self.stack_numbers.clear()

    def twin(self, new: Mapping) -> Mapping | None:
        """Return the mapping that *new* reports again, if there is one."""
        index = bisect.bisect_right(self._starts, new.start_address) - 1
        return self._mappings[index] if index >= 0 and self._mappings[index].is_twin(new) else None

    def mappings(self) -> tuple[Mapping, ...]:
        """Return what is mapped now, in order of addresses."""
        return tuple(self._mappings)

    def exec(self, timestamp_ns: int) -> None:
        """Forget what is mapped: the process executes another program."""
        self._note_change(timestamp_ns)
        self._replaced.extend((timestamp_ns, old) for old in self._mappings)
        self._starts, self._mappings, self.generated = [], [], []
        self.stack_numbers, self.stacks = {}, {}

    def add_generated(self, pid: int, timestamp_ns: int) -> None:
        """Note that what code without a file means changes at *timestamp_ns*, as *pid* says."""
        self._note_change(timestamp_ns)
        new = Mapping(pid, timestamp_ns, 0, _EVERYWHERE, 0, JIT_MODULE, None)
        bisect.insort_right(self.generated, new, key=lambda each: each.timestamp_ns)
        self.stack_numbers.clear()

    def generated_at(self, timestamp_ns: int) -> Mapping | None:
        """Return what stands for code without a file at *timestamp_ns*; None where there is none."""
        index = bisect.bisect_right(self.generated, timestamp_ns, key=lambda each: each.timestamp_ns) - 1
        return self.generated[max(index, 0)] if self.generated else None

    def paths(self) -> frozenset[str]:
        """Return the paths of the files that are mapped now."""
        return frozenset(mapping.path for mapping in self._mappings if mapping.path.startswith("/"))

    def at(self, timestamp_ns: int) -> tuple[Mapping, ...]:
        """Return what was mapped at *timestamp_ns*, in order of addresses, then what was generated."""
        generated = self.generated_at(timestamp_ns)
        return (*self._files_at(timestamp_ns), *([] if generated is None else [generated]))

    def _files_at(self, timestamp_ns: int) -> tuple[Mapping, ...]:
        if timestamp_ns >= self.changed_ns:
            return tuple(self._mappings)
        replaced = (
            mapping for until_ns, mapping in self._replaced if mapping.timestamp_ns <= timestamp_ns < until_ns
        )
        current = (mapping for mapping in self._mappings if mapping.timestamp_ns <= timestamp_ns)
        return tuple(sorted([*replaced, *current], key=lambda mapping: mapping.start_address))

    def _note_change(self, timestamp_ns: int) -> None:
        self.n_changes += 1
        self.changed_ns = max(self.changed_ns, timestamp_ns)
        self.module_ids = None

    def find(self, address: int, timestamp_ns: int) -> Mapping | None:
        """Return what held *address* at *timestamp_ns*, else what did afterwards, else None."""
        index = bisect.bisect_right(self._starts, address) - 1
        now = self._mappings[index] if index >= 0 and address < self._mappings[index].end_address else None
        if now is not None and now.timestamp_ns <= timestamp_ns:
            return now
        before = (
            mapping
            for until_ns, mapping in self._replaced
            if mapping.timestamp_ns <= timestamp_ns < until_ns
            and mapping.start_address <= address < mapping.end_address
        )
        return next(before, now)


class _Record(NamedTuple):
    """One record of the kernel: `perf_event_header` and body, perf_event_open(2)."""

    timestamp_ns: int
    kind: int
    misc: int
    body: bytes


class AddressSpaces:
    """
    What processes have mapped: those given to `follow`, and those that they start, as somebody reports it.

    Use as a context manager, and call `read` now and then.

    Args:
        container_of: Says which container a process is in; asked once for each process that is followed, its
            descendants are taken to be in the same.
    """

    def __init__(self, container_of: Callable[[int], str | None] = lambda _pid: None) -> None:
        self.spaces: dict[int, AddressSpace] = {}
        self.lost = 0
        """Reports for which there was no room."""
        self.files: dict[int, File] = {}
        """The file of each module, by its number, as far as it could be had."""
        self.on_exit: Callable[[int, AddressSpace], None] = lambda _pid, _space: None
        """Told of each followed process that has ended, with what it had mapped."""
        self.jit = JitFiles(self._take_replaced)
        """What processes say about code that they generate."""
        self.regenerated: set[int] = set()
        """Processes in which code took the place of other code."""
        self.on_thread_exit: Callable[[int, int], None] = lambda _pid, _tid: None
        """Told of each thread that has ended before the last one of its process: process, and thread."""
        self.on_map: Callable[[int, Mapping], None] = lambda _pid, _mapping: None
        """Told of each mapping of a followed process whose inode is known."""
        self.shared = SharedMemory()
        """Who runs in the memory of another process."""
        self._container_of = container_of
        self._kept = Files()
        self._processes: list[ProcessRow] = []
        self._gone: dict[int, tuple[int, AddressSpace]] = {}
        self._begun_ns: dict[int, int] = {}
        """Until when reports of a followed process's fork are of the past, or repeat one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.jit.close()

    def read(self) -> None:
        """Take in what happened up to this call."""
        self.jit.poll()

    def take_records(self, records: Iterable[bytes]) -> None:
        """Take in what came beside the events; the kernel's gadget sends nothing that is of use here."""

    def finish(self) -> None:
        """Take what is known by now as all: nothing is sent any more."""

    def follow(self, pid: int) -> AddressSpace:
        """Begin with what process *pid* maps now; it may be gone."""
        space = self.spaces[pid] = AddressSpace()
        space.comm = name_of(pid)
        space.container = self._container_of(pid)
        space.threads = _threads_now(pid)
        holder = memory_holder(pid)
        space.root = self._kept.root_of(holder)
        for mapping in _mapped_now(pid):
            self._map(space, mapping, holder)
        self._begun_ns[pid] = now_ns()
        self._note(self._begun_ns[pid], pid, "start", space)
        return space

    def space(self, pid: int) -> AddressSpace:
        """Return what *pid* has mapped, or had until it went; one that is not followed yet is from now on."""
        if pid in self.spaces:
            return self.spaces[pid]
        if pid not in self._gone:
            self.follow(pid).is_stranger = True
            self._forget_if_gone(now_ns(), pid)
        return self.spaces[pid] if pid in self.spaces else self._gone[pid][1]

    def forget_gone(self, taken_ns: int) -> None:
        """
        Forget the processes that nobody will ask for any more.

        Args:
            taken_ns: About up to when events were taken: their stacks may be asked for long after the end of
                their process, where there are more than are taken at once.
        """
        self._gone = {pid: gone for pid, gone in self._gone.items() if gone[0] + _GONE_NS > taken_ns}
        self.shared.forget(taken_ns - _GONE_NS)

    def forget_ended(self) -> None:
        """Forget the followed processes that have ended though that was not reported."""
        ended = [pid for pid in self.spaces if not is_alive(pid)]
        # First what is reported: a process that is forgotten before has no children.
        self.read()
        for pid in ended:
            if pid in self.spaces:
                self._forget(now_ns(), pid, self.spaces[pid])

    def module(self, mapping: Mapping) -> ModuleRow:
        """Return the row of a mapping that has its number, and keep its file at hand."""
        number = -1 if mapping.module_id is None else mapping.module_id
        if mapping.file is not None:
            self.files[number] = mapping.file
            mapping.build_id = mapping.build_id or build_id_of(mapping.file.path)
        return ModuleRow(
            number,
            mapping.pid,
            mapping.path,
            mapping.build_id,
            mapping.start_address,
            mapping.end_address,
            mapping.file_offset,
            mapping.timestamp_ns,
        )

    def take_processes(self) -> list[ProcessRow]:
        """Return what befell the followed processes since the last call, in order of time."""
        rows, self._processes = self._processes, []
        return rows

    def _fork(self, timestamp_ns: int, pid: int, parent: int, tid: int) -> None:
        origin = self.spaces.get(parent)
        if origin is None:
            return
        if pid != parent and timestamp_ns > self._begun_ns.get(pid, 0):
            self._begun_ns[pid] = timestamp_ns + _TWIN_NS
            self.spaces[pid] = origin.forked()
            self._share(pid)
            self._note(timestamp_ns, pid, "fork", self.spaces[pid], parent)
        if pid in self.spaces:
            self.spaces[pid].threads.add(tid)

    def _exit(self, timestamp_ns: int, pid: int, tid: int, space: AddressSpace) -> None:
        """Note that a thread has ended, and with the last one the process, whose memory is forgotten."""
        space.threads.discard(tid)
        if space.threads:
            self.on_thread_exit(pid, tid)
        else:
            self._forget(timestamp_ns, pid, space)

    def _forget_if_gone(self, timestamp_ns: int, pid: int) -> None:
        """Note that a process has ended whose end was not reported."""
        if not Path(f"/proc/{pid}").exists():
            self._forget(timestamp_ns, pid, self.spaces[pid])

    def _forget(self, timestamp_ns: int, pid: int, space: AddressSpace) -> None:
        self.jit.forget(pid)
        self.shared.end(pid, timestamp_ns)
        self.on_exit(pid, space)
        self._note(timestamp_ns, pid, "exit", space)
        self._gone[pid] = (timestamp_ns, self.spaces.pop(pid))
        self._begun_ns.pop(pid, None)

    def _map(self, space: AddressSpace, mapping: Mapping, holder: int) -> None:
        twin = space.twin(mapping)
        if twin is None:
            if mapping.is_module:
                where = (mapping.start_address, mapping.end_address)
                mapping.file = self._kept.mapped(holder, mapping.path, *where, root=space.root)
                self.jit.watch_dump(mapping.pid, mapping.path, mapping.file, space.root)
            else:
                self.jit.watch(mapping.pid, space.root)
            space.add(mapping)
            twin = mapping
        twin.build_id, twin.inode = twin.build_id or mapping.build_id, twin.inode or mapping.inode
        if twin.inode is not None:
            self.on_map(twin.pid, twin)

    def _take_replaced(self, pid: int, timestamp_ns: int) -> None:
        if pid in self.spaces:
            self.spaces[pid].add_generated(pid, timestamp_ns)
            self.regenerated.add(pid)

    def _note(
        self, timestamp_ns: int, pid: int, event: str, space: AddressSpace, parent: int | None = None
    ) -> None:
        self._processes.append(ProcessRow(timestamp_ns, pid, event, parent, space.comm, space.container))

    def _share(self, child: int) -> None:
        """Note that *child* runs in its parent's memory, if that is known."""


class ModuleTracker(AddressSpaces):
    """
    Follows the mappings of the processes given to `follow` and of those that they start.

    Use as a context manager, and call `read` now and then: the kernel keeps 1 MiB a CPU meanwhile.

    Args:
        container_of: Says which container a process is in; asked once for each process that is followed, its
            descendants are taken to be in the same.

    Raises:
        TraceError: The kernel refuses to report mappings.
    """

    def __init__(self, container_of: Callable[[int], str | None] = lambda _pid: None) -> None:
        super().__init__(container_of)
        self._new_task: NewTask | None = None
        with contextlib.suppress(OSError, ValueError):
            self._new_task = NewTask()
        self._held_back: list[_Record] = []
        self._fds: list[int] = []
        self._buffers: list[mmap.mmap] = []
        self._inode_buffers: list[mmap.mmap] = []
        self._task_buffers: list[mmap.mmap] = []
        self._sharers: dict[int, tuple[int, float]] = {}
        for cpu in sorted(os.sched_getaffinity(0) | set(range(os.cpu_count() or 1))):
            self._open(cpu)

    def __exit__(self, *_: object) -> None:
        for buffer in [*self._buffers, *self._inode_buffers, *self._task_buffers]:
            buffer.close()
        for fd in self._fds:
            os.close(fd)
        super().__exit__()

    def read(self) -> None:
        """Take in what happened up to this call."""
        until_ns = now_ns()
        self._read_new_tasks()
        records = [*self._held_back, *(record for buffer in self._buffers for record in _records(buffer))]
        records += self._inodes()
        records.sort(key=lambda record: record.timestamp_ns)
        # A CPU that is read first may lack what happened before a record of one that is read last.
        end = bisect.bisect_right(records, until_ns, key=lambda record: record.timestamp_ns)
        self._held_back = records[end:]
        for record in records[:end]:
            self._take(record)
        if any(record.kind == _LOST for record in records[:end]):
            self.forget_ended()
        super().read()

    def _take(self, record: _Record) -> None:
        if record.kind == _LOST:
            self.lost += struct.unpack_from("<Q", record.body, 8)[0]
            return
        pid, second, tid = struct.unpack_from("<III", record.body)
        if record.kind == _FORK:
            self._fork(record.timestamp_ns, pid, parent=second, tid=tid)
        elif (space := self.spaces.get(pid)) is None:
            return
        elif record.kind == _EXIT:
            self._exit(record.timestamp_ns, pid, tid, space)
        elif record.kind == _COMM:
            self._named(record, pid, second, space)
        elif record.kind == _MMAP2:
            self._map(space, _mapping(pid, record), second)
            owner = self.shared.owner(pid)
            if owner != pid and owner in self.spaces:
                self._map(self.spaces[owner], _mapping(owner, record), second)

    def _inodes(self) -> Iterator[_Record]:
        """Yield mappings with their inode; events that report mappings report forks, too."""
        for record in (record for buffer in self._inode_buffers for record in _records(buffer)):
            if record.kind == _MMAP2:
                yield record._replace(misc=record.misc & ~_MISC_BUILD_ID)
            elif record.kind == _LOST:
                yield record

    def _read_new_tasks(self) -> None:
        """Learn which processes share memory; reports of their forks are taken in afterwards."""
        if self._new_task is None:
            return
        now_s = time.monotonic()
        self._sharers = {
            child: found for child, found in self._sharers.items() if found[1] + _FORK_KNOWN_S > now_s
        }
        for record in (record for buffer in self._task_buffers for record in _records(buffer)):
            if record.kind != _SAMPLE:
                self.lost += record.kind == _LOST
                continue
            (parent,) = struct.unpack_from("<I", record.body)
            (size,) = struct.unpack_from("<I", record.body, 16)
            child = self._new_task.sharer(record.body[20 : 20 + size])
            if child is not None:
                self._sharers[child] = (parent, now_s)
                self._share(child)

    def _share(self, child: int) -> None:
        """Note that *child* runs in its parent's memory if both that and its fork are known."""
        if child in self._sharers and child in self.spaces:
            parent, _ = self._sharers.pop(child)
            self.shared.begin(child, parent, self._begun_ns[child] - _TWIN_NS)

    def _named(self, record: _Record, pid: int, tid: int, space: AddressSpace) -> None:
        name = record.body[8:].split(b"\0", 1)[0].decode(errors="replace")
        if record.misc & _MISC_EXEC:
            space.comm, space.threads = name, {pid}
            self.jit.forget(pid)
            space.exec(record.timestamp_ns)
            self.shared.end(pid, record.timestamp_ns)
            self._note(record.timestamp_ns, pid, "exec", space)
        elif pid == tid:
            space.comm = name

    def _open(self, cpu: int) -> None:
        try:
            fd = _open_reports(cpu)
        except OSError as error:
            raise KernelRefused(
                "the kernel does not report mappings",
                error.strerror,
                hint="run as root; see /proc/sys/kernel/perf_event_paranoid",
            ) from error
        self._fds.append(fd)
        self._buffers.append(mmap.mmap(fd, (1 + _DATA_PAGES) * mmap.PAGESIZE, mmap.MAP_SHARED))
        self._open_inodes(cpu)
        self._open_new_tasks(cpu)

    def _open_inodes(self, cpu: int) -> None:
        """
        Have the inodes of mappings reported, too, which a build id takes the place of.

        In a buffer of their own: the mark of a build id stays on a report when it is given to further events.
        """
        with contextlib.suppress(OSError):
            fd = perf_event_open(_attribute(_SOFTWARE, _DUMMY, _INODE_FLAG_BITS), pid=-1, cpu=cpu)
            self._fds.append(fd)
            size = (1 + _INODE_PAGES) * mmap.PAGESIZE
            self._inode_buffers.append(mmap.mmap(fd, size, mmap.MAP_SHARED))

    def _open_new_tasks(self, cpu: int) -> None:
        """Have new processes reported, in a buffer of their own: tracepoints have not the others' clock."""
        if self._new_task is None:
            return
        sample = _SAMPLE_TID_TIME | _SAMPLE_RAW
        kind = _TRACEPOINT, self._new_task.id, _TASK_FLAG_BITS
        with contextlib.suppress(OSError):
            fd = perf_event_open(
                _attribute(*kind, period=1, sample=sample, clock=time.CLOCK_MONOTONIC), pid=-1, cpu=cpu
            )
            self._fds.append(fd)
            size = (1 + _TASK_PAGES) * mmap.PAGESIZE
            self._task_buffers.append(mmap.mmap(fd, size, mmap.MAP_SHARED))


def _open_reports(cpu: int) -> int:
    """Return the event of *cpu* that reports mappings, with build ids since Linux 5.12."""
    try:
        with_build_id = (*_FLAG_BITS, _FLAG_BUILD_ID)
        return perf_event_open(_attribute(_SOFTWARE, _DUMMY, with_build_id), pid=-1, cpu=cpu)
    except OSError:
        return perf_event_open(_attribute(_SOFTWARE, _DUMMY, _FLAG_BITS), pid=-1, cpu=cpu)


def _attribute(
    kind: int,
    config: int,
    flag_bits: Iterable[int],
    *,
    period: int = 0,
    sample: int = _SAMPLE_TID_TIME,
    clock: int = _CLOCK_BOOTTIME,
) -> bytes:
    """Return a `struct perf_event_attr`."""
    flags = sum(1 << bit for bit in flag_bits)
    attribute = bytearray(ATTRIBUTE_BYTES)
    struct.pack_into("<IIQQQQQ", attribute, 0, kind, len(attribute), config, period, sample, 0, flags)
    struct.pack_into("<i", attribute, 92, clock)
    return bytes(attribute)


def _records(buffer: mmap.mmap) -> Iterator[_Record]:
    """Yield each finished record and free the room."""
    # The first page is the kernel's own, the others hold the records.
    page, size = mmap.PAGESIZE, len(buffer) - mmap.PAGESIZE
    head, tail = struct.unpack_from("<QQ", buffer, 1024)
    data = b"".join(_ranges(buffer, page, size, tail, head))
    position = 0
    while position + 8 <= len(data):
        kind, misc, length = struct.unpack_from("<IHH", data, position)
        if length < 24:
            break
        at = position + (16 if kind == _SAMPLE else length - 8)
        (timestamp_ns,) = struct.unpack_from("<Q", data, at)
        if kind in (_LOST, _COMM, _EXIT, _FORK, _SAMPLE, _MMAP2):
            yield _Record(timestamp_ns, kind, misc, data[position + 8 : position + length])
        position += length
    struct.pack_into("<Q", buffer, 1032, head)


def _ranges(buffer: mmap.mmap, page: int, size: int, tail: int, head: int) -> Iterator[bytes]:
    start, count = tail % size, head - tail
    first = min(count, size - start)
    yield buffer[page + start : page + start + first]
    yield buffer[page : page + count - first]


def _mapping(pid: int, record: _Record) -> Mapping:
    body = record.body
    start, length, file_offset = struct.unpack_from("<QQQ", body, 8)
    has_build_id = record.misc & _MISC_BUILD_ID
    build_id = body[36 : 36 + body[32]].hex() if has_build_id else None
    inode = None if has_build_id else struct.unpack_from("<IIQQ", body, 32)
    path = body[64:].split(b"\0", 1)[0].decode(errors="surrogateescape")
    end = start + length
    return Mapping(pid, record.timestamp_ns, start, end, file_offset, path, build_id, inode=inode)


def _mapped_now(pid: int) -> Iterator[Mapping]:
    with contextlib.suppress(OSError):
        for each in ranges_of(memory_holder(pid)):
            if each.is_code:
                path = each.path or ANONYMOUS
                path = f"{path} (deleted)" if each.is_deleted else path
                yield Mapping(pid, 0, each.start_address, each.end_address, each.file_offset, path, None)


def _threads_now(pid: int) -> set[int]:
    """Return the threads of *pid* that have not ended; the first one may have, before the others."""
    threads = threads_of(pid)
    return threads if memory_holder(pid) == pid else threads - {pid}


def now_ns() -> int:
    """Return the time on the clock of events and records."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
