"""An object as a whole: licence, order, what is refused, and damage that costs little time."""

import contextlib
import struct
import time
from collections.abc import Callable
from types import ModuleType

import pytest

from gadgetops.bpf.diagrams.graph import Graph
from gadgetops.bpf.object import Object
from gadgetops.errors import ObjectError


def test_everything_is_sorted_by_name(read_object: Callable[[str], Object]) -> None:
    """But sections, which are in file order."""
    obj = read_object("data_sections")
    for found in (obj.programs, obj.maps, obj.variables):
        names = [each.name for each in found]
        assert names == sorted(names)
    assert obj.sections[0].name == ""
    assert [section.index for section in obj.sections] == list(range(len(obj.sections)))


def test_things_are_found_by_name(read_object: Callable[[str], Object]) -> None:
    """Or not."""
    obj = read_object("data_sections")
    for find, name in ((obj.program, "reads"), (obj.map, "table"), (obj.variable, "zero")):
        found = find(name)
        assert found is not None
        assert found.name == name
        assert find("missing") is None


def test_the_licence_ends_at_its_nul(read_object: Callable[[str], Object], elf: ModuleType) -> None:
    """An object may have none."""
    assert read_object("verbs").license == "GPL"
    assert Object.from_bytes(elf.make([], [])).license == ""


def test_both_byte_orders_are_read(read_object: Callable[[str], Object]) -> None:
    """Instructions and BTF follow the file."""
    obj = read_object("big_endian")
    assert obj.byte_order == "big"
    assert [edge.map for edge in Graph.from_object(obj).edges] == ["table"]


def test_other_machines_are_refused(elf: ModuleType) -> None:
    """An object for x86-64 is none."""
    with pytest.raises(ObjectError, match=r"machine: expected BPF \(247\), got 62"):
        Object.from_bytes(elf.make([], [], machine=62))


def test_objects_of_the_first_compilers_say_no_machine(elf: ModuleType) -> None:
    """LLVM 3.7 to 3.9 left it open."""
    assert Object.from_bytes(elf.make([], [], machine=0)).programs == ()


def test_a_large_section_is_read_quickly(elf: ModuleType) -> None:
    """A hundred thousand instructions take well below a second."""
    body = elf.code(*[(0x07, 1, 0, 0, 1)] * 99_999) + elf.EXIT
    data = elf.make(
        [elf.FakeSection("kprobe/large", body, flags=elf.EXECUTABLE)], [elf.FakeSymbol("large", 1)]
    )
    start = time.process_time()
    obj = Object.from_bytes(data)
    Graph.from_object(obj)
    assert time.process_time() - start < 2
    assert len(obj.programs[0].instructions) == 100_000


def hostile_names(elf: ModuleType) -> bytes:
    """Return a file of many symbols that share one long name."""
    return elf.make([elf.FakeSection("x" * 4000)], [elf.FakeSymbol("y" * 4000, 1)] * 500)


def hostile_calls(elf: ModuleType) -> bytes:
    """Return a file of many programs that each need a chain of many functions."""
    count = 3000
    chain = elf.code(*[(0x85, 0, 1, 0, 0)] * count) + elf.EXIT
    callers = elf.code(*[(0x85, 0, 1, 0, -1)] * count)
    relocations = b"".join(struct.pack("<QQ", 8 * number, 1 << 32 | 1) for number in range(count))
    return elf.make(
        [
            elf.FakeSection(".text", chain, flags=elf.EXECUTABLE),
            elf.FakeSection("kprobe/all", callers, flags=elf.EXECUTABLE),
            elf.FakeSection(".rel", relocations, elf.REL, info=2, entry_bytes=16),
        ],
        [
            *(elf.FakeSymbol(f"f{number}", 1, 8 * number) for number in range(count + 1)),
            *(elf.FakeSymbol(f"p{number}", 2, 8 * number) for number in range(count)),
        ],
    )


@pytest.mark.parametrize("make", [hostile_names, hostile_calls])
def test_hostile_files_cost_little_time(elf: ModuleType, make: Callable[[ModuleType], bytes]) -> None:
    """Whatever becomes of them."""
    data = make(elf)
    start = time.process_time()
    with contextlib.suppress(ObjectError):
        Graph.from_object(Object.from_bytes(data))
    assert time.process_time() - start < 20
