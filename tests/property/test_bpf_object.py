"""
Laws of the object reader: any bytes give a value or an `ObjectError`, quickly; and what it draws is
consistent.
"""

import contextlib
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gadgetops.bpf.btf import Btf, Kind
from gadgetops.bpf.contract import Contract
from gadgetops.bpf.diagrams import mermaid
from gadgetops.bpf.diagrams.graph import Edge, Graph
from gadgetops.bpf.disassembly import Disassembly
from gadgetops.bpf.instruction import decode
from gadgetops.bpf.object import Object
from gadgetops.elf import Elf
from gadgetops.errors import ObjectError

FOLDER = Path(__file__).parents[1] / "data" / "objects"
OBJECTS = {path.name: path.read_bytes() for path in sorted(FOLDER.glob("*.bpf.o"))}
SMALL = ["no_btf.bpf.o", "legacy_maps.bpf.o", "core.bpf.o"]

SECONDS_LIMIT = 2.0
"""An undamaged object takes some milliseconds."""


def outcome(data: bytes) -> Object | None:
    """Make all there is of *data*; None if it is refused. Anything but `ObjectError` is a failure."""
    start = time.process_time()
    try:
        obj = Object.from_bytes(data)
    except ObjectError:
        obj = None
    if obj is not None:
        graph = Graph.from_object(obj)
        mermaid.flowchart(graph)
        mermaid.sequence(graph)
        disassembly = Disassembly(obj)
        for program in obj.programs:
            disassembly.source(program)
            disassembly.source_with_relocations(program)
        with contextlib.suppress(ObjectError):
            Contract.from_object(obj)
    assert time.process_time() - start < SECONDS_LIMIT
    return obj


@pytest.mark.parametrize("name", OBJECTS)
def test_without_its_code_an_object_is_the_same(name: str) -> None:
    """Maps, variables and types; programs by name and section, and nothing of what they do."""
    whole, outline = (Object.from_bytes(OBJECTS[name], with_code=each) for each in (True, False))
    assert (outline.maps, outline.variables) == (whole.maps, whole.variables)
    assert (outline.btf and outline.btf.types) == (whole.btf and whole.btf.types)
    assert [(p.name, p.section) for p in outline.programs] == [(p.name, p.section) for p in whole.programs]
    assert not any(program.instructions for program in outline.programs)


class TestDamage:
    """Any bytes give a value or an `ObjectError`."""

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """With and without the header of an object in front."""
        outcome(data)
        outcome(OBJECTS["core.bpf.o"][:64] + data)

    @pytest.mark.parametrize("name", SMALL)
    def test_cut_at_every_byte(self, name: str) -> None:
        """Only the whole is read."""
        data = OBJECTS[name]
        assert outcome(data) is not None
        for size in range(len(data)):
            assert outcome(data[:size]) is None

    @pytest.mark.parametrize("name", SMALL)
    def test_every_section_cut_at_every_byte(self, name: str) -> None:
        """The file stays whole, a section claims less than it has."""
        for data in with_shorter_sections(OBJECTS[name]):
            outcome(data)

    @settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.sampled_from(sorted(OBJECTS)),
        st.lists(st.tuples(st.integers(min_value=0), st.integers(0, 255)), min_size=1, max_size=6),
    )
    def test_some_bytes_changed(self, name: str, changes: list[tuple[int, int]]) -> None:
        """Wherever they are."""
        data = bytearray(OBJECTS[name])
        for position, value in changes:
            data[position % len(data)] = value
        outcome(bytes(data))

    @settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.sampled_from(sorted(OBJECTS)),
        st.integers(min_value=0),
        st.sampled_from([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1]),
    )
    def test_huge_numbers(self, name: str, position: int, number: int) -> None:
        """Eight bytes anywhere, at a multiple of four."""
        data = bytearray(OBJECTS[name])
        offset = position % (len(data) // 4 - 2) * 4
        data[offset : offset + 8] = number.to_bytes(8, "little")
        outcome(bytes(data))


def with_shorter_sections(data: bytes) -> Iterator[bytes]:
    """Yield *data* once for each section and each size below its own."""
    table, count = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]
    for index in range(count):
        place = table + 64 * index + 32
        for size in range(struct.unpack_from("<Q", data, place)[0]):
            yield data[:place] + struct.pack("<Q", size) + data[place + 8 :]


def btf_bytes(words: list[int]) -> bytes:
    """Return BTF whose types are *words*."""
    strings = b"\0a\0b\0"
    types = struct.pack(f"<{len(words)}I", *words)
    return (
        struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings
    )


REFERENCES = (Kind.POINTER, Kind.TYPEDEF, Kind.CONST, Kind.VOLATILE, Kind.ARRAY, Kind.STRUCT)


@st.composite
def tangles(draw: st.DrawFn) -> list[int]:
    """Types that refer to each other in any way, in circles and to themselves."""
    count = draw(st.integers(1, 8))
    words: list[int] = []
    for _ in range(count):
        kind, target = draw(st.sampled_from(REFERENCES)), draw(st.integers(0, count))
        if kind == Kind.ARRAY:
            words += [0, kind << 24, 0, target, 0, draw(st.sampled_from([0, 2, 0xFFFFFFFF]))]
        elif kind == Kind.STRUCT:
            words += [1, kind << 24 | 1, 8, 3, target, 0]
        else:
            words += [1, kind << 24, target]
    return words


class TestTypes:
    """Whatever types refer to, walking them ends."""

    @given(tangles())
    def test_tangles(self, words: list[int]) -> None:
        """With a value or an `ObjectError`."""
        btf = Btf.from_bytes(btf_bytes(words), "little")
        for type_id in range(len(btf.types)):
            for ask in (btf.resolve, btf.size_bytes):
                with contextlib.suppress(ObjectError):
                    ask(type_id)

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """As types, behind a right header."""
        header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(data), len(data), 1)
        with contextlib.suppress(ObjectError):
            Btf.from_bytes(header + data + b"\0", "little")


class TestParts:
    """Each layer keeps the same promise by itself."""

    @given(st.binary(max_size=200))
    def test_elf(self, data: bytes) -> None:
        """A file, or what comes after its magic."""
        for each in (data, b"\x7fELF\2\1\1" + data):
            with contextlib.suppress(ObjectError):
                _ = Elf.from_bytes(each).symbols

    @given(st.binary(max_size=400), st.sampled_from(["little", "big"]))
    def test_instructions(self, code: bytes, order: str) -> None:
        """As many slots are decoded as there are."""
        try:
            instructions = decode(memoryview(code), order, "s")  # type: ignore[arg-type]
        except ObjectError:
            return
        assert sum(each.n_slots for each in instructions) * 8 == len(code)


NAMES = st.sampled_from(["a", "b", "c"])
GRAPHS = st.builds(
    lambda edges: Graph(("p", "q"), ("a", "b", "c"), tuple(dict.fromkeys(edges))),
    st.lists(
        st.builds(Edge, st.sampled_from(["p", "q"]), st.sampled_from(["Lookup", "Update", "Push"]), NAMES)
    ),
)


class TestDrawing:
    """Diagrams show what the graph has, and nothing else."""

    @given(GRAPHS)
    def test_every_node_is_drawn_once(self, graph: Graph) -> None:
        """Maps and programs."""
        lines = mermaid.flowchart(graph).splitlines()
        for name in graph.maps:
            assert lines.count(f'{name}[("{name}")]') == 1
        for name in graph.programs:
            assert lines.count(f'{name}["{name}"]') == 1

    @given(GRAPHS)
    def test_every_edge_has_its_arrow_in_a_sequence(self, graph: Graph) -> None:
        """In order of programs."""
        arrows = [line for line in mermaid.sequence(graph).splitlines() if "->>" in line]
        assert arrows == [f"{edge.program}->>{edge.map}: {edge.verb}" for edge in graph.edges]

    @given(GRAPHS)
    def test_arrows_of_a_flowchart_lead_where_edges_lead(self, graph: Graph) -> None:
        """However many become one."""
        drawn = {
            (line.split(" -- ")[0], line.split(" --> ")[1])
            for line in mermaid.flowchart(graph).splitlines()
            if " --> " in line
        }
        assert drawn == {(edge.program, edge.map) for edge in graph.edges}
