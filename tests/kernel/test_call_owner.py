"""One call of the program is one event, also where others never return or run on other stacks."""

import mmap
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from services.patience import PATIENCE

from gadgetops.bpf.object import Object
from gadgetops.trace.events.layout import EventLayout
from gadgetops.trace.events.records import decode
from gadgetops.trace.events.ring import RingBuffer
from gadgetops.trace.kernel.libbpf import LoadedObject
from gadgetops.trace.probes.executable import Executable, read_executable
from gadgetops.trace.probes.hints import Hints
from gadgetops.trace.probes.prologue import MACHINES

pytestmark = [pytest.mark.kernel, pytest.mark.clang]

WORKLOADS = Path(__file__).parents[1] / "workloads"
FUNCTIONS = ("malloc", "calloc", "realloc", "memalign", "aligned_alloc")
MAX_NESTED = 16
N_CALLS = 40


class Call(NamedTuple):
    """A call that the program made, or that was seen."""

    operation: str
    size: int
    address: int


class Seen(NamedTuple):
    """What the gadget saw, and what it says that it lost."""

    calls: list[Call]
    lost: int
    given_up: int


@pytest.fixture(scope="module")
def leaps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/workloads/leaps.c, whose functions do not begin with their returns."""
    program = tmp_path_factory.mktemp("leaps") / "leaps"
    flags = ["-static", "-O1", "-fno-builtin", "-Wall", "-Werror"]
    subprocess.run(["gcc", *flags, WORKLOADS / "leaps.c", "-o", program], check=True)
    return program


class Gadget:
    """The loaded gadget."""

    def __init__(self, bpf: LoadedObject, ring: RingBuffer, loaded: Object, layout: EventLayout) -> None:
        self._bpf, self._ring, self._object, self._layout = bpf, ring, loaded, layout
        self.at_instructions = self.is_said = False

    def attach(self, path: Path, *, at_instructions: bool, is_said: bool) -> None:
        """
        Attach all programs; to return instructions instead of return addresses if that is asked for.

        The gadget is told which of the two, if *is_said*.
        """
        self.at_instructions, self.is_said = at_instructions, is_said
        program = read_executable(path)
        hints = Hints(self._object, self._bpf.data(".bss"))
        for name in FUNCTIONS:
            (function,) = program.functions(name, exported_only=False)
            offsets = returns_of(program, name) if at_instructions else [function.offset_bytes]
            self._bpf.attach_uprobe(f"trace_uretprobe_{name}", path, offsets, at_return=not at_instructions)
            if is_said:
                hints.add_entry(function.offset_bytes, by_instruction=at_instructions)
        for name in FUNCTIONS:
            (function,) = program.functions(name, exported_only=False)
            self._bpf.attach_uprobe(f"trace_uprobe_{name}", path, [function.offset_bytes], at_return=False)
        (function,) = program.functions("munmap", exported_only=False)
        self._bpf.attach_uprobe("trace_uprobe_munmap", path, [function.offset_bytes], at_return=False)

    def seen(self) -> Seen:
        """What came of the workload's sizes."""
        records = self._ring.read()
        columns: Any = decode(records, self._layout.dtype, self._layout.event_bytes).columns
        self._ring.free(len(records))
        rows = zip(*(columns[name].tolist() for name in ("operation", "size_bytes", "address")), strict=True)
        calls = [Call(self._layout.operations[number], size, address) for number, size, address in rows]
        kept = [call for call in calls if 1100 <= call.size < 1200]
        return Seen(kept, self._variable("lost_events"), self._variable("given_up_events"))

    def _variable(self, name: str) -> int:
        variable = self._object.variable(name)
        assert variable is not None
        value = self._bpf.get_bytes(variable.section, variable.offset_bytes, variable.size_bytes)
        return int.from_bytes(value, "little")


def returns_of(program: Executable, name: str) -> list[int]:
    """Where the return instructions of a function are in the file; a jump ends in those of its target."""
    (function,) = program.functions(name, exported_only=False)
    code = program.code(function)
    lines = [*MACHINES[program.machine].disassembler.disasm_lite(code, function.address)]
    returns = [address for address, _, mnemonic, _ in lines if mnemonic == "ret"]
    if not returns:
        assert name == "memalign"
        return returns_of(program, "aligned_alloc")
    return [address - function.address + function.offset_bytes for address in returns]


@contextmanager
def loaded(path: Path, page_bytes: int = mmap.PAGESIZE) -> Iterator[Gadget]:
    """The gadget in the kernel, told that pages are so large."""
    data = path.read_bytes()
    gadget_object = Object.from_bytes(data)
    layout = EventLayout.from_object(gadget_object)
    with LoadedObject(data, "test") as bpf:
        bpf.resize(layout.map, 1 << 20)
        mask = gadget_object.variable("page_mask")
        assert mask is not None
        bpf.set_bytes(mask.section, mask.offset_bytes, (page_bytes - 1).to_bytes(mask.size_bytes, "little"))
        bpf.load()
        room = bpf.map_fd(layout.map), bpf.max_entries(layout.map)
        yield Gadget(bpf, RingBuffer(*room, layout.event_bytes), gadget_object, layout)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((False, True), id="return probes"),
        pytest.param((True, True), id="return instructions"),
        pytest.param((False, False), id="return probes, not said"),
        pytest.param((True, False), id="return instructions, not said"),
    ],
)
def gadget(request: pytest.FixtureRequest, gadget_object: Path, leaps: Path) -> Iterator[Gadget]:
    """The gadget, attached in each way: how, and whether it was told."""
    at_instructions, is_said = request.param
    with loaded(gadget_object) as gadget:
        gadget.attach(leaps, at_instructions=at_instructions, is_said=is_said)
        yield gadget


def run(gadget: Gadget, leaps: Path, what: str) -> tuple[list[Call], Seen]:
    """Run the workload, and return what it says that it did beside what was seen."""
    before = gadget.seen()
    lines = subprocess.check_output([leaps, what], text=True, timeout=60 * PATIENCE).splitlines()
    known = [Call(name, int(size), int(address)) for name, size, address in map(str.split, lines)]
    seen = gadget.seen()
    if gadget.at_instructions:
        # memalign() jumps to aligned_alloc(), whose return instruction nothing tells apart.
        known = [
            call._replace(operation=call.operation.replace("memalign", "aligned_alloc")) for call in known
        ]
    return known, Seen(seen.calls, seen.lost - before.lost, seen.given_up - before.given_up)


@pytest.mark.parametrize("what", ["same", "above", "nested", "fibers"])
def test_every_call_is_seen_once(gadget: Gadget, leaps: Path, what: str) -> None:
    """
    With its own size and address, under the name that the program called.

    After a call that never returned at the same place or further in; with calls inside calls; and on two
    stacks in turn.
    """
    known, seen = run(gadget, leaps, what)
    assert len(known) >= N_CALLS
    assert known == seen.calls
    assert (seen.lost, seen.given_up) == (0, 0)


def test_calls_deeper_than_one_that_never_returned_are_seen(gadget: Gadget, leaps: Path) -> None:
    """Its return address has been overwritten: they are not inside it. Who is not told where it was loses."""
    known, seen = run(gadget, leaps, "below")
    n_lost = 0 if gadget.is_said else MAX_NESTED + 1
    assert known[n_lost:] == seen.calls
    assert (seen.lost, seen.given_up) == (n_lost, n_lost)


def test_calls_below_a_stack_that_was_left_inside_a_call_are_counted(gadget: Gadget, leaps: Path) -> None:
    """Nothing shows that the call is gone: after so many returns it is given up."""
    known, seen = run(gadget, leaps, "abandoned")
    assert known[MAX_NESTED + 1 :] == seen.calls
    assert (seen.lost, seen.given_up) == (MAX_NESTED + 1, MAX_NESTED + 1)


def test_calls_on_two_stacks_are_never_mixed(gadget: Gadget, leaps: Path) -> None:
    """After one on the upper stack that never returned: what is not seen is counted."""
    known, seen = run(gadget, leaps, "stale-fiber")
    assert set(seen.calls) <= set(known)
    assert seen.lost == seen.given_up <= MAX_NESTED + 1
    assert len(known) - len(seen.calls) <= seen.lost


def test_a_call_that_a_signal_interrupted_is_counted_if_it_is_not_seen(gadget: Gadget, leaps: Path) -> None:
    """The handler's call, deeper on a stack of its own, took it for gone; it returned all the same."""
    known, seen = run(gadget, leaps, "interrupted-below")
    assert len(known) == 1 + 4 * N_CALLS
    # Who is not told where it was takes the handler's call for one that it makes itself.
    assert seen.calls == (known if gadget.is_said else known[1:])
    assert (seen.lost, seen.given_up) == (int(gadget.is_said), 0)


@pytest.mark.parametrize(
    "gadget",
    [pytest.param((True, True), id="said"), pytest.param((True, False), id="not said")],
    indirect=True,
)
def test_so_is_one_whose_signal_handler_has_its_stack_above(gadget: Gadget, leaps: Path) -> None:
    """
    It looks as if an exception had left the call.

    With return instructions alone: where a stack above is used the kernel forgets return addresses.
    """
    known, seen = run(gadget, leaps, "interrupted")
    assert len(known) == 1 + 4 * N_CALLS
    assert known == seen.calls
    assert (seen.lost, seen.given_up) == (1, 0)


@pytest.mark.parametrize(("page_bytes", "n_seen"), [(4096, 2), (65536, 1)])
def test_a_release_inside_of_a_page_is_refused_whatever_its_size(
    gadget_object: Path, leaps: Path, page_bytes: int, n_seen: int
) -> None:
    """By the kernel: nothing is released. Machines of arm64 may have larger pages than x86-64 has."""
    with loaded(gadget_object, page_bytes) as gadget:
        gadget.attach(leaps, at_instructions=False, is_said=False)
        known, seen = run(gadget, leaps, "pages")
    assert len(known) == 2
    assert known[-n_seen:] == seen.calls
