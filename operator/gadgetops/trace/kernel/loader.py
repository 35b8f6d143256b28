"""
A gadget on its way into the kernel: set up as asked for, and loaded, beside other work if it may.

The kernel checks a gadget for as long as finding the target's allocator takes. Nothing that is needed only
for the latter is imported here.
"""

import contextlib
import mmap
import os
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

from gadgetops.bpf.contract import Contract, Parameter
from gadgetops.bpf.maps import MapType
from gadgetops.bpf.object import Object
from gadgetops.errors import UsageError
from gadgetops.trace.events.layout import EventLayout
from gadgetops.trace.events.slices import SliceLayout
from gadgetops.trace.kernel.libbpf import LoadedObject
from gadgetops.trace.kernel.ring_map import NAME, RingMap
from gadgetops.trace.processes import ranges_of

STACK_MAP: Final = "ig_ustack"
_NAMESPACE_MAP: Final = "gadget_mntns_filter_map"

AT_PROLOGUE, AT_SYMBOL = "prologue", "symbol"
PROBE_AT: Final = (AT_PROLOGUE, AT_SYMBOL)
"""Where in a function probes can go: where they cost least, or to its first instruction."""

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
        probe_at: Where in a function probes go, one of `PROBE_AT`.
        unwind: How stacks are made. `fp`: the kernel walks by frame pointers; `dwarf`: from slices; `auto`:
            from slices for processes that map code without frame pointers.
        keep_slices: Do not drop slices when stacks have been made of them.
        slice_bytes: How deep into a stack slices reach; a multiple of `SLICE_PART_BYTES`.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    buffer_bytes: int = 64 << 20
    max_stacks: int = 32768
    collect_stacks: bool = True
    symbolise: bool = True
    probe_at: str = AT_PROLOGUE
    unwind: Unwind = "auto"
    keep_slices: bool = False
    slice_bytes: int = 32 << 10


class Loader:
    """
    Loads a gadget.

    Args:
        data: The BPF object.
        options: How to record.
        ring: A ring buffer for it, of `options.buffer_bytes`; by default it is made with it.
        by_events: Attach by perf events, since links do not reach the target.

    Raises:
        TraceError: It is no gadget that can be recorded with, or libbpf is missing.
    """

    def __init__(
        self, data: bytes, options: Options, ring: RingMap | None = None, *, by_events: bool = False
    ) -> None:
        self.object = Object.from_bytes(data, with_code=False)
        self.layout = EventLayout.from_object(self.object)
        self.options = options
        self._ring = ring
        self.bpf = LoadedObject(data, "gadgetops", by_link=False if by_events else None)
        self._mount_namespaces: tuple[int, ...] = ()
        self._loading: threading.Thread | None = None
        self._error: Exception | None = None

    def filter_mount_namespaces(self, inodes: Sequence[int]) -> None:
        """Let only processes in these mount namespaces give events; to be called before `begin`."""
        self._mount_namespaces = tuple(inodes)

    def restrict(self, parameters: Mapping[str, str]) -> None:
        """Set these parameters, too, before `begin`; those of the user go first."""
        self.options = replace(self.options, parameters={**parameters, **self.options.parameters})

    def begin(self) -> None:
        """
        Set what is asked for, and begin to load; from now on nothing of that can be changed.

        Raises:
            UsageError: The gadget has no such parameter, or none of such a value.
        """
        self._begun()

    def _begun(self) -> threading.Thread:
        if self._loading is None:
            self._configure()
            self._loading = threading.Thread(target=self._load, name="load")
            self._loading.start()
        return self._loading

    def _load(self) -> None:
        try:
            self._give_ring()
            self.bpf.load()
        except Exception as error:
            self._error = error

    def _give_ring(self) -> None:
        fd = None if self._ring is None else self._ring.fd()
        events = self.object.map(NAME)
        if fd is not None and events is not None and events.type == MapType.RINGBUF:
            self.bpf.reuse(NAME, fd)

    @contextlib.contextmanager
    def loaded(self) -> Iterator[None]:
        """
        Have the gadget in the kernel for the length of the block.

        Raises:
            UsageError: As `begin`, unless that was called before.
            TraceError: The kernel refuses it.
        """
        with self.bpf:
            # To its end: what is forked from now on is forked by the only thread.
            self._begun().join()
            if self._error is not None:
                raise self._error
            for namespace in self._mount_namespaces:
                self.bpf.update(_NAMESPACE_MAP, struct.pack("<Q", namespace), struct.pack("<I", 0))
            yield

    @property
    def attach_way(self) -> dict[str, Any]:
        """How probes are attached, and how that was decided: `attach` of the recording's header."""
        return asdict(self.bpf.attach_way)

    @property
    def slice_layout(self) -> SliceLayout | None:
        """How slices come, if they are asked for and this gadget has them."""
        is_asked = self.options.collect_stacks and self.options.unwind != "fp"
        return SliceLayout.from_object(self.object) if is_asked else None

    def variable(self, name: str) -> int:
        """Return what a number among the loaded gadget's variables is now; 0 if it has none of that name."""
        variable = self.object.variable(name)
        if variable is None:
            return 0
        value = self.bpf.get_bytes(variable.section, variable.offset_bytes, variable.size_bytes)
        return int.from_bytes(value, "little")

    def _configure(self) -> None:
        contract = Contract.from_object(self.object)
        known = {_spelled(parameter.key): parameter for parameter in contract.parameters}
        for key, text in self.options.parameters.items():
            parameter = known.get(_spelled(key))
            if parameter is None:
                raise UsageError(
                    f"the gadget has no parameter {key!r}", hint=f"it has {', '.join(sorted(known))}"
                )
            self.bpf.set_bytes(parameter.section, parameter.offset_bytes, encoded(parameter, text))
        self._set_flag("collect_ustack", self.options.collect_stacks)
        self._set_flag("collect_slices", self.slice_layout is not None)
        self._set("slice_bytes", self.options.slice_bytes.to_bytes(4, "little"))
        self._set("page_mask", (mmap.PAGESIZE - 1).to_bytes(8, "little"))
        if self.object.variable("code_address_mask") is not None:
            self._set("code_address_mask", _address_mask().to_bytes(8, "little"))
        self._set_flag("gadget_buffer_is_polled", True)
        self._set_flag("gadget_reader_knows_processes", True)
        self._set_flag("callers_for_walks_only", True)
        self._set_flag("gadget_filter_by_mntns", bool(self._mount_namespaces))
        self.bpf.resize(self.layout.map, self.options.buffer_bytes)
        if self.object.map(STACK_MAP) is not None:
            self.bpf.resize(STACK_MAP, self.options.max_stacks)

    def _set_flag(self, name: str, value: bool) -> None:
        self._set(name, bytes([value]))

    def _set(self, name: str, value: bytes) -> None:
        variable = self.object.variable(name)
        if variable is not None:
            self.bpf.set_bytes(variable.section, variable.offset_bytes, value)


def _address_mask() -> int:
    """Return the bits that addresses of processes have here: a stack is at the highest ones."""
    return (1 << max(each.end_address - 1 for each in ranges_of(os.getpid())).bit_length()) - 1


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
