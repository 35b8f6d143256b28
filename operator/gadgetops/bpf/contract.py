"""
What a gadget promises to `ig` by the names in its object: datasources with their fields, and parameters.

A marker is a global variable of type `const void *` whose *name* says everything; its pieces are separated by
three
underscores: `gadget_tracer_<datasource>___<map>___<struct>`,
    `gadget_iter_<datasource>___<struct>___<program>…`, `gadget_mapiter_<datasource>___<map>`,
    `gadget_param_<variable>`. The rules are those of `ig` v0.55.1 (`pkg/operators/ebpf`). Markers that are
    `static` or of another type are passed over, as there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Final, Literal

from gadgetops.bpf import btf as types
from gadgetops.bpf.btf import Btf, Encoding, Kind, Linkage
from gadgetops.bpf.maps import Map, MapType
from gadgetops.bpf.object import Object, Variable
from gadgetops.bpf.target_maps import KINDS, read_target_maps
from gadgetops.errors import ObjectError

FIELDS_LIMIT: Final = 10_000
"""Most fields of one struct, nested ones included."""

SEPARATOR: Final = "___"
_TRACER: Final = "gadget_tracer_"
_ITERATOR_PREFIXES: Final = ("gadget_iter_", "gadget_snapshotter_")
_MAP_ITERATOR: Final = "gadget_mapiter_"
_PARAMETER: Final = "gadget_param_"
_ITERATOR_SECTION: Final = "iter/"

DatasourceKind = Literal["tracer", "iter", "mapiter"]


@dataclass(frozen=True)
class Field:
    """
    One field of a datasource.

    Args:
        name: Dotted path from the struct, such as `"proc.parent.pid"`.
        member: The last piece of *name*.
        offset_bytes: From the start of the event.
        kind: As `ig` names kinds: `"Uint64"`, `"CString"`, `"Bytes"` for a struct or union that contains
            further fields, `"[]Uint8"` for an array, `"Invalid"` for bytes it cannot interpret.
        type_names: Typedefs and base types met while resolving the type, outermost first.
        type_id: In BTF.
        enum: The enum behind the field, if it is one: its *values* name the numbers.
    """

    name: str
    member: str
    offset_bytes: int
    size_bytes: int
    kind: str
    type_names: tuple[str, ...]
    type_id: int
    enum: types.Enum | None = None


@dataclass(frozen=True)
class Datasource:
    """
    Something the gadget tells about.

    Args:
        kind: `"tracer"` sends events one by one; `"iter"` and `"mapiter"` give arrays.
        map: What events come through, or the map that is read; None for `"iter"`.
        struct: Name of the struct of an event; of the values for `"mapiter"`.
        size_bytes: Of that struct.
        fields: In order of declaration, a container before what it contains.
        programs: The iterator programs of `"iter"`.
        key_struct: Name of the struct of the keys of `"mapiter"`; their fields come before those of the
            values.
    """

    name: str
    kind: DatasourceKind
    map: str | None
    struct: str
    size_bytes: int
    fields: tuple[Field, ...]
    programs: tuple[str, ...] = ()
    key_struct: str | None = None
    key_size_bytes: int = 0
    key_fields: tuple[Field, ...] = ()

    def field(self, name: str) -> Field | None:
        """Return the field with that dotted *name*, or None."""
        return next((field for field in self.fields if field.name == name), None)


@dataclass(frozen=True)
class Parameter:
    """
    A `const volatile` variable that users may set before the object is loaded.

    Args:
        variable: Its name in C.
        key: The flag, as `ig` names it unless gadget.yaml says otherwise: `"pid"` for `targ_pid`.
        kind: Type hint as `ig` names it: `"uint32"`, `"bool"`, `"string"`; empty for what `ig` cannot set.
        default: The initial value in the object, where `ig` reads it; None for text and arrays.
        section: The data section to write to.
        offset_bytes: Where in *section*.
    """

    variable: str
    key: str
    kind: str
    default: int | bool | None
    section: str
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True)
class Contract:
    """
    Datasources and parameters of an object, each by name.

    Args:
        datasources: What it tells about.
        parameters: What users may set.
        target_maps: Program -> the map that it runs on.
    """

    datasources: tuple[Datasource, ...]
    parameters: tuple[Parameter, ...]
    target_maps: Mapping[str, str] = dataclass_field(default_factory=dict)

    @classmethod
    def from_object(cls, obj: Object) -> "Contract":
        """
        Return what *obj* promises.

        Raises:
            ObjectError: It has no BTF, or a marker names a map, struct, program or variable that it lacks.
        """
        if obj.btf is None:
            raise ObjectError("no BTF: compile with -g and strip with llvm-strip -g only")
        reader = _Reader(obj, obj.btf)
        datasources = {found.name: found for found in reader.datasources()}
        parameters = {found.variable: found for found in reader.parameters()}
        return cls(
            tuple(found for _, found in sorted(datasources.items())),
            tuple(found for _, found in sorted(parameters.items())),
            dict(reader.target_maps()),
        )

    def datasource(self, name: str) -> Datasource | None:
        """Return the datasource called *name*, or None."""
        return next((found for found in self.datasources if found.name == name), None)

    def parameter(self, variable: str) -> Parameter | None:
        """Return the parameter whose *variable* has that name, or None."""
        return next((found for found in self.parameters if found.variable == variable), None)


_KEYS: Final[Mapping[tuple[str, str], str]] = {
    ("gadget_pid", "targ_pid"): "pid",
    ("gadget_tid", "targ_tid"): "tid",
    ("gadget_uid", "targ_uid"): "uid",
    ("gadget_gid", "targ_gid"): "gid",
    ("gadget_comm", "targ_comm"): "comm",
    ("bool", "collect_ustack"): "collect-ustack",
    ("bool", "collect_build_id"): "collect-build-id",
    ("bool", "collect_otel_stack"): "collect-otel-stack",
}
"""(Type name, variable) -> flag, for the variables that ig's headers define."""

_ADDRESS_STRUCT: Final = "gadget_l3endpoint_t"


class _Reader:
    def __init__(self, obj: Object, btf: Btf) -> None:
        self._object = obj
        self._btf = btf

    def datasources(self) -> Iterator[Datasource]:
        for rest in self._markers(_TRACER):
            yield self._tracer(rest)
        for prefix in _ITERATOR_PREFIXES:
            for rest in self._markers(prefix):
                yield self._iterator(prefix, rest)
        for rest in self._markers(_MAP_ITERATOR):
            yield self._map_iterator(rest)

    def parameters(self) -> Iterator[Parameter]:
        for name in self._markers(_PARAMETER):
            yield self._parameter(name)

    def target_maps(self) -> Iterator[tuple[str, str]]:
        for kind in KINDS:
            yield from read_target_maps(kind, self._markers(kind.prefix), self._object)

    def _markers(self, prefix: str) -> Iterator[str]:
        for variable in self._btf.of_class(types.Variable):
            if variable.name.startswith(prefix) and self._is_marker(variable):
                yield variable.name.removeprefix(prefix)

    def _is_marker(self, variable: types.Variable) -> bool:
        if variable.linkage != Linkage.GLOBAL:
            return False
        type_id = variable.type_id
        for kind in (Kind.POINTER, Kind.CONST):
            found = self._btf.types[type_id]
            if not isinstance(found, types.Reference) or found.kind != kind:
                return False
            type_id = found.type_id
        return self._btf.types[type_id].kind == Kind.VOID

    def _tracer(self, rest: str) -> Datasource:
        pieces = rest.split(SEPARATOR)
        if len(pieces) != 3:
            raise _marker_error(_TRACER + rest, "expected datasource, map and struct")
        name, map_name, struct = pieces
        found = self._map(_TRACER + rest, map_name)
        if found.type not in (MapType.RINGBUF, MapType.PERF_EVENT_ARRAY):
            raise _marker_error(
                _TRACER + rest,
                f"map {map_name!r} is neither ring buffer nor perf event array but {found.type_name}",
            )
        event = self._struct(_TRACER + rest, struct)
        return Datasource(name, "tracer", map_name, struct, event.size_bytes, self._fields(event))

    def _iterator(self, prefix: str, rest: str) -> Datasource:
        name, *pieces = rest.split(SEPARATOR)
        if len(pieces) < 2:
            raise _marker_error(prefix + rest, "expected datasource, struct and programs")
        struct, *programs = pieces
        for program in programs:
            found = self._object.program(program)
            if found is None or not found.section.startswith(_ITERATOR_SECTION):
                raise _marker_error(prefix + rest, f"{program!r} is no iterator program")
        event = self._struct(prefix + rest, struct)
        return Datasource(name, "iter", None, struct, event.size_bytes, self._fields(event), tuple(programs))

    def _map_iterator(self, rest: str) -> Datasource:
        marker = _MAP_ITERATOR + rest
        pieces = rest.split(SEPARATOR)
        if len(pieces) != 2:
            raise _marker_error(marker, "expected datasource and map")
        name, map_name = pieces
        found = self._map(marker, map_name)
        if found.type != MapType.HASH:
            raise _marker_error(marker, f"map {map_name!r} is no hash but {found.type_name}")
        key = self._entry(marker, found, "key", found.key_type_id)
        value = self._entry(marker, found, "value", found.value_type_id)
        return Datasource(
            name,
            "mapiter",
            map_name,
            value.name,
            value.size_bytes,
            self._fields(value),
            key_struct=key.name,
            key_size_bytes=key.size_bytes,
            key_fields=self._fields(key),
        )

    def _entry(self, marker: str, found: Map, what: str, type_id: int | None) -> types.Composite:
        described = None if type_id is None else self._btf.types[type_id]
        if not isinstance(described, types.Composite) or described.kind != Kind.STRUCT:
            raise _marker_error(marker, f"the {what} of map {found.name!r} is no struct")
        return described

    def _map(self, marker: str, name: str) -> Map:
        found = self._object.map(name)
        if found is None:
            raise _marker_error(marker, f"there is no map {name!r}")
        return found

    def _struct(self, marker: str, name: str) -> types.Composite:
        found = [each for each in self._btf.named(name, types.Composite) if each.kind == Kind.STRUCT]
        if len(found) != 1:
            raise _marker_error(marker, f"there is {'no' if not found else 'more than one'} struct {name!r}")
        return found[0]

    def _fields(self, struct: types.Composite) -> tuple[Field, ...]:
        return tuple(fields(self._btf, struct))

    def _parameter(self, name: str) -> Parameter:
        described = list(self._btf.named(name, types.Variable))
        variable = self._object.variable(name)
        if len(described) != 1 or variable is None:
            raise _marker_error(_PARAMETER + name, f"there is no global variable {name!r}")
        type_id = described[0].type_id
        return Parameter(
            variable=name,
            key=self._key(name, type_id),
            kind=self._hint(type_id),
            default=self._default(variable, type_id),
            section=variable.section,
            offset_bytes=variable.offset_bytes,
            size_bytes=variable.size_bytes,
        )

    def _key(self, variable: str, type_id: int) -> str:
        names = scalar(self._btf, type_id).type_names
        return next((_KEYS[name, variable] for name in names if (name, variable) in _KEYS), variable)

    def _hint(self, type_id: int) -> str:
        found = self._btf.resolve(type_id)
        if isinstance(found, types.Int | types.Float):
            return _own_kind(found).lower()
        if isinstance(found, types.Composite) and found.kind == Kind.STRUCT and found.name == _ADDRESS_STRUCT:
            return "ip"
        if isinstance(found, types.Array) and self._btf.resolve(found.type_id).name == "char":
            return "string"
        return ""

    def _default(self, variable: Variable, type_id: int) -> int | bool | None:
        found = self._btf.resolve(type_id)
        if not isinstance(found, types.Int) or found.size_bytes != variable.size_bytes:
            return None
        number = int.from_bytes(
            self._object.contents(variable),
            self._object.byte_order,
            signed=found.encoding == Encoding.SIGNED,
        )
        return bool(number) if found.encoding == Encoding.BOOL else number


def fields(btf: Btf, struct: types.Composite) -> Iterator[Field]:
    """
    Yield the fields that `ig` sees in *struct*, in order of declaration, a container before what it contains.

    Members whose names begin with two underscores are private; what has no value to show is passed over:
    pointers, arrays of structs, structs behind a typedef. Bitfields are seen as the bytes they share.

    Raises:
        ObjectError: There are more than `FIELDS_LIMIT`, or structs are nested in a circle.
    """
    for count, field in enumerate(_members(btf, struct, "", 0, 0), start=1):
        if count > FIELDS_LIMIT:
            raise ObjectError(
                f"struct {struct.name!r} has more than {FIELDS_LIMIT} fields", section=types.SECTION
            )
        yield field


def _members(btf: Btf, composite: types.Composite, prefix: str, base: int, depth: int) -> Iterator[Field]:
    if depth > types.DEPTH_LIMIT:
        raise ObjectError(f"{prefix}: structs are nested too deeply", section=types.SECTION)
    for member in composite.members:
        if member.name.startswith("__"):
            continue
        name, offset = prefix + member.name, base + member.offset_bits // 8
        found = btf.types[member.type_id]
        if isinstance(found, types.Composite):
            names = (found.name,) if found.name else ()
            yield Field(name, member.name, offset, found.size_bytes, "Bytes", names, member.type_id)
            yield from _members(btf, found, f"{name}.", offset, depth + 1)
            continue
        value = scalar(btf, member.type_id)
        if value.size_bytes:
            enum = found if isinstance(found, types.Enum) else None
            yield Field(
                name,
                member.name,
                offset,
                value.size_bytes,
                value.kind,
                value.type_names,
                member.type_id,
                enum,
            )


@dataclass(frozen=True, slots=True)
class Scalar:
    """Kind of a number, text or array; size 0 if it is none that `ig` shows."""

    kind: str
    size_bytes: int
    type_names: tuple[str, ...]


def scalar(btf: Btf, type_id: int, depth: int = 0) -> Scalar:
    """
    Return what a value of the type is to `ig`, with the names met on the way to the base type.

    Raises:
        ObjectError: The type is nested more than 32 deep.
    """
    if depth > types.DEPTH_LIMIT:
        raise ObjectError(f"type {type_id} is nested too deeply", section=types.SECTION)
    found = btf.types[type_id]
    match found:
        case types.Array():
            return _array(scalar(btf, found.type_id, depth + 1), found.count)
        case types.Reference(kind=Kind.TYPEDEF):
            inner = scalar(btf, found.type_id, depth + 1)
            return Scalar(inner.kind, inner.size_bytes, (found.name, *inner.type_names))
        case types.Reference(kind=Kind.CONST | Kind.VOLATILE):
            return scalar(btf, found.type_id, depth + 1)
        case types.Int() | types.Float() | types.Enum() if kind := _own_kind(found):
            return Scalar(kind, _SIZES[kind], (found.name,) if found.name else ())
    return Scalar("", 0, (found.name,) if found.name else ())


def _array(element: Scalar, count: int) -> Scalar:
    if not element.size_bytes:
        return Scalar("", 0, ())
    size = element.size_bytes * count
    if element.kind == "Int8" and "char" in element.type_names:
        return Scalar("CString", size, element.type_names)
    is_nested = element.kind in ("CString", "Invalid") or element.kind.startswith("[]")
    return Scalar("Invalid" if is_nested else f"[]{element.kind}", size, element.type_names)


_SIZES: Final = {
    "Bool": 1,
    **{f"{sign}{8 * size}": size for sign in ("Int", "Uint") for size in (1, 2, 4, 8)},
    "Float32": 4,
    "Float64": 8,
}


def _own_kind(found: types.Int | types.Float | types.Enum) -> str:
    """Return ig's kind of a base type, empty for a size or encoding that it does not know."""
    match found:
        case types.Int(encoding=Encoding.BOOL):
            return "Bool"
        case types.Int(encoding=Encoding.CHAR):
            return "Uint8"
        case types.Int(encoding=Encoding.SIGNED) | types.Enum(is_signed=True):
            kind = f"Int{8 * found.size_bytes}"
        case types.Int(encoding=Encoding.UNSIGNED) | types.Enum():
            kind = f"Uint{8 * found.size_bytes}"
        case types.Float():
            kind = f"Float{8 * found.size_bytes}"
        case _:
            return ""
    return kind if kind in _SIZES else ""


def _marker_error(marker: str, problem: str) -> ObjectError:
    return ObjectError(f"marker {marker}: {problem}")
