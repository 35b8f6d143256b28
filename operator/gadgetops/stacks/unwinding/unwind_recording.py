"""
Make the stacks of a recording from its slices, when it ends or later, here or elsewhere.

Slices are read file by file and unwound a few at a time; stacks become durable in portions. So memory does
not grow with the number of slices, and whoever comes after an interruption goes on where it happened.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gadgetops.errors import RecordingError
from gadgetops.recording.reader import Recording
from gadgetops.recording.schema import FrameRow, StackRow
from gadgetops.recording.writer import drop_slices
from gadgetops.stacks.naming.symbolize import Finder
from gadgetops.stacks.unwinding.libdw import Unwound
from gadgetops.stacks.unwinding.recorded_slices import IsWanted, jobs_of
from gadgetops.stacks.unwinding.stack_join import Joiner
from gadgetops.stacks.unwinding.unwind_pool import Job, MappedModule, SliceCopy, unwound

_ENDS: Final = ("complete", "cut", "unknown", "joined")
_TRAMPOLINE: Final = "[uprobes]"
_PORTION_STACKS: Final = 16_384
_PORTION_S: Final = 10.0
"""Stacks become durable when so many were made, or so much time has passed."""
_STORED_FRAMES: Final = "select frame_id, module_id, address from stored_frames"
_NUMBERS_AT_ONCE: Final = 10_000
_ADDRESSES: Final = 1 << 64
"""Recordings have addresses signed, by their bits."""


class Sink(Protocol):
    """Takes stacks."""

    def write_frames(self, rows: Sequence[FrameRow]) -> None:
        """Append return addresses."""

    def write_stacks(self, rows: Sequence[StackRow]) -> None:
        """Append stacks."""

    def close_segment(self) -> None:
        """Make durable what was appended."""


@dataclass
class Unwinding:
    """
    The stacks of the slices of one recording.

    Args:
        recording: Open.
        finder: Has the files.
        leaves_missing: Leave slices for later whose stack ends in a file that *finder* does not have.

    Attributes:
        n_slices: How many there are to unwind; known with the first stack.
        n_done: How many of them were unwound.
        ends: How many stacks ended for which reason, see `unwind.End`; and how many were `joined` of several
            slices.
        missing: Files in which stacks ended that were left for later, with the number of these stacks.
        problems: Why slices could not be read, a sentence for each file.
    """

    recording: Recording
    finder: Finder
    leaves_missing: bool = False
    n_slices: int = 0
    n_done: int = 0
    ends: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_ENDS, 0))
    missing: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _unfinished: set[Path] = field(default_factory=set)
    _is_found: dict[int, bool] = field(default_factory=dict)

    def write(
        self,
        sink: Sink,
        *,
        keep_slices: bool,
        is_stopped: Callable[[], bool] = lambda: False,
        on_progress: Callable[[int, int], None] = lambda _n_done, _n_slices: None,
    ) -> bool:
        """
        Write the stacks to *sink*, then drop the slices of which all stacks are written.

        Args:
            sink: Takes stacks.
            keep_slices: Drop none.
            is_stopped: As soon as it says so, the rest is left for later.
            on_progress: Told now and then how many slices of how many are unwound.

        Returns:
            Whether all was done.

        Raises:
            TraceError: The unwinder is not installed.
            RecordingError: The recording cannot be read.
            StorageError: A file cannot be written.
        """
        n_open, closed_s = 0, time.monotonic()
        for frames, stack in self.rows():
            if is_stopped():
                sink.close_segment()
                return False
            sink.write_frames(frames)
            sink.write_stacks([stack])
            n_open += 1
            if n_open >= _PORTION_STACKS or time.monotonic() - closed_s >= _PORTION_S:
                sink.close_segment()
                n_open, closed_s = 0, time.monotonic()
            on_progress(self.n_done, self.n_slices)
        sink.close_segment()
        if not keep_slices:
            drop_slices(path for path in self._files if path not in self._unfinished)
        return True

    def rows(self) -> Iterator[tuple[list[FrameRow], StackRow]]:
        """
        Yield each stack with the return addresses that it is the first to have.

        Raises:
            TraceError: The unwinder is not installed.
            RecordingError: The recording cannot be read.
        """
        self.n_done, self.ends = 0, dict.fromkeys(_ENDS, 0)
        # The reader leaves out files that are not as their checksums say.
        self.problems = [each for each in self.recording.problems if each.startswith("slices-")]
        with self.recording.connect() as connection:
            frames = _Frames(connection.execute(_STORED_FRAMES).fetchall())
            is_known = _Numbers(connection.execute("select stack_id from stacks").fetchnumpy()["stack_id"])
        self.n_slices = sum(self._n_wanted(path, is_known) for path in self._files)
        joiner, mapped = Joiner(), {}
        for found, modules, stack in self._unwound(lambda stack_id, _: stack_id not in is_known):
            self.n_done += 1
            if joiner.add(found.stack_id, found.pid, found.timestamp_ns, stack):
                mapped[found.stack_id] = modules
            elif not self._is_left(modules, stack):
                yield self._row(frames, found.stack_id, modules, stack)
        if pids := joiner.cut_pids:
            # What was unwound before an interruption may complete what comes now.
            for found, _, stack in self._unwound(lambda stack_id, pid: stack_id in is_known and pid in pids):
                joiner.add(found.stack_id, found.pid, found.timestamp_ns, stack)
        for stack_id, stack, is_joined in joiner.joined():
            if stack_id in mapped:
                self.ends["joined"] += is_joined
                yield self._row(frames, stack_id, mapped[stack_id], stack)

    @property
    def _files(self) -> list[Path]:
        """Files of slices; the recorder drops them when it ends, whoever reads meanwhile."""
        return [path for path in self.recording.tables["slices"] if path.exists()]

    def _row(
        self, frames: "_Frames", stack_id: int, mapped: Sequence[MappedModule], stack: Unwound
    ) -> tuple[list[FrameRow], StackRow]:
        self.ends[stack.end] += 1
        return frames.rows_of(stack_id, mapped, _without_trampoline(stack.addresses, mapped))

    def _unwound(self, is_wanted: IsWanted) -> Iterator[tuple[SliceCopy, Sequence[MappedModule], Unwound]]:
        """Yield the slices that are wanted, without their memory, what was mapped, and the stack of each."""
        jobs = chain.from_iterable(self._jobs(path, is_wanted) for path in self._files)
        for done in unwound(jobs, self.n_slices, self.finder, self._machine):
            for found, stack in zip(done.job.slices, done.stacks, strict=True):
                yield found, done.job.mapped, stack

    def _n_wanted(self, path: Path, is_known: "_Numbers") -> int:
        """Return how many slices of *path* are not unwound; those that can be read."""
        n_wanted = 0
        with contextlib.suppress(RecordingError):
            for rows in self.recording.streamed("slices", path, "stack_id", _NUMBERS_AT_ONCE):
                n_wanted += sum(number not in is_known for (number,) in rows)
        return n_wanted

    def _jobs(self, path: Path, is_wanted: IsWanted) -> Iterator[Job]:
        """Yield the slices of one file; one that is damaged costs what comes after the damage."""
        try:
            yield from jobs_of(self.recording, path, is_wanted)
        except RecordingError as error:
            self._unfinished.add(path)
            self.problems.append(str(error))

    def _is_left(self, mapped: Sequence[MappedModule], stack: Unwound) -> bool:
        """Return whether a stack is left for later, for want of the file in which it ended."""
        if not self.leaves_missing or stack.end != "unknown":
            return False
        module = _module_at(mapped, stack.addresses[-1])
        if module is None or not module.path.startswith("/") or self._has_file(module):
            return False
        self.missing[module.path] = self.missing.get(module.path, 0) + 1
        self._unfinished.update(self._files)
        return True

    def _has_file(self, module: MappedModule) -> bool:
        if module.number not in self._is_found:
            path = self.finder.code(module.number, module.path, module.build_id)
            self._is_found[module.number] = path is not None
        return self._is_found[module.number]

    @property
    def _machine(self) -> str:
        """The machine that was recorded, as `uname -m` says it."""
        host = self.recording.header.get("host")
        return str(host.get("machine")) if isinstance(host, dict) else ""


def _module_at(mapped: Sequence[MappedModule], address: int) -> MappedModule | None:
    return next((each for each in mapped if each.start <= address < each.end), None)


def _without_trampoline(addresses: list[int], mapped: Sequence[MappedModule]) -> list[int]:
    """
    Leave out the address by which the kernel catches the return of a probed function.

    It stands in place of the return address, which only the kernel knows then.
    """
    places = [module for module in mapped if module.path == _TRAMPOLINE]
    is_caught = any(place.start <= addresses[-1] < place.end for place in places)
    return addresses[:-1] if is_caught else addresses


class _Numbers:
    """A set of small numbers, a byte each."""

    def __init__(self, numbers: NDArray[Any]) -> None:
        self._flags = np.zeros(int(numbers.max(initial=-1)) + 1, np.bool_)
        self._flags[numbers] = True

    def __contains__(self, number: int) -> bool:
        return 0 <= number < len(self._flags) and bool(self._flags[number])


class _Frames:
    """Numbers return addresses, on from those that are *stored*: number, module and address of each."""

    def __init__(self, stored: Sequence[tuple[int, int | None, int]]) -> None:
        self._next = max((number for number, _, _ in stored), default=-1) + 1
        self._known = {(module_id, address % _ADDRESSES): number for number, module_id, address in stored}
        self._mapped: Sequence[MappedModule] = ()
        self._in_mapped: dict[int, int] = {}
        """Of the stacks that saw `_mapped`, which come together, by address alone."""

    def rows_of(
        self, stack_id: int, mapped: Sequence[MappedModule], addresses: Sequence[int]
    ) -> tuple[list[FrameRow], StackRow]:
        """Return the new frames of a stack, and the stack."""
        if self._mapped != mapped:
            self._mapped, self._in_mapped = mapped, {}
        new: list[FrameRow] = []
        for address in addresses:
            if address not in self._in_mapped:
                self._in_mapped[address] = self._number(mapped, address, new)
        return new, StackRow(stack_id, [self._in_mapped[address] for address in addresses])

    def _number(self, mapped: Sequence[MappedModule], address: int, new: list[FrameRow]) -> int:
        module = _module_at(mapped, address)
        key = (module.number if module else None, address)
        if key not in self._known:
            self._known[key] = self._next
            self._next += 1
            offset = None if module is None else address - module.start + module.offset
            new.append(FrameRow(self._known[key], address, key[0], offset))
        return self._known[key]
