"""
Unwinding slices: all of a job at once as far as their rules are simple, and the rest by libdw, one by one.

Where there are many slices, several processes share them.
"""

import contextlib
import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from typing import Final, NamedTuple

from gadgetops.recording.schema import registers_of
from gadgetops.stacks.batch_unwinder import Lockstep
from gadgetops.stacks.libdw import MappedFile, Unwinder, Unwound
from gadgetops.stacks.symbolize import Finder

_WORTH_A_PROCESS: Final = 3000
"""So many slices take longer than a process takes to begin."""
_AHEAD: Final = 4
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


class Job(NamedTuple):
    """
    Some slices.

    Attributes:
        mapped: What they saw mapped.
        slices: Of each the stack's number, the registers, 8 bytes each, and the memory.
    """

    mapped: tuple[MappedModule, ...]
    slices: Sequence[tuple[int, bytes, bytes]]


class Done(NamedTuple):
    """The stacks of one job, by their numbers."""

    mapped: tuple[MappedModule, ...]
    stacks: Sequence[tuple[int, Unwound]]


def unwound(jobs: Iterable[Job], n_slices: int, finder: Finder, machine: str) -> Iterator[Done]:
    """
    Yield what became of *jobs*, in their order.

    Args:
        jobs: Taken a few ahead.
        n_slices: About how many they have together.
        finder: Has the files.
        machine: As `uname -m` says it.

    Raises:
        TraceError: libdw is missing, or the machine is none that is known.
    """
    n_processes = min(os.cpu_count() or 1, n_slices // _WORTH_A_PROCESS)
    if n_processes < 2:
        with contextlib.closing(_Worker(finder, machine)) as worker:
            yield from map(worker.do, jobs)
        return
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(n_processes, fork, _begin, (finder, machine)) as pool:
        waiting: deque[Future[Done]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(_do, job))
                if len(waiting) > _AHEAD * n_processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class _Worker:
    """Does jobs one after the other; those that saw the same files mapped share what was read of them."""

    def __init__(self, finder: Finder, machine: str) -> None:
        self._finder = finder
        self._machine = machine
        self._mapped: tuple[MappedModule, ...] | None = None
        self._lockstep: Lockstep
        self._unwinder: Unwinder
        self._opened = contextlib.ExitStack()

    def do(self, job: Job) -> Done:
        if self._mapped != job.mapped:
            self._opened.close()
            files = [self._file(module) for module in job.mapped]
            self._unwinder = self._opened.enter_context(Unwinder(files, self._machine))
            self._lockstep = Lockstep(files)
            self._mapped = job.mapped
        found = self._lockstep.unwind([(registers, memory) for _, registers, memory in job.slices])
        stacks = [
            (number, self._by_libdw(registers, memory) if stack is None else Unwound(stack, "complete"))
            for (number, registers, memory), stack in zip(job.slices, found, strict=True)
        ]
        return Done(job.mapped, stacks)

    def close(self) -> None:
        self._opened.close()

    def _by_libdw(self, registers: bytes, memory: bytes) -> Unwound:
        return self._unwinder.unwind(registers_of(registers), memory)

    def _file(self, module: MappedModule) -> MappedFile:
        identity = (module.number, module.path, module.build_id)
        path = self._finder.code(*identity)
        return MappedFile(path, module.start, module.offset, partial(self._finder.debug_file, *identity))


_workers: list[_Worker] = []
"""The one of this process, where it was forked to be one."""


def _begin(finder: Finder, machine: str) -> None:
    _workers.append(_Worker(finder, machine))


def _do(job: Job) -> Done:
    return _workers[0].do(job)
