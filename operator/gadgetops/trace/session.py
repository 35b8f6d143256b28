"""
One recording from beginning to end: load, attach, read until something ends it, symbolise, close.

Nothing is symbolised while events come in: the loop only copies columns out of the ring buffer and takes note
of mappings.
"""

import contextlib
import platform
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from gadgetops.bpf.contract import Contract, Parameter
from gadgetops.bpf.object import Object
from gadgetops.errors import TraceError, UsageError
from gadgetops.recording.writer import RecordingWriter, drop_slices
from gadgetops.trace.allocator import Allocator
from gadgetops.trace.code_pages import CodePages
from gadgetops.trace.drain import Drain
from gadgetops.trace.events import EventLayout
from gadgetops.trace.frame_pointers import need_no_slices
from gadgetops.trace.libbpf import LoadedObject
from gadgetops.trace.modules import ModuleTracker
from gadgetops.trace.probes import AT_PROLOGUE, Attached, Probes
from gadgetops.trace.ring import Batch, RingBuffer
from gadgetops.trace.settler import Settler
from gadgetops.trace.slice_stacks import SliceStacks
from gadgetops.trace.slices import SLICE_MISSED, SliceAssembler, SliceLayout
from gadgetops.trace.stacks import CALLER_ONLY, StackCollector, no_stacks

_STACK_MAP: Final = "ig_ustack"
_NAMESPACE_MAP: Final = "gadget_mntns_filter_map"
_PROBE_KINDS: Final = {"uprobe": False, "uretprobe": True}


OnEvents = Callable[[Mapping[str, NDArray[Any]], Sequence[str]], None]
"""Shown each batch of events: columns as the gadget wrote them, and the names of operations."""


Unwind = Literal["auto", "fp", "dwarf"]


@dataclass(frozen=True)
class Options:
    """
    How to record.

    Attributes:
        parameters: Run-time parameters of the gadget, by key as ig names them.
        buffer_bytes: Of the ring buffer; a power of two.
        max_stacks: Distinct stacks that the kernel can keep.
        collect_stacks: Ask for a stack with each event.
        symbolise: Find functions and lines when the recording ends; else addresses and modules are kept.
        probe_at: Where in a function probes go, one of `probes.PROBE_AT`.
        unwind: How stacks are made. `fp`: the kernel walks by frame pointers; `dwarf`: from slices; `auto`:
            from slices for processes that map code without frame pointers.
        keep_slices: Do not drop slices when stacks have been made of them.
        slice_bytes: How deep into a stack slices reach; a multiple of 4096.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    buffer_bytes: int = 256 << 20
    max_stacks: int = 32768
    collect_stacks: bool = True
    symbolise: bool = True
    probe_at: str = AT_PROLOGUE
    unwind: Unwind = "auto"
    keep_slices: bool = False
    slice_bytes: int = 32 << 10


class Session:
    """
    A gadget in the kernel, attached to one target.

    Args:
        data: The BPF object.
        options: How to record.
    """

    def __init__(self, data: bytes, options: Options) -> None:
        self._object = Object.from_bytes(data)
        self._layout = EventLayout.from_object(self._object)
        self._options = options
        self._bpf = LoadedObject(data, "gadgetops")
        self._stacks: StackCollector
        self._slice_stacks: SliceStacks | None = None
        self._assembler: SliceAssembler
        self._settler: Settler | None = None
        self._unwound: dict[str, int] = {}
        self._n_missed = 0
        self._tracker: ModuleTracker
        self._drain: Drain
        self._mount_namespaces: tuple[int, ...] = ()
        self.attached = Attached()
        self._probes = Probes(self._bpf, self.attached, options.probe_at)
        self.n_events = 0
        self.on_events: OnEvents = lambda _columns, _operations: None

    @contextlib.contextmanager
    def loaded(self) -> Iterator[None]:
        """Load the object for the length of the block."""
        with self._bpf:
            self._configure()
            self._bpf.load()
            for namespace in self._mount_namespaces:
                self._bpf.update(_NAMESPACE_MAP, struct.pack("<Q", namespace), struct.pack("<I", 0))
            layout = self._layout
            fd, size = self._bpf.map_fd(layout.map), self._bpf.max_entries(layout.map)
            with (
                self._settling(fd) as self._settler,
                RingBuffer(fd, size, layout.dtype, layout.event_bytes) as ring,
                Drain(ring) as self._drain,
            ):
                yield

    def _settling(self, ring_fd: int) -> contextlib.AbstractContextManager[Settler | None]:
        """Return what tells the gadget where code is, if it is to send slices."""
        if self._slice_layout is None:
            return contextlib.nullcontext()
        needs_none = need_no_slices if self._options.unwind == "auto" else _none_needs_none
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

    def filter_mount_namespaces(self, inodes: Sequence[int]) -> None:
        """Let only processes in these mount namespaces give events; to be called before it is loaded."""
        self._mount_namespaces = tuple(inodes)

    def restrict(self, parameters: Mapping[str, str]) -> None:
        """Set these parameters, too, before the object is loaded; those of the user go first."""
        self._options = replace(self._options, parameters={**parameters, **self._options.parameters})

    def begin(self, writer: RecordingWriter, tracker: ModuleTracker) -> None:
        """Have stacks go to *writer* from now on, and mean what *tracker* says."""
        size_bytes = next((m.value_size_bytes for m in self._object.maps if m.name == _STACK_MAP), 0)
        self._tracker = tracker
        self._stacks = StackCollector(
            tracker, writer, lambda kernel_id: self._bpf.look_up(_STACK_MAP, kernel_id, size_bytes)
        )
        layout = self._slice_layout
        if layout is not None:
            self._assembler = SliceAssembler(layout)
            self._slice_stacks = SliceStacks(tracker, self._stacks, writer)

    def read(self, writer: RecordingWriter, at_most: int | None = None) -> bool:
        """
        Take a part of what the gadget sent into *writer* and return whether there was any.

        Args:
            writer: Takes them.
            at_most: Drop what comes after so many.
        """
        batch = self._drain.take()
        # After the events: what they refer to was mapped before them.
        self._tracker.read()
        if batch is not None:
            self._take(batch, writer, at_most)
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
        self._drain.stop()

    def counters(self) -> dict[str, int]:
        """
        Return how many so far, as the gadget counts them.

        `events` are those recorded; of those `lost`, `given_up` were in calls that never returned.
        `caller_only` are events of whose stack there was no time to take a copy.
        """
        return {
            "events": self.n_events,
            "lost": self._variable("lost_events"),
            "given_up": self._variable("given_up_events"),
            "failed_stacks": self._variable("failed_stacks"),
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
    ) -> None:
        """
        Take in what befell processes meanwhile, symbolise what was collected and close the recording.

        As soon as *is_hurried* says so, without symbols: the rest is there, and they can be found later.
        """
        tracker.read()
        writer.write_processes(tracker.take_processes())
        writer.close_segment()
        ways = {} if self._settler is None else self._settler.stop()
        self._walk(writer, [pid for pid, way in ways.items() if way == "fp"])
        if self._slice_stacks is not None and self._options.symbolise:
            self._unwind(writer, tracker, is_hurried)
        if self._options.symbolise:
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
        self, writer: RecordingWriter, tracker: ModuleTracker, is_hurried: Callable[[], bool]
    ) -> None:
        """Make stacks of the slices; what is left when it is to hurry stays for later."""
        from gadgetops.recording.reader import open_recording  # noqa: PLC0415
        from gadgetops.trace.symbolise import Finder  # noqa: PLC0415
        from gadgetops.trace.unwinding import Unwinding  # noqa: PLC0415

        finder = Finder(files=tracker.files)
        unwinding = Unwinding(open_recording(writer.path), finder)
        for frames, stack in takewhile(lambda _: not is_hurried(), unwinding.rows()):
            writer.write_frames(frames)
            writer.write_stacks([stack])
        writer.close_segment()
        self._unwound = {f"unwound_{end}": count for end, count in unwinding.ends.items()}
        if not is_hurried() and not self._options.keep_slices:
            drop_slices(writer.path)

    def _stack_numbers(self, columns: dict[str, NDArray[Any]], count: int) -> NDArray[np.int32]:
        if not self._options.collect_stacks or "stack_id" not in columns:
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

    def _configure(self) -> None:
        contract = Contract.from_object(self._object)
        known = {_spelled(parameter.key): parameter for parameter in contract.parameters}
        for key, text in self._options.parameters.items():
            parameter = known.get(_spelled(key))
            if parameter is None:
                raise UsageError(
                    f"the gadget has no parameter {key!r}", hint=f"it has {', '.join(sorted(known))}"
                )
            self._bpf.set_bytes(parameter.section, parameter.offset_bytes, encoded(parameter, text))
        self._set_flag("collect_ustack", self._options.collect_stacks)
        self._set_flag("collect_slices", self._slice_layout is not None)
        self._set("slice_bytes", self._options.slice_bytes.to_bytes(4, "little"))
        self._set_flag("gadget_buffer_is_polled", True)
        self._set_flag("gadget_filter_by_mntns", bool(self._mount_namespaces))
        self._bpf.resize(self._layout.map, self._options.buffer_bytes)
        if self._object.map(_STACK_MAP) is not None:
            self._bpf.resize(_STACK_MAP, self._options.max_stacks)

    @property
    def _slice_layout(self) -> SliceLayout | None:
        """How slices come, if they are asked for and this gadget has them."""
        is_asked = self._options.collect_stacks and self._options.unwind != "fp"
        return SliceLayout.from_object(self._object) if is_asked else None

    def _set_flag(self, name: str, value: bool) -> None:
        self._set(name, bytes([value]))

    def _set(self, name: str, value: bytes) -> None:
        variable = self._object.variable(name)
        if variable is not None:
            self._bpf.set_bytes(variable.section, variable.offset_bytes, value)

    def _variable(self, name: str) -> int:
        variable = self._object.variable(name)
        if variable is None:
            return 0
        value = self._bpf.get_bytes(variable.section, variable.offset_bytes, variable.size_bytes)
        return int.from_bytes(value, "little")


def _none_needs_none(_pid: int, _paths: frozenset[str]) -> bool:
    return False


def _spelled(key: str) -> str:
    """Return *key* as a flag; the object alone knows the variable's name, gadget.yaml the flag's."""
    return key.replace("_", "-")


def encoded(parameter: Parameter, text: str) -> bytes:
    """
    Return the bytes of *parameter*'s variable for the value *text*.

    Raises:
        UsageError: It is no such value.
    """
    kind = parameter.kind.lower()
    try:
        if kind == "bool":
            return bytes([{"true": 1, "1": 1, "false": 0, "0": 0}[text.lower()]])
        if "int" in kind:
            return int(text, 0).to_bytes(parameter.size_bytes, "little", signed=not kind.startswith("u"))
    except (KeyError, ValueError, OverflowError) as error:
        raise UsageError(f"parameter {parameter.key}: not a {kind}: {text!r}") from error
    value = text.encode()
    if len(value) > parameter.size_bytes:
        raise UsageError(f"parameter {parameter.key}: longer than {parameter.size_bytes} bytes: {text!r}")
    return value.ljust(parameter.size_bytes, b"\0")
