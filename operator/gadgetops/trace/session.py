"""
One recording from beginning to end: load, attach, read until something ends it, symbolise, close.

Nothing is symbolised while events come in: the loop only copies columns out of the ring buffer and takes note
of mappings.
"""

import contextlib
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gadgetops.errors import TraceError
from gadgetops.recording.writer import RecordingWriter, drop_slices
from gadgetops.trace.allocator import Allocator
from gadgetops.trace.code_pages import CodePages
from gadgetops.trace.drain import Drain
from gadgetops.trace.frame_pointers import need_no_slices
from gadgetops.trace.loader import STACK_MAP, Loader
from gadgetops.trace.modules import ModuleTracker
from gadgetops.trace.probes import Attached, Probes
from gadgetops.trace.ring import Batch, RingBuffer
from gadgetops.trace.settler import Settler
from gadgetops.trace.slice_stacks import SliceStacks
from gadgetops.trace.slices import SLICE_MISSED, SliceAssembler
from gadgetops.trace.stacks import CALLER_ONLY, StackCollector, no_stacks

_SAID_EVERY: Final = 500
"""After how many stacks it is said how many are unwound."""
_PROBE_KINDS: Final = {"uprobe": False, "uretprobe": True}


OnEvents = Callable[[Mapping[str, NDArray[Any]], Sequence[str]], None]
"""Shown each batch of events: columns as the gadget wrote them, and the names of operations."""


class Session:
    """
    A gadget in the kernel, attached to one target.

    Args:
        loader: Loads it.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self._object, self._layout, self._bpf = loader.object, loader.layout, loader.bpf
        self._stacks: StackCollector
        self._slice_stacks: SliceStacks | None = None
        self._assembler: SliceAssembler
        self._settler: Settler | None = None
        self._unwound: dict[str, int] = {}
        self._n_missed = 0
        self._tracker: ModuleTracker
        self._ring = contextlib.ExitStack()
        self._drain: Drain | None = None
        self.attached = Attached()
        self._probes = Probes(self._bpf, self.attached, loader.options.probe_at)
        self.n_events = 0
        self.on_events: OnEvents = lambda _columns, _operations: None

    @contextlib.contextmanager
    def loaded(self) -> Iterator[None]:
        """Have the object loaded for the length of the block."""
        with self.loader.loaded():
            fd = self._bpf.map_fd(self._layout.map)
            with self._settling(fd) as self._settler, self._ring:
                yield

    def find_places(self, allocators: Iterable[Allocator]) -> None:
        """Find out where `attach` will put probes, which takes time that there is while it is loaded."""
        for allocator in allocators:
            self._probes.find_places(allocator)

    def _settling(self, ring_fd: int) -> contextlib.AbstractContextManager[Settler | None]:
        """Return what tells the gadget where code is, if it is to send slices."""
        if self.loader.slice_layout is None:
            return contextlib.nullcontext()
        needs_none = need_no_slices if self.loader.options.unwind == "auto" else _none_needs_none
        return Settler(CodePages(self._object, self._bpf.data(".bss"), needs_none), ring_fd)

    def attach(self, allocator: Allocator) -> None:
        """
        Attach every program of the gadget: returns first, so that no call is noted whose return is not seen.

        What is attached already stays as it is. A program without a function in *allocator* is `missing`
        until another one has it.

        Raises:
            TraceError: None of the gadget's functions is there, or the kernel refuses.
        """
        for program in sorted(self._object.programs, key=lambda program: program.section, reverse=True):
            kind, _, place = program.section.partition("/")
            if kind in _PROBE_KINDS:
                function = place.rpartition(":")[2]
                self._probes.attach(program.name, function, allocator, at_return=_PROBE_KINDS[kind])
            elif program.name not in self.attached.programs:
                self._bpf.attach(program.name)
                self.attached.add_elsewhere(program.name, program.section)
        if not self._probes.n_attached:
            raise TraceError(f"{allocator.path}: none of the gadget's functions is there")

    def begin(self, writer: RecordingWriter, tracker: ModuleTracker) -> None:
        """Have stacks go to *writer* from now on, and mean what *tracker* says."""
        size_bytes = next((m.value_size_bytes for m in self._object.maps if m.name == STACK_MAP), 0)
        self._tracker = tracker
        self._stacks = StackCollector(
            tracker, writer, lambda kernel_id: self._bpf.look_up(STACK_MAP, kernel_id, size_bytes)
        )
        layout = self.loader.slice_layout
        if layout is not None:
            self._assembler = SliceAssembler(layout)
            self._slice_stacks = SliceStacks(tracker, self._stacks, writer)

    def drain(self) -> None:
        """
        Begin to empty the ring buffer, beside all else, which it has room for.

        Mapping it takes so long that the target should run by then.
        """
        layout = self._layout
        room = self._bpf.map_fd(layout.map), self._bpf.max_entries(layout.map)
        ring = self._ring.enter_context(RingBuffer(*room, layout.dtype, layout.event_bytes))
        self._drain = self._ring.enter_context(Drain(ring))

    def read(self, writer: RecordingWriter, at_most: int | None = None) -> bool:
        """
        Take a part of what the gadget sent into *writer* and return whether there was any.

        Args:
            writer: Takes them.
            at_most: Drop what comes after so many.
        """
        batch = None if self._drain is None else self._drain.take()
        # After the events: what they refer to was mapped before them.
        self._tracker.read()
        if batch is not None:
            self._take(batch, writer, at_most)
        self._tracker.forget_gone(_taken_ns(batch))
        writer.write_processes(self._tracker.take_processes())
        writer.tick()
        return batch is not None

    def _take(self, batch: Batch, writer: RecordingWriter, at_most: int | None) -> None:
        columns = {name: column[:at_most] for name, column in batch.columns.items()}
        count = len(columns["pid"])
        if self._slice_stacks is not None:
            self._slice_stacks.take(self._assembler.take(batch.others))
        if count == 0:
            return
        self.on_events(columns, self._layout.operations)
        columns["stack_id"] = self._stack_numbers(columns, count)
        columns.setdefault("lost", np.zeros(count, np.uint64))
        writer.write_events(columns, self._layout.operations)
        self.n_events += count

    def detach(self) -> None:
        """Detach all programs, and empty the ring buffer into memory: `read` takes what is there."""
        self._bpf.detach()
        if self._drain is not None:
            self._drain.stop()

    def counters(self) -> dict[str, int]:
        """
        Return how many so far, as the gadget counts them.

        `events` are those recorded; of those `lost`, `given_up` were in calls that never returned.
        `caller_only` are events of whose stack there was no time to take a copy.
        """
        return {
            "events": self.n_events,
            "lost": self.loader.variable("lost_events"),
            "given_up": self.loader.variable("given_up_events"),
            "failed_stacks": self.loader.variable("failed_stacks"),
            **self._stacks.counters,
            **({} if self._slice_stacks is None else self._slice_stacks.counters),
            **self._unwound,
            "caller_only": self._n_missed,
            "lost_mappings": self._tracker.lost,
        }

    def close(
        self,
        writer: RecordingWriter,
        tracker: ModuleTracker,
        *,
        end: str,
        is_hurried: Callable[[], bool] = lambda: False,
        on_stage: Callable[[str], None] = lambda _what: None,
    ) -> None:
        """
        Take in what befell processes meanwhile, symbolise what was collected and close the recording.

        As soon as *is_hurried* says so, without symbols: the rest is there, and they can be found later. What
        takes its time is said to *on_stage*.
        """
        tracker.read()
        writer.write_processes(tracker.take_processes())
        writer.close_segment()
        ways = {} if self._settler is None else self._settler.stop()
        self._walk(writer, [pid for pid, way in ways.items() if way == "fp"])
        if self._slice_stacks is not None and self.loader.options.symbolise:
            self._unwind(writer, tracker, is_hurried, on_stage)
        if self.loader.options.symbolise:
            on_stage("finding functions and lines")
            self._find_symbols(writer, tracker, is_hurried)
        facts = {} if self._settler is None else {"unwind": Counter(ways.values())}
        writer.close(counters=self.counters(), end=end, facts=facts)

    def _walk(self, writer: RecordingWriter, pids: Sequence[int]) -> None:
        """Make stacks of what processes sent before it was known that they need no slices."""
        # Imported here and below: what is needed when it ends does not keep it from beginning.
        from gadgetops.recording.reader import open_recording  # noqa: PLC0415
        from gadgetops.trace.slice_walk import walked  # noqa: PLC0415

        if self._slice_stacks is not None and self._slice_stacks.counters["slices"] and pids:
            for stack in walked(open_recording(writer.path), pids, platform.machine()):
                self._stacks.write(*stack)
            writer.close_segment()

    def _find_symbols(
        self, writer: RecordingWriter, tracker: ModuleTracker, is_hurried: Callable[[], bool]
    ) -> None:
        from gadgetops.recording.reader import open_recording  # noqa: PLC0415
        from gadgetops.trace.symbolise import Finder, symbols_of  # noqa: PLC0415

        found = symbols_of(open_recording(writer.path), Finder(files=tracker.files))
        symbols = [*takewhile(lambda _: not is_hurried(), found)]
        writer.write_symbols(() if is_hurried() else symbols)

    def _unwind(
        self,
        writer: RecordingWriter,
        tracker: ModuleTracker,
        is_hurried: Callable[[], bool],
        on_stage: Callable[[str], None],
    ) -> None:
        """Make stacks of the slices; what is left when it is to hurry stays for later."""
        from gadgetops.recording.reader import open_recording  # noqa: PLC0415
        from gadgetops.trace.symbolise import Finder  # noqa: PLC0415
        from gadgetops.trace.unwinding import Unwinding  # noqa: PLC0415

        finder = Finder(files=tracker.files)
        unwinding = Unwinding(open_recording(writer.path), finder)
        rows = takewhile(lambda _: not is_hurried(), unwinding.rows())
        for n_done, (frames, stack) in enumerate(rows):
            if n_done % _SAID_EVERY == 0:
                on_stage(f"unwinding stacks, {n_done:,} of {unwinding.n_slices:,}")
            writer.write_frames(frames)
            writer.write_stacks([stack])
        writer.close_segment()
        self._unwound = {f"unwound_{end}": count for end, count in unwinding.ends.items()}
        if not is_hurried() and not self.loader.options.keep_slices:
            drop_slices(writer.path)

    def _stack_numbers(self, columns: dict[str, NDArray[Any]], count: int) -> NDArray[np.int32]:
        if not self.loader.options.collect_stacks or "stack_id" not in columns:
            return no_stacks(count)
        columns.setdefault("caller", np.zeros(count, np.uint64))
        slices = columns.get("slice", np.zeros(count, np.uint64))
        is_missed, is_sliced = slices == SLICE_MISSED, slices > SLICE_MISSED
        is_walked = ~is_sliced
        columns["stack_id"][is_missed] = CALLER_ONLY
        self._n_missed += int(is_missed.sum())
        numbers = np.empty(count, np.int32)
        walked = (columns[name][is_walked] for name in ("pid", "stack_id", "caller", "timestamp_ns"))
        numbers[is_walked] = self._stacks.number(*walked)
        if self._slice_stacks is not None:
            numbers[is_sliced] = self._slice_stacks.number(slices[is_sliced])
        return numbers


def _taken_ns(batch: Batch | None) -> int:
    """Return about up to when everything was taken, on the clock of the events."""
    if batch is None:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    times_ns = batch.columns["timestamp_ns"]
    return int(times_ns[-1]) if len(times_ns) else 0


def _none_needs_none(_pid: int, _paths: frozenset[str]) -> bool:
    return False
