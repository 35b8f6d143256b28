"""Maps by BTF, by the older C struct, and one per data section."""

import struct
from collections.abc import Callable
from types import ModuleType

import pytest

from gadgetops.bpf.btf import Kind
from gadgetops.bpf.maps import Map, MapType, kernel_name
from gadgetops.bpf.object import Object
from gadgetops.bpf.reading import NEWEST, Reading
from gadgetops.errors import ObjectError


def plain(found: Map | None) -> tuple[int, ...]:
    """Return type, sizes, entries and flags."""
    assert found is not None
    return found.type, found.key_size_bytes, found.value_size_bytes, found.max_entries, found.flags


def test_definitions_in_btf(read_object: Callable[[str], Object]) -> None:
    """Sizes by type or by number; a ring buffer has neither key nor value."""
    verbs, invisible = read_object("verbs"), read_object("invisible")
    assert plain(verbs.map("table")) == (MapType.HASH, 4, 8, 16, 0)
    assert plain(verbs.map("events")) == (MapType.PERF_EVENT_ARRAY, 4, 4, 0, 0)
    assert plain(invisible.map("ring")) == (MapType.RINGBUF, 0, 0, 4096, 0)
    assert plain(invisible.map("stacks")) == (MapType.STACK_TRACE, 4, 1016, 16, 0)
    assert plain(invisible.map("storage")) == (MapType.TASK_STORAGE, 4, 8, 0, 1)


def test_maps_of_maps_know_what_they_hold(read_object: Callable[[str], Object]) -> None:
    """The inner map is described, and a program array is none."""
    obj = read_object("maps_of_maps")
    outer, jumps = obj.map("outer"), obj.map("jumps")
    assert outer is not None
    assert jumps is not None
    assert plain(outer) == (MapType.ARRAY_OF_MAPS, 4, 4, 2, 0)
    assert plain(outer.inner) == (MapType.ARRAY, 4, 8, 1, 0)
    assert plain(jumps) == (MapType.PROG_ARRAY, 4, 4, 2, 0)
    assert jumps.inner is None


def test_legacy_definitions(read_object: Callable[[str], Object]) -> None:
    """Five numbers each."""
    obj = read_object("legacy_maps")
    assert plain(obj.map("old_table")) == (MapType.HASH, 4, 8, 16, 1)
    assert plain(obj.map("old_array")) == (MapType.ARRAY, 4, 2, 1, 0)


def test_data_sections_are_maps(read_object: Callable[[str], Object]) -> None:
    """With one entry that holds them; constants are read-only for programs."""
    obj = read_object("data_sections")
    data = {found.name: found for found in obj.maps if found.is_data}
    assert sorted(data) == [".bss", ".data", ".data.own", ".rodata", ".rodata.own"]
    assert plain(data[".data.own"]) == (MapType.ARRAY, 4, 4, 1, 0)
    assert plain(data[".rodata.own"]) == (MapType.ARRAY, 4, 4, 1, 128)
    assert obj.map("table") not in data.values()


def test_without_btf_maps_have_names_only(read_object: Callable[[str], Object]) -> None:
    """The type is not known."""
    assert plain(read_object("no_btf").map("table")) == (MapType.UNSPEC, 0, 0, 0, 0)


def test_types_have_bpftools_names() -> None:
    """A type newer than those known is shown by number."""
    assert Map("m", MapType.PERCPU_ARRAY).type_name == "percpu_array"
    assert Map("m", 99).type_name == "type 99"


def test_the_kernel_takes_few_characters() -> None:
    """Others are left out."""
    assert kernel_name(".rodata.a-b$c_1é") == ".rodata.abc_1"


@pytest.mark.parametrize(
    ("sizes", "reading"),
    [
        ((0,), NEWEST),
        ((19,), NEWEST),
        ((24, 19), NEWEST),
        ((19,), Reading.IG_0_48),
        ((20, 21), Reading.IG_0_48),
        ((28, 20), Reading.IG_0_48),
    ],
)
def test_damaged_legacy_definitions_are_refused(
    elf: ModuleType, sizes: tuple[int, ...], reading: Reading
) -> None:
    """Too short or, to the older loader, of different lengths."""
    with pytest.raises(ObjectError, match="section maps: "):
        Object.from_bytes(legacy(elf, sizes), reading=reading)


def test_legacy_definitions_may_differ_in_length(elf: ModuleType) -> None:
    """Since ig 0.51."""
    assert [each.name for each in Object.from_bytes(legacy(elf, (28, 20))).maps] == ["m0", "m1"]


def legacy(elf: ModuleType, sizes: tuple[int, ...]) -> bytes:
    """Return an object with map definitions of *sizes*, of zeros."""
    symbols = [elf.FakeSymbol(f"m{n}", 1, sum(sizes[:n]), elf.OBJECT) for n in range(len(sizes))]
    return elf.make([elf.FakeSection("maps", bytes(sum(sizes)))], symbols)


class Definition:
    """BTF of one map definition, built member by member."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self.strings = bytearray(b"\0")
        self.members: list[tuple[int, int]] = []
        self.n_types = 0

    def name(self, text: str) -> int:
        """Return the offset of *text* in the string table."""
        self.strings += text.encode() + b"\0"
        return len(self.strings) - len(text) - 1

    def type(self, *words: int) -> int:
        """Add a type and return its id."""
        self.words += words
        self.n_types += 1
        return self.n_types

    def integer(self) -> int:
        """Add an int."""
        return self.type(0, Kind.INT << 24, 4, 32)

    def pointer(self, target: int) -> int:
        """Add a pointer."""
        return self.type(0, Kind.POINTER << 24, target)

    def number(self, value: int) -> int:
        """Add what `__uint` makes of *value*."""
        return self.pointer(self.type(0, Kind.ARRAY << 24, 0, 0, 0, value))

    def member(self, name: str, type_id: int) -> "Definition":
        """Add a member."""
        self.members.append((self.name(name), type_id))
        return self

    def object(self, elf: ModuleType) -> Object:
        """Return an object whose only map, `m`, is so defined."""
        members = [word for name, type_id in self.members for word in (name, type_id, 0)]
        struct_id = self.type(0, Kind.STRUCT << 24 | len(self.members), 32, *members)
        variable = self.type(self.name("m"), Kind.VARIABLE << 24, struct_id, 1)
        self.type(self.name(".maps"), Kind.DATA_SECTION << 24 | 1, 32, variable, 0, 32)
        types = struct.pack(f"<{len(self.words)}I", *self.words)
        header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self.strings))
        btf = header + types + bytes(self.strings)
        sections = [elf.FakeSection(".maps", bytes(32)), elf.FakeSection(".BTF", btf)]
        return Object.from_bytes(elf.make(sections, [elf.FakeSymbol("m", 1, 0, elf.OBJECT)]))


def test_a_number_may_be_an_enum(elf: ModuleType) -> None:
    """As `__ulong` makes it."""
    made = Definition()
    wide = made.type(0, Kind.ENUM64 << 24 | 1, 8, made.name("N"), 5, 0)
    found = made.member("type", made.number(1)).member("max_entries", wide).object(elf).map("m")
    assert plain(found) == (MapType.HASH, 0, 0, 5, 0)


def test_unknown_members_are_refused(elf: ModuleType) -> None:
    """The loader would not know what was meant."""
    made = Definition()
    with pytest.raises(ObjectError, match=r"section \.maps: map 'm': member 'entries' is not known here"):
        made.member("entries", made.number(1)).object(elf)


@pytest.mark.parametrize("name", ["type", "map_flags", "max_entries", "map_extra", "pinning", "key_size"])
def test_numbers_must_be_numbers(elf: ModuleType, name: str) -> None:
    """An int as the type of the member says none."""
    made = Definition()
    with pytest.raises(ObjectError, match=f"map 'm': {name}: expected a number"):
        made.member(name, made.integer()).object(elf)


def test_keys_are_pointed_to(elf: ModuleType) -> None:
    """An int itself is no pointer to an int."""
    made = Definition()
    with pytest.raises(ObjectError, match="map 'm': key: expected a pointer"):
        made.member("key", made.integer()).object(elf)


def test_a_size_is_given_once(elf: ModuleType) -> None:
    """By type or by number."""
    made = Definition()
    made.member("value", made.pointer(made.integer())).member("value_size", made.number(4))
    with pytest.raises(ObjectError, match="both value and value_size are given"):
        made.object(elf)


def test_values_are_maps_or_programs(elf: ModuleType) -> None:
    """And only in maps of such."""
    made = Definition()
    array = made.type(0, Kind.ARRAY << 24, 0, made.pointer(made.integer()), 0, 0)
    with pytest.raises(ObjectError, match="neither maps in a map of maps nor programs in a program array"):
        made.member("type", made.number(MapType.HASH)).member("values", array).object(elf)


def test_values_come_last(elf: ModuleType) -> None:
    """What follows them could not be told from them."""
    made = Definition()
    with pytest.raises(ObjectError, match="member 'values' is not known here"):
        made.member("values", made.integer()).member("type", made.number(1)).object(elf)


def test_btf_must_describe_the_section(elf: ModuleType) -> None:
    """If there is BTF at all."""
    btf = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, 0)
    data = elf.make([elf.FakeSection(".maps", bytes(32)), elf.FakeSection(".BTF", btf)], [])
    with pytest.raises(ObjectError, match=r"section \.maps: BTF does not describe this section"):
        Object.from_bytes(data)
