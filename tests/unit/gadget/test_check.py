"""An object against what ig demands, and gadget.yaml against the object."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from gadgetops.bpf.btf_ext import NOTHING
from gadgetops.bpf.contract import Contract, Datasource, Field, Parameter
from gadgetops.bpf.maps import Map, MapType
from gadgetops.bpf.object import Object, Program, Variable
from gadgetops.errors import ObjectError
from gadgetops.gadget.documents.check import check_metadata, check_object
from gadgetops.gadget.documents.metadata import Metadata
from gadgetops.gadget.documents.problems import Problem

OBJECT = Object(
    programs=(Program("trace_free", "uprobe/libc:free", ()), Program("p", "perf_event/profiler", ())),
    maps=(Map("events", MapType.RINGBUF, max_entries=4096),),
    variables=(Variable("unmarked", ".rodata", 0, 8),),
    sections=(),
    license="GPL",
    byte_order="little",
    btf=None,
    extension=NOTHING,
)


def field(name: str, kind: str = "Uint64", *type_names: str) -> Field:
    return Field(name, name.rpartition(".")[2], 0, 8, kind, type_names, 0)


FIELDS = (
    field("timestamp_raw", "Uint64", "gadget_timestamp", "u64"),
    field("plain_raw"),
    field("proc", "Bytes", "gadget_process"),
    field("proc.pid", "Uint32", "gadget_pid"),
    field("proc.mntns_id", "Uint64", "gadget_mntns_id"),
    field("proc.creds", "Bytes", "gadget_creds"),
    field("proc.creds.uid", "Uint32", "gadget_uid"),
    field("proc.creds.gid", "Uint32", "gadget_gid"),
    field("src", "Bytes", "gadget_l4endpoint_t"),
    field("ustack", "Bytes", "gadget_user_stack"),
    field("size"),
)
UNKNOWN_TO_IG = ("plain_raw", "size")
"""Of those, what has no type of ig's own headers, which ig describes."""
PARAMETERS = (
    Parameter("min_size", "min_size", "uint64", 1, ".rodata", 0, 8),
    Parameter("targ_pid", "pid", "uint32", 0, ".rodata", 8, 4),
)
CONTRACT = Contract((Datasource("malloc", "tracer", "events", "event", 100, FIELDS),), PARAMETERS)
USTACK = Map("ig_ustack", MapType.STACK_TRACE, 4, 1016, 10_000)
SOUND = replace(OBJECT, maps=(*OBJECT.maps, USTACK))


def object_problems(obj: Object, contract: Contract = CONTRACT, metadata: str = "name: x") -> list[str]:
    try:
        check_object(obj, contract, Metadata.from_bytes(metadata.encode()), "amd64.bpf.o")
    except ObjectError as error:
        assert error.name == "amd64.bpf.o"
        first, *others = error.reason.splitlines()
        return [line.strip() for line in others] or [first]
    return []


def with_maps(*maps: Map) -> Object:
    names = {found.name for found in maps}
    return replace(SOUND, maps=(*(found for found in SOUND.maps if found.name not in names), *maps))


def test_a_sound_object_has_no_problems() -> None:
    assert object_problems(SOUND) == []
    assert object_problems(with_maps(Map("gadget_mntns_filter_map", MapType.HASH, 8, 4, 1024))) == []
    assert object_problems(with_maps(Map("events_lost_samples", MapType.PERCPU_ARRAY, 4, 8, 1))) == []
    assert object_problems(with_maps(Map("ig_build_id", MapType.HASH, 4, 4064, 0))) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"type": MapType.LRU_HASH},
        {"key_size_bytes": 4},
        {"value_size_bytes": 8},
        {"max_entries": 1025},
        {"flags": 1},
    ],
)
def test_the_filter_map_must_be_just_what_ig_replaces_it_with(changed: dict[str, int]) -> None:
    filter_map = replace(Map("gadget_mntns_filter_map", MapType.HASH, 8, 4, 1024), **changed)
    (problem,) = object_problems(with_maps(filter_map))
    assert problem.startswith(
        "map 'gadget_mntns_filter_map': "
        "expected hash of 8-byte keys, 4-byte values, 1024 entries, flags 0x0, got "
    )
    assert problem.endswith("ig would not fill it, and no event would pass the filter")


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (replace(USTACK, value_size_bytes=1024), "map 'ig_ustack': expected stack_trace of 4-byte keys"),
        (Map("ig_build_id", MapType.HASH, 4, 4063, 9), "map 'ig_build_id': expected hash of 4-byte keys"),
        (Map("events_lost_samples", MapType.ARRAY, 4, 8, 1), "map 'events_lost_samples': expected percpu"),
        (Map("events", MapType.RINGBUF, max_entries=5000), "map 'events': size: expected a power of two"),
        (Map("events", MapType.RINGBUF, max_entries=2048), "map 'events': size: expected a power of two"),
    ],
)
def test_other_maps_that_ig_knows_have_a_shape_too(wrong: Map, problem: str) -> None:
    (found,) = object_problems(with_maps(wrong))
    assert found.startswith(problem)


def test_a_stack_needs_its_map() -> None:
    assert object_problems(OBJECT) == ["field 'ustack' is a gadget_user_stack, which needs a map 'ig_ustack'"]


def test_the_marker_of_a_tracer_map_names_a_ring_buffer() -> None:
    marker = Variable("gadget_map_tracer_sizes", ".bss", 0, 8)
    problem = "marker gadget_map_tracer_sizes: there is no ring buffer 'sizes'"
    assert object_problems(replace(SOUND, variables=(marker,))) == [problem]


def test_a_licence_is_needed_where_there_are_programs() -> None:
    (problem,) = object_problems(replace(SOUND, license=""))
    assert problem.startswith("no licence: ")
    assert object_problems(replace(SOUND, license="", programs=())) == []


def test_parameters_are_constants_of_a_type_that_ig_can_set() -> None:
    in_data, untyped = replace(PARAMETERS[0], section=".data"), replace(PARAMETERS[0], kind="")
    for parameter, problem in ((in_data, "is not const volatile"), (untyped, "is neither a number nor text")):
        (found,) = object_problems(SOUND, replace(CONTRACT, parameters=(parameter,)))
        assert found == f"parameter 'min_size' {problem}, so ig cannot set it"


def test_programs_that_cannot_be_attached_are_refused_unless_disabled() -> None:
    obj = replace(SOUND, programs=(Program("odd", "xdp", ()),))
    assert object_problems(obj) == ["program 'odd': ig cannot attach a program in section 'xdp'"]
    assert object_problems(obj, metadata="programs: {odd: {attach_to: gadget_program_disabled}}") == []


def test_all_problems_of_an_object_are_listed() -> None:
    programs = (Program("a", "xdp", ()), Program("b", "tc", ()))
    problems = object_problems(replace(OBJECT, license="", programs=programs))
    assert [problem.split(":")[0] for problem in problems] == [
        "no licence",
        "program 'a'",
        "program 'b'",
        "field 'ustack' is a gadget_user_stack, which needs a map 'ig_ustack'",
    ]


def wrong(text: str, *, has_wasm: bool = False) -> dict[str, str]:
    checked = check_metadata(Metadata.from_bytes(text.encode()), SOUND, CONTRACT, has_wasm=has_wasm)
    assert all("params" in each.keys[0].lower() for each in checked.wrong), "ig passes over all else"
    return found((*checked.wrong, *checked.stale))


def undocumented(text: str) -> list[str]:
    checked = check_metadata(Metadata.from_bytes(text.encode()), SOUND, CONTRACT, has_wasm=False)
    return list(found((*checked.undocumented, *checked.placeholders)))


def found(problems: Iterable[Problem]) -> dict[str, str]:
    return {".".join(problem.keys): problem.text for problem in problems}


def fields(*names: str, annotations: str = "{}") -> str:
    members = ", ".join(f"{name}: {{}}" for name in names)
    return f"datasources: {{malloc: {{annotations: {annotations}, fields: {{{members}}}}}}}"


def test_what_the_object_has_and_what_ig_makes_of_it_may_be_named() -> None:
    names = ["timestamp_raw", "timestamp", "proc.pid", "proc.creds.user", "proc.creds.group", "size"]
    names += ["ustack.symbols", "ustack.addresses", "ustack.buildid", "k8s.podName", "runtime.containerName"]
    names += ["k8s", "src.addr", "src.k8s.name"]
    assert wrong(fields(*names)) == {}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sizes", " (did you mean 'size'?)"),
        ("plain", " (did you mean 'plain_raw'?)"),
        ("proc.user", ""),
        ("k8sx", ""),
        ("qqqq", ""),
    ],
)
def test_a_field_that_nothing_makes_is_refused(name: str, hint: str) -> None:
    text = wrong(fields(name))[f"datasources.malloc.fields.{name}"]
    assert text.startswith("the object has no such field")
    assert hint in text


def test_annotations_name_further_fields() -> None:
    annotations = "{env.fields.NODE: X, ebpf.rest.name: rest}"
    assert wrong(fields("NODE", "rest", annotations=annotations)) == {}
    targets = (
        "datasources: {malloc: {fields: {"
        "plain_raw: {annotations: {formatters.bytes.target: nice}},"
        "proc.creds.uid: {annotations: {uidgidresolver.target: who}},"
        "nice: {}, proc.creds.who: {}}}}"
    )
    assert wrong(targets) == {}


def test_names_the_object_lacks_are_refused_with_the_nearest() -> None:
    text = """
        datasources: {maloc: {fields: {x: {}}}}
        params: {ebpf: {min_sze: {key: m}, unmarked: {key: u}}}
        ebpfParams: {qqqq: {key: q}}
        programs: {trace_fre: {}, profiler: {}, p: {}}
    """
    assert wrong(text) == {
        "datasources.maloc": "the object has no such datasource (did you mean 'malloc'?)",
        "params.ebpf.min_sze": "the object has no such parameter (did you mean 'min_size'?)",
        "params.ebpf.unmarked": "the object has no such parameter: mark the variable with GADGET_PARAM",
        "ebpfParams.qqqq": "the object has no such parameter",
        "programs.trace_fre": "the object has no such program (did you mean 'trace_free'?)",
    }


def test_operators_and_wasm_modules_make_datasources_too() -> None:
    text = """
        annotations: {enable-containers-datasource: true}
        operator: {process: {emitstats: true}, cgroup: {emitstats: false}}
        datasources: {containers: {}, processes: {fields: {any: {}}}, cgroups: {}}
    """
    assert list(wrong(text)) == ["datasources.cgroups"]
    assert wrong(text, has_wasm=True) == {}
    assert wrong(fields("any"), has_wasm=True) == {}


def test_what_is_not_named_is_listed_once_and_only_the_outermost_fields() -> None:
    assert undocumented("name: x") == [
        *(f"datasources.malloc.fields.{name}" for name in UNKNOWN_TO_IG),
        "params.ebpf.min_size",
    ]


def test_a_placeholder_is_no_description() -> None:
    assert undocumented(f"description: 'TODO: Fill the gadget description'\n{fields(*UNKNOWN_TO_IG)}") == [
        "params.ebpf.min_size",
        "description",
    ]


def test_a_field_is_named_by_what_ig_makes_of_it_or_by_what_is_in_it() -> None:
    named = fields("timestamp", "plain_raw", "proc.creds.user", "src.addr", "ustack.symbols", "size")
    assert undocumented(f"{named}\nebpfParams: {{min_size: {{key: m}}}}") == []
