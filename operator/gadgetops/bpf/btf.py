"""
BTF, the type information of a BPF object: the sections `.BTF` and `.BTF.ext`.

By the kernel's Documentation/bpf/btf.rst (as of Linux 6.12), every kind up to ENUM64, either byte order.
Types refer to each other by id, so that no cycle can trap whoever walks them; `resolve` follows at most
`DEPTH_LIMIT` steps. Any bytes give a value or an `ObjectError`, in time and memory proportional to their
number.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, TypeVar

from gadgetops.elf import ByteOrder
from gadgetops.errors import ObjectError

DEPTH_LIMIT: Final = 32
"""Longest chain of typedefs, qualifiers and arrays that is followed; libbpf's MAX_RESOLVE_DEPTH."""

SECTION: Final = ".BTF"
EXTENSION_SECTION: Final = ".BTF.ext"
_MAGIC: Final = 0xEB9F
_HEADER_BYTES: Final = 24
_TYPE_BYTES: Final = 12


class Kind(IntEnum):
    """`BTF_KIND_*`."""

    VOID = 0
    INT = 1
    POINTER = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FORWARD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNCTION = 12
    PROTOTYPE = 13
    VARIABLE = 14
    DATA_SECTION = 15
    FLOAT = 16
    DECLARATION_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


class Encoding(IntEnum):
    """How an integer is to be read."""

    UNSIGNED = 0
    SIGNED = 1
    CHAR = 2
    BOOL = 4


class Linkage(IntEnum):
    """Of variables and functions."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


@dataclass(frozen=True, slots=True)
class Void:
    """No type; id 0."""

    name: str = ""
    kind: Kind = Kind.VOID


@dataclass(frozen=True, slots=True)
class Int:
    """An integer, a bool or a char; *encoding* is one of `Encoding` or another number."""

    name: str
    size_bytes: int
    encoding: int
    kind: Kind = Kind.INT


@dataclass(frozen=True, slots=True)
class Float:
    """A floating-point number."""

    name: str
    size_bytes: int
    kind: Kind = Kind.FLOAT


@dataclass(frozen=True, slots=True)
class Reference:
    """
    A type that refers to one other: pointer, typedef, const, volatile, restrict, type tag, declaration tag,
    function.

    Args:
        name: Of a typedef or function, or the text of a tag; else empty.
        type_id: What it refers to.
        linkage: Of a function, one of `Linkage`.
    """

    name: str
    type_id: int
    kind: Kind
    linkage: int = 0


@dataclass(frozen=True, slots=True)
class Array:
    """*count* elements of one type."""

    type_id: int
    index_type_id: int
    count: int
    name: str = ""
    kind: Kind = Kind.ARRAY


class Member(NamedTuple):
    """A member of a struct or union; *bitfield_bits* is 0 unless it is a bitfield."""

    name: str
    type_id: int
    offset_bits: int
    bitfield_bits: int


@dataclass(frozen=True, slots=True)
class Composite:
    """A struct or union."""

    name: str
    size_bytes: int
    members: tuple[Member, ...]
    kind: Kind


@dataclass(frozen=True, slots=True)
class Enum:
    """An enum: *values* are (name, value), in order, signed as *is_signed* says."""

    name: str
    size_bytes: int
    is_signed: bool
    values: tuple[tuple[str, int], ...]
    kind: Kind = Kind.ENUM


@dataclass(frozen=True, slots=True)
class Forward:
    """A struct or union that is only declared."""

    name: str
    is_union: bool
    kind: Kind = Kind.FORWARD


@dataclass(frozen=True, slots=True)
class Prototype:
    """What a function takes and returns: *parameters* are (name, type id)."""

    return_type_id: int
    parameters: tuple[tuple[str, int], ...]
    name: str = ""
    kind: Kind = Kind.PROTOTYPE


@dataclass(frozen=True, slots=True)
class Variable:
    """A global variable."""

    name: str
    type_id: int
    linkage: int
    kind: Kind = Kind.VARIABLE


class SectionVariable(NamedTuple):
    """Where a variable lies in its data section, as the compiler left it (often all zero)."""

    type_id: int
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DataSection:
    """The variables of an ELF section."""

    name: str
    size_bytes: int
    variables: tuple[SectionVariable, ...]
    kind: Kind = Kind.DATA_SECTION


Type = (
    Void | Int | Float | Reference | Array | Composite | Enum | Forward | Prototype | Variable | DataSection
)

_T = TypeVar("_T", bound=Type)

QUALIFIERS: Final = frozenset({Kind.CONST, Kind.VOLATILE, Kind.RESTRICT, Kind.TYPE_TAG})
_REFERENCES: Final = frozenset({*QUALIFIERS, Kind.POINTER, Kind.TYPEDEF, Kind.FUNCTION, Kind.DECLARATION_TAG})


@dataclass(frozen=True)
class Btf:
    """
    All types of an object.

    Args:
        types: By id; id 0 is `Void`.
        by_name: Ids of the types with that name, ascending.
        strings: The string table, which `.BTF.ext` refers to as well.
    """

    types: tuple[Type, ...]
    by_name: Mapping[str, tuple[int, ...]]
    strings: "Strings"

    @classmethod
    def from_bytes(cls, data: bytes | memoryview, byte_order: ByteOrder) -> "Btf":
        """
        Return the types that *data*, the contents of `.BTF`, describes.

        Raises:
            ObjectError: A header, type or name is damaged, or refers to a type that does not exist.
        """
        data = bytes(data)
        prefix = "<" if byte_order == "little" else ">"
        types_part, strings_part = _parts(data, prefix)
        strings = Strings(strings_part)
        types = tuple(_types(types_part, prefix, strings))
        _check_references(types)
        names: dict[str, list[int]] = {}
        for type_id, described in enumerate(types):
            if described.name:
                names.setdefault(described.name, []).append(type_id)
        return cls(types, {name: tuple(ids) for name, ids in names.items()}, strings)

    def resolve(self, type_id: int) -> Type:
        """
        Return the type behind typedefs and qualifiers.

        Raises:
            ObjectError: More than `DEPTH_LIMIT` of them are nested, as in a cycle.
        """
        for _ in range(DEPTH_LIMIT + 1):
            found = self.types[type_id]
            if not isinstance(found, Reference) or not _is_transparent(found.kind):
                return found
            type_id = found.type_id
        raise _too_deep(type_id)

    def size_bytes(self, type_id: int) -> int:
        """
        Return how many bytes a value of the type takes.

        Raises:
            ObjectError: It has no size (void, a function), or is nested too deeply.
        """
        count = 1
        for _ in range(DEPTH_LIMIT + 1):
            found = self.types[type_id]
            if isinstance(found, Array):
                count, type_id = count * found.count, found.type_id
            elif isinstance(found, Reference) and _is_transparent(found.kind):
                type_id = found.type_id
            else:
                return count * _own_size_bytes(found, type_id)
        raise _too_deep(type_id)

    def named(self, name: str, kind: type[_T]) -> Iterator[_T]:
        """Yield the types with that *name* that are of that class, in order of id."""
        for type_id in self.by_name.get(name, ()):
            found = self.types[type_id]
            if isinstance(found, kind):
                yield found

    def of_class(self, kind: type[_T]) -> Iterator[_T]:
        """Yield all types of that class, in order of id."""
        return (found for found in self.types if isinstance(found, kind))


class Strings:
    """The string table of `.BTF`; a name begins right after a NUL, so that no two share bytes."""

    def __init__(self, data: bytes) -> None:
        if data and (data[0] or data[-1]):
            raise ObjectError("string table does not begin and end with NUL", section=SECTION)
        self._data = data
        self._read: dict[int, str] = {0: ""}

    def at(self, offset: int) -> str:
        """
        Return the string that begins at *offset*.

        Raises:
            ObjectError: None does.
        """
        found = self._read.get(offset)
        return self._find(offset) if found is None else found

    def _find(self, offset: int) -> str:
        if offset >= len(self._data) or self._data[offset - 1]:
            raise ObjectError(f"no string begins at {offset} of the string table", section=SECTION)
        text = self._data[offset : self._data.index(0, offset)].decode(errors="replace")
        self._read[offset] = text
        return text


def _is_transparent(kind: Kind) -> bool:
    return kind == Kind.TYPEDEF or kind in QUALIFIERS


def _too_deep(type_id: int) -> ObjectError:
    return ObjectError(f"type {type_id} is nested more than {DEPTH_LIMIT} deep", section=SECTION)


def _own_size_bytes(found: Type, type_id: int) -> int:
    if isinstance(found, Reference) and found.kind == Kind.POINTER:
        return 8
    if isinstance(found, (Int, Float, Composite, Enum, DataSection)):
        return found.size_bytes
    raise ObjectError(f"type {type_id} ({found.kind.name.lower()}) has no size", section=SECTION)


def _parts(data: bytes, prefix: str) -> tuple[bytes, bytes]:
    if len(data) < _HEADER_BYTES:
        raise ObjectError(f"header is cut short: expected 24 bytes, got {len(data)}", section=SECTION)
    magic, version, flags, header_bytes, *places = struct.unpack_from(prefix + "HBBIIIII", data)
    if magic != _MAGIC:
        raise ObjectError(f"magic: expected 0x{_MAGIC:x}, got 0x{magic:x}", section=SECTION, offset_bytes=0)
    if version != 1 or flags:
        raise ObjectError(f"version {version} with flags {flags} is unknown", section=SECTION, offset_bytes=2)
    if not _HEADER_BYTES <= header_bytes <= len(data):
        raise ObjectError(f"header of {header_bytes} bytes", section=SECTION, offset_bytes=4)
    types_offset, types_bytes, strings_offset, strings_bytes = places
    return (
        _part(data, header_bytes + types_offset, types_bytes, "types"),
        _part(data, header_bytes + strings_offset, strings_bytes, "strings"),
    )


def _part(data: bytes, start: int, size: int, what: str) -> bytes:
    if start + size > len(data):
        raise ObjectError(
            f"{size} bytes of {what} reach outside the section", section=SECTION, offset_bytes=start
        )
    return data[start : start + size]


def _types(data: bytes, prefix: str, strings: Strings) -> Iterator[Type]:
    yield Void()
    header = struct.Struct(prefix + "III")
    offset = 0
    while offset < len(data):
        if offset + _TYPE_BYTES > len(data):
            raise ObjectError("last type is cut short", section=SECTION, offset_bytes=offset)
        name_offset, info, size_or_type = header.unpack_from(data, offset)
        raw = _RawType(strings.at(name_offset), info, size_or_type)
        read = _READERS.get(raw.kind_number)
        if read is None:
            raise ObjectError(f"kind {raw.kind_number} is unknown", section=SECTION, offset_bytes=offset)
        detail = _Detail(data, offset + _TYPE_BYTES, prefix, strings)
        yield read(raw, detail)
        offset = detail.offset


class _RawType(NamedTuple):
    name: str
    info: int
    size_or_type: int

    @property
    def kind_number(self) -> int:
        return self.info >> 24 & 0x1F

    @property
    def kind(self) -> Kind:
        return Kind(self.kind_number)

    @property
    def n_details(self) -> int:
        return self.info & 0xFFFF

    @property
    def flag(self) -> bool:
        return bool(self.info >> 31)


class _Detail:
    """What follows a type's twelve bytes; reading moves *offset* on."""

    def __init__(self, data: bytes, offset: int, prefix: str, strings: Strings) -> None:
        self._data = data
        self.offset = offset
        self._prefix = prefix
        self._strings = strings

    def take(self, layout: str) -> tuple[int, ...]:
        """Return one record."""
        return next(self.take_many(layout, 1))

    def take_many(self, layout: str, count: int) -> Iterator[tuple[int, ...]]:
        """Return *count* records."""
        start = self.offset
        self.offset += struct.calcsize("=" + layout) * count
        if self.offset > len(self._data):
            raise ObjectError("type is cut short", section=SECTION, offset_bytes=start)
        return struct.iter_unpack(self._prefix + layout, self._data[start : self.offset])

    def string(self, offset: int) -> str:
        """Return the name at *offset* of the string table."""
        return self._strings.at(offset)


def _read_int(raw: _RawType, detail: _Detail) -> Type:
    (encoding,) = detail.take("I")
    return Int(raw.name, raw.size_or_type, encoding >> 24 & 0xF)


def _read_array(_raw: _RawType, detail: _Detail) -> Type:
    element, index, count = detail.take("III")
    return Array(element, index, count)


def _read_composite(raw: _RawType, detail: _Detail) -> Type:
    # With the flag set, the top eight bits of a member's offset are the width of a bitfield.
    mask, shift = (0xFFFFFF, 24) if raw.flag else (0xFFFFFFFF, 32)
    members = tuple(
        Member(detail.string(name), type_id, offset & mask, offset >> shift)
        for name, type_id, offset in detail.take_many("III", raw.n_details)
    )
    return Composite(raw.name, raw.size_or_type, members, raw.kind)


def _read_enum(raw: _RawType, detail: _Detail) -> Type:
    layout = "Ii" if raw.flag else "II"
    values = tuple((detail.string(name), value) for name, value in detail.take_many(layout, raw.n_details))
    return Enum(raw.name, raw.size_or_type, raw.flag, values)


def _read_enum64(raw: _RawType, detail: _Detail) -> Type:
    layout = "IIi" if raw.flag else "III"
    values = tuple(
        (detail.string(name), high << 32 | low) for name, low, high in detail.take_many(layout, raw.n_details)
    )
    return Enum(raw.name, raw.size_or_type, raw.flag, values, Kind.ENUM64)


def _read_forward(raw: _RawType, _detail: _Detail) -> Type:
    return Forward(raw.name, raw.flag)


def _read_reference(raw: _RawType, _detail: _Detail) -> Type:
    return Reference(raw.name, raw.size_or_type, raw.kind, raw.n_details if raw.kind == Kind.FUNCTION else 0)


def _read_declaration_tag(raw: _RawType, detail: _Detail) -> Type:
    detail.take("i")
    return Reference(raw.name, raw.size_or_type, raw.kind)


def _read_prototype(raw: _RawType, detail: _Detail) -> Type:
    records = detail.take_many("II", raw.n_details)
    parameters = tuple((detail.string(name), type_id) for name, type_id in records)
    return Prototype(raw.size_or_type, parameters)


def _read_variable(raw: _RawType, detail: _Detail) -> Type:
    (linkage,) = detail.take("I")
    return Variable(raw.name, raw.size_or_type, linkage)


def _read_data_section(raw: _RawType, detail: _Detail) -> Type:
    variables = tuple(SectionVariable(*fields) for fields in detail.take_many("III", raw.n_details))
    return DataSection(raw.name, raw.size_or_type, variables)


def _read_float(raw: _RawType, _detail: _Detail) -> Type:
    return Float(raw.name, raw.size_or_type)


_READERS: Final[dict[int, Callable[[_RawType, _Detail], Type]]] = {
    **dict.fromkeys(_REFERENCES, _read_reference),
    Kind.INT: _read_int,
    Kind.ARRAY: _read_array,
    Kind.STRUCT: _read_composite,
    Kind.UNION: _read_composite,
    Kind.ENUM: _read_enum,
    Kind.ENUM64: _read_enum64,
    Kind.FORWARD: _read_forward,
    Kind.PROTOTYPE: _read_prototype,
    Kind.VARIABLE: _read_variable,
    Kind.DATA_SECTION: _read_data_section,
    Kind.FLOAT: _read_float,
    Kind.DECLARATION_TAG: _read_declaration_tag,
}


def _check_references(types: tuple[Type, ...]) -> None:
    for type_id, described in enumerate(types):
        for target in _targets(described):
            if target >= len(types):
                raise ObjectError(
                    f"type {type_id} refers to type {target}, which does not exist", section=SECTION
                )


def _targets(described: Type) -> Iterator[int]:
    match described:
        case Reference() | Variable():
            yield described.type_id
        case Array():
            yield described.type_id
            yield described.index_type_id
        case Composite():
            yield from (member.type_id for member in described.members)
        case Prototype():
            yield described.return_type_id
            yield from (type_id for _, type_id in described.parameters)
        case DataSection():
            yield from (variable.type_id for variable in described.variables)
