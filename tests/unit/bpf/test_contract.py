"""
Datasources and parameters are those that ig 0.48 and 0.55.1 find (`ig image inspect --show-datasources`).
"""

import struct
from collections.abc import Callable
from types import ModuleType

import pytest

from gadgetops.bpf import btf as types
from gadgetops.bpf.btf import Btf, Composite, Kind
from gadgetops.bpf.contract import Contract, fields
from gadgetops.bpf.object import Object
from gadgetops.bpf.target_maps import KINDS, read_target_maps
from gadgetops.errors import ObjectError

ReadObject = Callable[[str], Object]


def test_a_tracer_has_map_struct_and_size(read_object: ReadObject) -> None:
    """Markers that are static, or of another type than `const void *`, are passed over."""
    contract = Contract.from_object(read_object("fields"))
    (datasource,) = contract.datasources
    assert (datasource.name, datasource.kind, datasource.map) == ("files", "tracer", "events")
    assert (datasource.struct, datasource.size_bytes) == ("event", 200)
    assert contract.datasource("files") is datasource
    assert contract.datasource("unseen") is None


def test_fields_are_what_ig_shows(read_object: ReadObject) -> None:
    """Dotted name, offset, size and kind of each, in order of declaration."""
    (datasource,) = Contract.from_object(read_object("fields")).datasources
    assert [(each.name, each.offset_bytes, each.size_bytes, each.kind) for each in datasource.fields] == [
        ("timestamp_raw", 0, 8, "Uint64"),
        ("proc", 8, 28, "Bytes"),
        ("proc.comm", 8, 16, "CString"),
        ("proc.pid", 24, 4, "Uint32"),
        ("proc.named", 32, 2, "Bytes"),
        ("proc.named.deepest", 32, 2, "Int16"),
        ("address", 36, 16, "Bytes"),
        ("address.v4", 36, 4, "Uint32"),
        ("address.v6", 36, 16, "[]Uint8"),
        ("operation_raw", 52, 4, "Uint32"),
        ("signed_raw", 56, 4, "Int32"),
        ("tiny", 60, 1, "Int8"),
        ("qualified", 62, 2, "Uint16"),
        ("yes", 64, 1, "Bool"),
        ("text", 65, 8, "CString"),
        ("letter", 73, 1, "Int8"),
        ("numbers", 76, 12, "[]Uint32"),
        ("matrix", 88, 8, "Invalid"),
        ("real", 96, 8, "Float64"),
        ("half", 104, 4, "Float32"),
        ("bit", 192, 4, "Uint32"),
    ]


def test_fields_know_the_names_of_their_types(read_object: ReadObject) -> None:
    """Typedefs first, then the base type."""
    (datasource,) = Contract.from_object(read_object("fields")).datasources
    names = {each.name: each.type_names for each in datasource.fields}
    assert names["timestamp_raw"] == ("gadget_timestamp", "__u64", "unsigned long long")
    assert names["proc"] == ("inner",)
    assert names["proc.comm"] == ("gadget_comm", "char")
    assert names["qualified"] == ("__u16", "unsigned short")
    assert datasource.field("proc.pid") is not None
    assert datasource.field("pid") is None


def test_an_enum_names_its_numbers(read_object: ReadObject) -> None:
    """Those below zero, too; what is no enum names none."""
    (datasource,) = Contract.from_object(read_object("fields")).datasources
    enums = {each.name: each.enum.values for each in datasource.fields if each.enum is not None}
    assert enums == {
        "operation_raw": (("OPEN", 0), ("CLOSE", 7)),
        "signed_raw": (("BELOW", -1), ("ABOVE", 1)),
    }


def test_containers_say_so(read_object: ReadObject) -> None:
    """A struct or union is no value itself."""
    (datasource,) = Contract.from_object(read_object("fields")).datasources
    containers = [each.name for each in datasource.fields if each.kind == "Bytes"]
    assert containers == ["proc", "proc.named", "address"]


def test_iterators_and_maps_are_arrays(read_object: ReadObject) -> None:
    """Of what several programs write, or of a map's keys and values."""
    contract = Contract.from_object(read_object("iterators"))
    processes, totals = contract.datasources
    assert (processes.kind, processes.map, processes.struct) == ("iter", None, "entry")
    assert processes.programs == ("walk_tasks", "walk_files")
    assert (totals.kind, totals.map, totals.struct, totals.key_struct) == (
        "mapiter",
        "counts",
        "value",
        "key",
    )
    assert [each.name for each in (*totals.key_fields, *totals.fields)] == ["mntns_id", "count"]


def test_parameters_are_what_ig_offers(read_object: ReadObject) -> None:
    """Flag, type and default; a typedef other than ig's own leaves a variable its name."""
    parameters = Contract.from_object(read_object("parameters")).parameters
    assert [(each.variable, each.key, each.kind, each.default) for each in parameters] == [
        ("address", "address", "ip", None),
        ("collect_ustack", "collect-ustack", "bool", False),
        ("largest", "largest", "uint64", 0xFFFFFFFFFFFFFFFF),
        ("letter", "letter", "int8", ord("x")),
        ("level", "level", "", None),
        ("negative", "negative", "int64", -5),
        ("on", "on", "bool", True),
        ("real", "real", "float64", None),
        ("several", "several", "", None),
        ("small", "small", "uint16", 515),
        ("targ_comm", "comm", "string", None),
        ("targ_pid", "pid", "uint32", 0),
        ("targ_tid", "targ_tid", "uint32", 7),
    ]


def test_parameters_say_where_to_write(read_object: ReadObject) -> None:
    """Section and offset."""
    parameter = Contract.from_object(read_object("parameters")).parameter("small")
    assert parameter is not None
    assert (parameter.section, parameter.offset_bytes, parameter.size_bytes) == (".rodata.own", 0, 2)


def test_defaults_follow_the_byte_order(read_object: ReadObject) -> None:
    """Of the file."""
    parameter = Contract.from_object(read_object("big_endian")).parameter("parameter")
    assert parameter is not None
    assert parameter.default == 0x01020304


def test_without_btf_there_is_no_contract(read_object: ReadObject) -> None:
    """The message says how to compile."""
    with pytest.raises(ObjectError, match="no BTF: compile with -g"):
        Contract.from_object(read_object("no_btf"))


def marked(elf: ModuleType, marker: str) -> Object:
    """Return an object with a hash map `table`, a struct `event` and the marker called *marker*."""
    strings = bytearray(b"\0")

    def name(text: str) -> int:
        strings.extend(text.encode() + b"\0")
        return len(strings) - len(text) - 1

    words = [
        *(0, Kind.CONST << 24, 0),
        *(0, Kind.POINTER << 24, 1),
        *(name(marker), Kind.VARIABLE << 24, 2, 1),
        *(name("event"), Kind.STRUCT << 24, 8),
        *(0, Kind.ARRAY << 24, 0, 0, 0, 1),
        *(0, Kind.POINTER << 24, 5),
        *(0, Kind.STRUCT << 24 | 1, 8, name("type"), 6, 0),
        *(name("table"), Kind.VARIABLE << 24, 7, 1),
        *(name(".maps"), Kind.DATA_SECTION << 24 | 1, 8, 8, 0, 8),
    ]
    data = struct.pack(f"<{len(words)}I", *words)
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(data), len(data), len(strings))
    sections = [elf.FakeSection(".maps", bytes(8)), elf.FakeSection(".BTF", header + data + strings)]
    return Object.from_bytes(elf.make(sections, [elf.FakeSymbol("table", 1, 0, elf.OBJECT)]))


@pytest.mark.parametrize(
    ("marker", "sentence"),
    [
        ("gadget_tracer_a___b", "expected datasource, map and struct"),
        ("gadget_tracer_a___b___c", "there is no map 'b'"),
        (
            "gadget_tracer_a___table___event",
            "map 'table' is neither ring buffer nor perf event array but hash",
        ),
        ("gadget_iter_a", "expected datasource, struct and programs"),
        ("gadget_iter_a___event___p", "'p' is no iterator program"),
        ("gadget_snapshotter_a___event___p", "'p' is no iterator program"),
        ("gadget_mapiter_a", "expected datasource and map"),
        ("gadget_mapiter_a___b", "there is no map 'b'"),
        ("gadget_mapiter_a___table", "the key of map 'table' is no struct"),
        ("gadget_param_missing", "there is no global variable 'missing'"),
    ],
)
def test_markers_that_lead_nowhere_are_refused(elf: ModuleType, marker: str, sentence: str) -> None:
    """By name: ig would refuse to run the gadget."""
    with pytest.raises(ObjectError) as caught:
        Contract.from_object(marked(elf, marker))
    assert str(caught.value) == f"marker {marker}: {sentence}"


def test_structs_nested_in_a_circle_end() -> None:
    """No compiler makes them."""
    struct_ = Composite("s", 8, (types.Member("again", 1, 0, 0),), Kind.STRUCT)
    btf = Btf((types.Void(), struct_), {"s": (1,)}, types.Strings(b""))
    with pytest.raises(ObjectError, match="structs are nested too deeply"):
        list(fields(btf, struct_))


def test_structs_of_too_many_fields_end() -> None:
    """Ten members in each of five levels."""
    number = types.Int("u8", 1, types.Encoding.UNSIGNED)
    levels = [
        Composite(f"s{n}", 1, tuple(types.Member(f"m{m}", n + 1, 0, 0) for m in range(10)), Kind.STRUCT)
        for n in range(1, 6)
    ]
    btf = Btf((types.Void(), *levels, number), {}, types.Strings(b""))
    with pytest.raises(ObjectError, match="more than 10000 fields"):
        list(fields(btf, levels[0]))


def test_programs_have_the_map_that_a_marker_names(read_object: ReadObject) -> None:
    """Iterators over a map's entries, and programs of sockets."""
    contract = Contract.from_object(read_object("target_maps"))
    assert contract.target_maps == {"each_entry": "watched", "on_stream": "sockets", "on_message": "sockets"}


@pytest.mark.parametrize(
    ("marker", "reason"),
    [
        ("each_entry", "expected program and map"),
        ("each_entry___a___b", "expected program and map"),
        ("gone___watched", "there is no program 'gone'"),
        ("on_message___watched", "program 'on_message': expected section iter/bpf_map_elem or"),
        ("each_entry___gone", "there is no map 'gone'"),
        ("each_entry___watched", "program 'each_entry' has another marker"),
    ],
)
def test_markers_of_maps_that_programs_run_on_are_checked(
    read_object: ReadObject, marker: str, reason: str
) -> None:
    """As ig checks them; two for one program are one too many."""
    markers = [*(["each_entry___watched"] if reason.endswith("another marker") else []), marker]
    with pytest.raises(ObjectError, match=f"marker gadget_mapelem_iter_target_{marker}: {reason}"):
        list(read_target_maps(KINDS[0], markers, read_object("target_maps")))


def test_programs_of_sockets_run_on_maps_of_sockets(read_object: ReadObject) -> None:
    """A hash of anything else is none."""
    with pytest.raises(ObjectError, match="map 'watched': expected sockmap or sockhash, got hash"):
        list(read_target_maps(KINDS[1], ["on_stream___watched"], read_object("target_maps")))
