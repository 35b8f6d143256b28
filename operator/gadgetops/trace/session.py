"""
The events of one recording, from the ring buffer to a recording that is complete.

Nothing is symbolised while events come in: the loop only copies columns out of the ring buffer and takes note
of mappings.
"""

import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gadgetops.recording.operations import RELEASES
from gadgetops.recording.writer import RecordingWriter
from gadgetops.trace.address_spaces import AddressSpaces
from gadgetops.trace.events.drain import Drain
from gadgetops.trace.events.layout import EventLayout
from gadgetops.trace.events.records import Batch, decode
from gadgetops.trace.events.slice_ids import SliceStacks
from gadgetops.trace.events.slices import SLICE_MISSED, PathAssembler, SliceAssembler, SliceLayout
from gadgetops.trace.events.stack_ids import CALLER_ONLY, StackCollector, no_stacks

OnEvents = Callable[[Mapping[str, NDArray[Any]], Sequence[str]], None]
"""Shown each batch of events: columns as the gadget wrote them, and the names of operations."""


class OnStage(Protocol):
    """Told what is done when nothing is recorded any more."""

    def __call__(self, what: str, done: int = 0, of: int = 0) -> None:
        """Take *what*, and how much is done of how much; 0 where nobody knows."""


class Source(Protocol):
    """Sends events: a gadget in the kernel, or a library in the programs themselves."""

    @property
    def drain(self) -> Drain:
        """What it sends."""

    @property
    def layout(self) -> EventLayout:
        """How an event lies in what it sends."""

    @property
    def slice_layout(self) -> SliceLayout | None:
        """How slices come; None if none do."""

    @property
    def path_bytes(self) -> int | None:
        """Length of a record that is part of a stack which it walked itself; None if there are none."""

    @property
    def wanted(self) -> "Wanted":
        """What is to become of what it sends."""

    def stack(self, kernel_id: int) -> bytes | None:
        """Return the addresses, leaf first, of the stack that the kernel keeps by this id."""

    def counter(self, name: str) -> int:
        """Return how often something happened, by the name of the gadget's variable; 0 if it has none."""

    def detach(self) -> None:
        """Have no events sent any more."""

    def end_settling(self) -> dict[int, str]:
        """Stop deciding, and return by which way processes have their stacks: `fp` or `dwarf`, by pid."""


class Wanted(Protocol):
    """How to record, as far as a session decides it; see `kernel.loader.Options`."""

    @property
    def collect_stacks(self) -> bool:
        """Whether events have stacks."""

    @property
    def symbolise(self) -> bool:
        """Whether to find functions and lines when the recording ends."""

    @property
    def keep_slices(self) -> bool:
        """Whether slices stay when stacks have been made of them."""


class Session:
    """
    Takes what a source sends, as long as it does.

    Args:
        attachment: The source.
        tracker: Says what addresses mean.
        writer: Takes the events, and what they refer to.

    Attributes:
        attachment: The same.
        tracker: The same.
        writer: The same.
        n_events: Written so far.
        on_events: Is shown what comes.
    """

    def __init__(self, attachment: Source, tracker: AddressSpaces, writer: RecordingWriter) -> None:
        self.attachment = attachment
        self.tracker = tracker
        self.writer = writer
        self._stacks = StackCollector(tracker, writer, attachment.stack)
        slices = attachment.slice_layout
        self._assembler = None if slices is None else SliceAssembler(slices)
        self._paths = PathAssembler(attachment.path_bytes)
        self._has_own_stacks = slices is not None or attachment.path_bytes is not None
        self._slice_stacks = SliceStacks(tracker, self._stacks, writer)
        self._unwound: dict[str, int] = {}
        self._n_missed = 0
        self.n_events = 0
        self.on_events: OnEvents = lambda _columns, _operations: None

    def read(self, at_most: int | None = None) -> bool:
        """Write a part of what the gadget sent, *at_most* so many events; return whether there was any."""
        batch = self._next_batch()
        # After the events: what they refer to was mapped before them.
        self.tracker.read()
        if batch is not None:
            self._take(batch, at_most)
        self.tracker.forget_gone(_taken_ns(batch))
        self.writer.write_processes(self.tracker.take_processes())
        self.writer.tick()
        return batch is not None

    def _next_batch(self) -> Batch | None:
        records, layout = self.attachment.drain.take(), self.attachment.layout
        return None if records is None else decode(records, layout.dtype, layout.event_bytes)

    def _take(self, batch: Batch, at_most: int | None) -> None:
        columns = {name: column[:at_most] for name, column in batch.columns.items()}
        count = len(columns["pid"])
        self.tracker.take_records(batch.others)
        if self._assembler is not None:
            self._slice_stacks.take(self._assembler.take(batch.others))
        self._slice_stacks.take(self._paths.take(batch.others))
        if count == 0:
            return
        # Whose memory it was: what a child of vfork() releases is its parent's.
        columns["pid"] = self.tracker.shared.owners(columns["pid"], columns["timestamp_ns"])
        self.on_events(columns, self.attachment.layout.operations)
        columns["stack_id"] = self._stack_numbers(columns, count)
        columns.setdefault("lost", np.zeros(count, np.uint64))
        self.writer.write_events(columns, self.attachment.layout.operations)
        self.n_events += count

    def detach(self) -> None:
        """Detach all programs; from now on `read` waits for what there still is."""
        self.attachment.detach()
        self.attachment.drain.stop()

    def counters(self) -> dict[str, int]:
        """
        Return how many so far, as the gadget counts them.

        `events` are those recorded; of those `lost`, `given_up` were in calls that never returned.
        `caller_only` are events of whose stack there was no time to take a copy.
        """
        return {
            "events": self.n_events,
            "lost": self.attachment.counter("lost_events"),
            "given_up": self.attachment.counter("given_up_events"),
            "failed_stacks": self.attachment.counter("failed_stacks"),
            **self._stacks.counters,
            **(self._slice_stacks.counters if self._has_own_stacks else {}),
            **self._unwound,
            "caller_only": self._n_missed,
            "lost_mappings": self.tracker.lost,
        }

    def close(
        self,
        *,
        end: str,
        is_hurried: Callable[[], bool] = lambda: False,
        on_stage: OnStage = lambda _what, _done=0, _of=0: None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Take in what befell processes meanwhile, symbolise what was collected and close the recording.

        As soon as *is_hurried* says so, without symbols: the rest is there, and they can be found later. What
        takes its time is said to *on_stage*.
        """
        # First: a helper that has ended takes no memory, and what follows takes most.
        ways = self.attachment.end_settling()
        self.tracker.read()
        self.tracker.finish()
        self.writer.write_processes(self.tracker.take_processes())
        for rows in self.tracker.jit.rows():
            self.writer.write_jit_code(rows)
            self.writer.tick()
        self.writer.close_segment()
        self._walk([pid for pid, way in ways.items() if way == "fp"])
        try:
            if self.attachment.wanted.symbolise:
                self._unwind(is_hurried, on_stage)
                self._find_symbols(is_hurried, on_stage)
        finally:
            # Whatever failed: what is there is a recording, and `symbolize` goes on.
            known = {"unwind": Counter(ways.values())} if self._assembler is not None else {}
            self.writer.close(counters=self.counters(), end=end, facts={**known, **(facts or {})})

    def _walk(self, pids: Sequence[int]) -> None:
        """Make stacks of what processes sent before it was known that they need no slices."""
        # Imported here and below: what is needed when it ends does not keep it from beginning.
        from gadgetops.recording.reader import open_recording  # noqa: PLC0415
        from gadgetops.stacks.unwinding.frame_pointer_walk import walked  # noqa: PLC0415

        if self._slice_stacks.counters["slices"] and pids:
            for stack in walked(open_recording(self.writer.path), pids, platform.machine()):
                self._stacks.write(*stack)
            self.writer.close_segment()

    def _find_symbols(self, is_hurried: Callable[[], bool], on_stage: OnStage) -> None:
        if not self.writer.has_frames:
            return
        from gadgetops.recording.reader import open_recording  # noqa: PLC0415
        from gadgetops.stacks.naming.symbolize import Finder, symbols_of  # noqa: PLC0415

        symbols = []
        on_stage("finding functions and lines")
        for symbol in symbols_of(open_recording(self.writer.path), Finder(files=self.tracker.files)):
            if is_hurried():
                return
            symbols.append(symbol)
        self.writer.write_symbols(symbols)

    def _unwind(self, is_hurried: Callable[[], bool], on_stage: OnStage) -> None:
        """Make stacks of the slices that came; what is left when it is to hurry stays for later."""
        if not self._slice_stacks.counters["slices"]:
            return
        from gadgetops.recording.reader import open_recording  # noqa: PLC0415
        from gadgetops.stacks.naming.symbolize import Finder  # noqa: PLC0415
        from gadgetops.stacks.unwinding.unwind_recording import Unwinding  # noqa: PLC0415

        unwinding = Unwinding(open_recording(self.writer.path), Finder(files=self.tracker.files))
        try:
            unwinding.write(
                self.writer,
                keep_slices=self.attachment.wanted.keep_slices,
                is_stopped=is_hurried,
                on_progress=lambda done, of: on_stage("unwinding stacks", done, of),
            )
        finally:
            self._unwound = {f"unwound_{end}": count for end, count in unwinding.ends.items()}

    def _stack_numbers(self, columns: dict[str, NDArray[Any]], count: int) -> NDArray[np.int32]:
        if not self.attachment.wanted.collect_stacks or not {"stack_id", "slice"} & columns.keys():
            return no_stacks(count)
        columns.setdefault("caller", np.zeros(count, np.uint64))
        columns.setdefault("stack_id", np.zeros(count, np.uint32))
        slices = columns.get("slice", np.zeros(count, np.uint64))
        is_missed, is_sliced = slices == SLICE_MISSED, slices > SLICE_MISSED
        is_walked = ~is_sliced
        columns["stack_id"][is_missed] = CALLER_ONLY
        self._n_missed += int(is_missed.sum())
        numbers = np.empty(count, np.int32)
        columns["have_returned"] = ~self._are_releases(columns)
        names = ("pid", "stack_id", "caller", "timestamp_ns", "have_returned")
        numbers[is_walked] = self._stacks.number(*(columns[name][is_walked] for name in names))
        sliced = (columns[name][is_sliced] for name in ("pid", "timestamp_ns"))
        numbers[is_sliced] = self._slice_stacks.number(slices[is_sliced], *sliced)
        return numbers

    def _are_releases(self, columns: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Return which events are of releases, which are seen as they begin; all others as they return."""
        operations = self.attachment.layout.operations
        codes = [code for code, name in enumerate(operations) if name in RELEASES]
        return np.isin(columns["operation"], codes)


def _taken_ns(batch: Batch | None) -> int:
    """Return about up to when everything was taken, on the clock of the events."""
    if batch is None:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    times_ns = batch.columns["timestamp_ns"]
    return int(times_ns[-1]) if len(times_ns) else 0
