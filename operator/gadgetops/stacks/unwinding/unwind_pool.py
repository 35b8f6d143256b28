"""
Unwinding slices: all of a job at once as far as their rules are simple, and the rest by libdw, one by one.

Where there are many slices, several processes share them.
"""

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Final, NamedTuple

from gadgetops.recording.schema import registers_of
from gadgetops.stacks.naming.symbolize import Finder
from gadgetops.stacks.unwinding.batch_unwinder import Lockstep
from gadgetops.stacks.unwinding.libdw import STACK_POINTER, MappedFile, Unwinder, Unwound, check_machine
from gadgetops.stacks.unwinding.signed_addresses import SignatureRemover

_WORTH_A_PROCESS: Final = 3000
"""So many slices take longer than a process takes to begin."""
_MOST_PROCESSES: Final = 4
"""Each takes memory of its own."""
_RETURNS_TO_KERNEL_CODE: Final = "aarch64"
"""Machine on which signal handlers return to [vdso]."""
_AHEAD: Final = 2
"""Jobs that wait, for each process: they hold memory of stacks."""


class MappedModule(NamedTuple):
    """
    A file as it was mapped.

    Attributes:
        number: Its number in the recording.
        path: As the process saw it.
        build_id: Hex; None where unknown.
        start: First address.
        end: The one after the last.
        offset: Of the first byte in the file.
    """

    number: int
    path: str
    build_id: str | None
    start: int
    end: int
    offset: int


class SliceCopy(NamedTuple):
    """
    A copy of a stack to unwind.

    Attributes:
        stack_id: Number of the stack.
        pid: The process.
        timestamp_ns: When it was taken.
        registers: 8 bytes each, by DWARF's numbers.
        memory: From the stack pointer upwards.
    """

    stack_id: int
    pid: int
    timestamp_ns: int
    registers: bytes
    memory: bytes


class Job(NamedTuple):
    """
    Slices to unwind together.

    Attributes:
        mapped: What they saw mapped.
        slices: Some of them.
    """

    mapped: tuple[MappedModule, ...]
    slices: Sequence[SliceCopy]


class Done(NamedTuple):
    """
    What came of a job.

    Attributes:
        job: The job, whose slices have no memory any more.
        stacks: The stack of each slice.
    """

    job: Job
    stacks: Sequence[Unwound]


def unwound(jobs: Iterable[Job], n_slices: int, finder: Finder, machine: str) -> Iterator[Done]:
    """
    Yield what came of *jobs*, in their order.

    A process that ends over a job costs the stack of the slice that ended it.

    Args:
        jobs: Taken a few ahead.
        n_slices: About how many they have together.
        finder: Has the files.
        machine: As `uname -m` says it.

    Raises:
        TraceError: libdw is missing, or the machine is none that is known.
    """
    check_machine(machine)
    n_processes = min(os.cpu_count() or 1, n_slices // _WORTH_A_PROCESS, _MOST_PROCESSES)
    if n_processes < 2:
        with contextlib.closing(_Worker(finder, machine)) as worker:
            yield from map(worker.do, jobs)
        return
    start = partial(_pool, n_processes, finder, machine)
    waiting: deque[tuple[Job, Future[list[Unwound]]]] = deque()
    pool = start()
    try:
        for job in _with_end(jobs):
            if job is not None:
                waiting.append((job, _submitted(pool, job)))
            while waiting and (job is None or len(waiting) > _AHEAD * n_processes):
                first, future = waiting.popleft()
                try:
                    yield Done(_without_memory(first), future.result())
                except BrokenProcessPool:
                    yield Done(_without_memory(first), _with_care(first, finder, machine))
                    pool = start()
                    waiting = deque((each, _submitted(pool, each)) for each, _ in waiting)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _with_end(jobs: Iterable[Job]) -> Iterator[Job | None]:
    yield from jobs
    yield None


def _pool(n_processes: int, finder: Finder, machine: str) -> ProcessPoolExecutor:
    fork = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(n_processes, fork, _begin, (finder, machine))


def _submitted(pool: ProcessPoolExecutor, job: Job) -> "Future[list[Unwound]]":
    try:
        return pool.submit(_do, job)
    except BrokenProcessPool as error:
        failed: Future[list[Unwound]] = Future()
        failed.set_exception(error)
        return failed


def _with_care(job: Job, finder: Finder, machine: str) -> list[Unwound]:
    """Return the stacks of a job over which a process may have ended: halves of it, down to one slice."""
    with _pool(1, finder, machine) as pool:
        try:
            return _submitted(pool, job).result()
        except BrokenProcessPool:
            if len(job.slices) == 1:
                return [_leaf_alone(job.slices[0])]
    middle = len(job.slices) // 2
    halves = job.slices[:middle], job.slices[middle:]
    return [stack for half in halves for stack in _with_care(Job(job.mapped, half), finder, machine)]


def _without_memory(job: Job) -> Job:
    return Job(job.mapped, [each._replace(memory=b"") for each in job.slices])


def _leaf_alone(found: SliceCopy) -> Unwound:
    """Return a stack of which nothing is known but the program counter."""
    return Unwound([int.from_bytes(found.registers[-8:], "little")], "unknown")


class _Worker:
    """Does jobs one after the other; those that saw the same files mapped share what was read of them."""

    def __init__(self, finder: Finder, machine: str) -> None:
        self._finder = finder
        self._machine = machine
        self._mapped: tuple[MappedModule, ...] | None = None
        self._lockstep: Lockstep
        self._unwinder: Unwinder
        self._signatures: SignatureRemover
        self._opened = contextlib.ExitStack()

    def do(self, job: Job) -> Done:
        return Done(_without_memory(job), self.stacks(job))

    def stacks(self, job: Job) -> list[Unwound]:
        if self._mapped != job.mapped:
            self._opened.close()
            files = [self._file(module) for module in job.mapped]
            self._unwinder = self._opened.enter_context(Unwinder(files, self._machine))
            self._lockstep = Lockstep(files, self._signal_code(job.mapped))
            code = [(module.start, module.end) for module in job.mapped]
            self._signatures = SignatureRemover(code, self._machine)
            self._mapped = job.mapped
        slices = [self._plain(each) for each in job.slices]
        found = self._lockstep.unwind([(each.registers, each.memory) for each in slices])
        return [
            self._by_libdw(each) if stack is None else stack
            for each, stack in zip(slices, found, strict=True)
        ]

    def close(self) -> None:
        self._opened.close()

    def _signal_code(self, mapped: Sequence[MappedModule]) -> list[range]:
        """Return where signal handlers return to, unless that is in the C library."""
        is_of_kernel = self._machine == _RETURNS_TO_KERNEL_CODE
        return [range(m.start, m.end) for m in mapped if is_of_kernel and m.path == "[vdso]"]

    def _plain(self, found: SliceCopy) -> SliceCopy:
        registers, memory = map(self._signatures.plain, (found.registers, found.memory))
        return found._replace(registers=registers, memory=memory)

    def _by_libdw(self, found: SliceCopy) -> Unwound:
        registers = registers_of(found.registers)
        if len(registers) <= STACK_POINTER[self._machine]:
            return _leaf_alone(found)
        return self._unwinder.unwind(registers, found.memory)

    def _file(self, module: MappedModule) -> MappedFile:
        identity = (module.number, module.path, module.build_id)
        path = self._finder.code(*identity)
        return MappedFile(path, module.start, module.offset, partial(self._finder.debug_file, *identity))


_workers: list[_Worker] = []
"""The one of this process, where it was forked to be one."""


def _begin(finder: Finder, machine: str) -> None:
    # Ctrl-C is for the process that has the recording.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _workers.append(_Worker(finder, machine))


def _do(job: Job) -> list[Unwound]:
    return _workers[0].stacks(job)
