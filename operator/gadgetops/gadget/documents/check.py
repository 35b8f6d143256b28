"""An object against what ig demands of it, and gadget.yaml against the object."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from gadgetops.bpf.contract import Contract, Datasource, Field
from gadgetops.bpf.maps import Map, MapType
from gadgetops.bpf.object import Object
from gadgetops.errors import ObjectError
from gadgetops.gadget.documents.companions import (
    KERNEL_STACK_TYPE,
    USER_STACK_TYPE,
    KnownFields,
    operator_datasources,
)
from gadgetops.gadget.documents.metadata import Metadata
from gadgetops.gadget.documents.problems import Problem, suggestion
from gadgetops.gadget.reading.attach import why_unattachable

VARIABLE_PREFIX: Final = "gadget_var_"
TRACER_MAP_PREFIX: Final = "gadget_map_tracer_"
PLACEHOLDER: Final = "TODO: Fill "
"""How the texts begin that ig and we write in place of descriptions."""
_TYPES_OF_IG: Final = ("gadget_", "struct gadget_")
PAGE_BYTES: Final = 4096


@dataclass(frozen=True)
class Shape:
    """
    What ig takes a map of a reserved name to be.

    Attributes:
        expected: Its type, sizes and flags.
        reason: What happens with a map that differs.
        max_entries: How many entries it has; None for any number.
    """

    expected: Map
    reason: str
    max_entries: int | None = None

    def why_not(self, found: Map) -> str | None:
        """Return how *found* differs and what happens then, None if it does not."""
        expected = replace(
            self.expected, max_entries=found.max_entries if self.max_entries is None else self.max_entries
        )
        if _shape_of(expected) == _shape_of(found):
            return None
        return f"expected {_shape_of(expected)}, got {_shape_of(found)}: {self.reason}"


_NO_FILTER: Final = "ig would not fill it, and no event would pass the filter"
_NO_STACKS: Final = "ig reads 127 addresses, 8 bytes each, for a stack"
_NO_BUILD_IDS: Final = "ig reads 127 build ids, 32 bytes each, for a stack"
_NO_COUNTER: Final = "ig reads one counter for each CPU"

SHAPES: Final = {
    "gadget_mntns_filter_map": Shape(Map("", MapType.HASH, 8, 4), _NO_FILTER, max_entries=1024),
    "ig_ustack": Shape(Map("", MapType.STACK_TRACE, 4, 127 * 8), _NO_STACKS),
    "ig_kstack": Shape(Map("", MapType.STACK_TRACE, 4, 127 * 8), _NO_STACKS),
    "ig_build_id": Shape(Map("", MapType.HASH, 4, 127 * 32), _NO_BUILD_IDS),
}
"""Maps that ig knows by name (ig v0.48.0 and v0.55.1)."""

LOST_SAMPLES: Final = Shape(Map("", MapType.PERCPU_ARRAY, 4, 8), _NO_COUNTER, max_entries=1)
"""The map beside a tracer's, in which its program counts the events it could not send."""


@dataclass(frozen=True)
class Checked:
    """
    What a gadget.yaml and an object think of each other.

    Attributes:
        wrong: gadget.yaml names what the object lacks, and ig refuses it.
        stale: gadget.yaml names what the object lacks, and ig passes over it.
        undocumented: The object has what gadget.yaml does not name.
        placeholders: gadget.yaml describes it by a text that says what is to be filled in.
    """

    wrong: tuple[Problem, ...]
    stale: tuple[Problem, ...]
    undocumented: tuple[Problem, ...]
    placeholders: tuple[Problem, ...]


def check_object(
    obj: Object, contract: Contract, metadata: Metadata | None, name: str, *, is_strict: bool = True
) -> list[str]:
    """
    Check that ig can load and attach *obj*, and would not silently go wrong with it.

    Unless *is_strict*, programs that ig builds and cannot attach are returned, a sentence each.

    Args:
        obj: The object.
        contract: What it promises.
        metadata: Its gadget.yaml, which may redirect or disable programs.
        name: What errors call the object.

    Raises:
        ObjectError: Everything that is wrong, a line each.
    """
    programs = [*_program_problems(obj, contract, metadata)]
    found = [
        *_license_problems(obj),
        *(programs if is_strict else ()),
        *_map_problems(obj, contract),
        *_stack_problems(obj, contract),
        *_variable_problems(obj, contract),
    ]
    if len(found) == 1:
        raise ObjectError(found[0], name=name)
    if found:
        raise ObjectError("\n  ".join([f"{len(found)} problems", *found]), name=name)
    return [f"{name}: {problem}" for problem in programs]


def _license_problems(obj: Object) -> Iterator[str]:
    if obj.programs and not obj.license:
        yield 'no licence: the kernel would refuse most helpers; add char LICENSE[] SEC("license") = "GPL"'


def _program_problems(obj: Object, contract: Contract, metadata: Metadata | None) -> Iterator[str]:
    for program in obj.programs:
        settings = {} if metadata is None else metadata.mapping("programs", program.name)
        reason = why_unattachable(program, settings.get("attach_to"), contract.target_maps)
        if reason is not None:
            yield f"program {program.name!r}: {reason}"


def _map_problems(obj: Object, contract: Contract) -> Iterator[str]:
    tracers = [source for source in contract.datasources if source.kind == "tracer"]
    lost = {f"{source.map}_lost_samples": LOST_SAMPLES for source in tracers}
    for name, shape in (SHAPES | lost).items():
        found = obj.map(name)
        reason = None if found is None else shape.why_not(found)
        if reason is not None:
            yield f"map {name!r}: {reason}"
    yield from _ring_buffer_problems(obj)


def _ring_buffer_problems(obj: Object) -> Iterator[str]:
    for variable in obj.variables:
        if not variable.name.startswith(TRACER_MAP_PREFIX):
            continue
        name = variable.name.removeprefix(TRACER_MAP_PREFIX)
        found = obj.map(name)
        if found is None or found.type != MapType.RINGBUF:
            yield f"marker {variable.name}: there is no ring buffer {name!r}"
    for found in obj.maps:
        size = found.max_entries
        if found.type == MapType.RINGBUF and (size < PAGE_BYTES or size & (size - 1)):
            yield f"map {found.name!r}: size: expected a power of two, at least {PAGE_BYTES}, got {size}"


def _stack_problems(obj: Object, contract: Contract) -> Iterator[str]:
    needed = {USER_STACK_TYPE: "ig_ustack", KERNEL_STACK_TYPE: "ig_kstack"}
    for source in contract.datasources:
        for field in _fields(source):
            for type_name in needed.keys() & set(field.type_names):
                if obj.map(needed[type_name]) is None:
                    yield f"field {field.name!r} is a {type_name}, which needs a map {needed[type_name]!r}"


def _variable_problems(obj: Object, contract: Contract) -> Iterator[str]:
    for name in sorted(obj.btf.by_name) if obj.btf else ():
        if name.startswith(VARIABLE_PREFIX):
            yield f"{name!r}: ig takes this prefix for a variable of its own and does not start"
    for parameter in contract.parameters:
        if not parameter.section.startswith(".rodata"):
            yield f"parameter {parameter.variable!r} is not const volatile, so ig cannot set it"
        elif not parameter.kind:
            yield f"parameter {parameter.variable!r} is neither a number nor text, so ig cannot set it"


def check_metadata(metadata: Metadata, obj: Object, contract: Contract, *, has_wasm: bool) -> Checked:
    """
    Return what *metadata* names and *obj* lacks, and the other way round.

    Args:
        metadata: The gadget.yaml.
        obj: The object.
        contract: What it promises.
        has_wasm: Whether the gadget has a wasm module, which may add any datasource and field.
    """
    return Checked(
        wrong=tuple(_unknown_parameters(metadata, obj, contract)),
        stale=(
            *(() if has_wasm else _unknown_datasources(metadata, contract)),
            *(() if has_wasm else _unknown_fields(metadata, contract)),
            *_unknown_programs(metadata, obj),
        ),
        undocumented=tuple(undocumented(metadata, contract)),
        placeholders=tuple(_placeholders(metadata.document.texts)),
    )


def undocumented(
    metadata: Metadata, contract: Contract, *, with_types_of_ig: bool = False
) -> Iterator[Problem]:
    """
    Yield each datasource, field and parameter of *contract* that *metadata* does not name.

    A struct counts as one field, named if anything in it is. What comes from ig's own headers and ig itself
    describes, parameters (`--pid`) and types (`gadget_process`), needs no word.
    """
    for source in contract.datasources:
        known = KnownFields(source, metadata)
        named = metadata.mapping("datasources", source.name, "fields")
        for field in outermost_fields(source):
            if _is_described_by_ig(field) and not with_types_of_ig:
                continue
            if not any(_names(name, own) for own in known.of(field) for name in named):
                yield Problem(("datasources", source.name, "fields", field.name), "not documented")
    for parameter in contract.parameters:
        is_described_by_ig = parameter.key != parameter.variable
        if not is_described_by_ig and parameter.variable not in _parameters(metadata):
            yield Problem(("params", "ebpf", parameter.variable), "not documented")


def _is_described_by_ig(field: Field) -> bool:
    return any(name.startswith(_TYPES_OF_IG) for name in field.type_names)


def _placeholders(value: Any, keys: tuple[str, ...] = ()) -> Iterator[Problem]:
    """Yield each text below *value* that still says what is to be filled in."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _placeholders(each, (*keys, key))
    elif isinstance(value, str) and value.startswith(PLACEHOLDER):
        yield Problem(keys, f"still to be filled in: {value!r}")


def outermost_fields(source: Datasource) -> list[Field]:
    """Return the fields of *source* that are in no other field, each name once, in order of declaration."""
    return list(
        {field.name: field for field in _fields(source) if field.name and "." not in field.name}.values()
    )


def _names(name: str, field: str) -> bool:
    return name == field or name.startswith(f"{field}.")


def _fields(source: Datasource) -> tuple[Field, ...]:
    return (*source.key_fields, *source.fields)


def _parameters(metadata: Metadata) -> Mapping[str, object]:
    return {**metadata.mapping("ebpfParams"), **metadata.mapping("params", "ebpf")}


def _unknown_datasources(metadata: Metadata, contract: Contract) -> Iterator[Problem]:
    known = {source.name for source in contract.datasources} | operator_datasources(metadata)
    for name in metadata.mapping("datasources"):
        if name.lower() not in map(str.lower, known):
            yield Problem(
                ("datasources", name), f"the object has no such datasource{suggestion(name, known)}"
            )


def _unknown_fields(metadata: Metadata, contract: Contract) -> Iterator[Problem]:
    for source in contract.datasources:
        known = KnownFields(source, metadata)
        for name in metadata.mapping("datasources", source.name, "fields"):
            if not known.has(name):
                keys = ("datasources", source.name, "fields", name)
                yield Problem(keys, f"the object has no such field{suggestion(name, known.names)}")


def _unknown_parameters(metadata: Metadata, obj: Object, contract: Contract) -> Iterator[Problem]:
    known = {parameter.variable for parameter in contract.parameters}
    for group in (("params", "ebpf"), ("ebpfParams",)):
        for name in metadata.mapping(*group):
            if name in known:
                continue
            hint = ": mark the variable with GADGET_PARAM" if obj.variable(name) else suggestion(name, known)
            yield Problem((*group, name), f"the object has no such parameter{hint}")


def _unknown_programs(metadata: Metadata, obj: Object) -> Iterator[Problem]:
    known = {program.name for program in obj.programs}
    # ig looks perf events up by their section's name.
    known |= {
        name for kind, _, name in (p.section.partition("/") for p in obj.programs) if kind == "perf_event"
    }
    for name in metadata.mapping("programs"):
        if name not in known:
            yield Problem(("programs", name), f"the object has no such program{suggestion(name, known)}")


def _shape_of(found: Map) -> str:
    sizes = f"{found.key_size_bytes}-byte keys, {found.value_size_bytes}-byte values"
    return f"{found.type_name} of {sizes}, {found.max_entries} entries, flags {found.flags:#x}"
