"""
Maps that a BPF object defines: in `.maps` by BTF, in `maps` by the older C struct, and one per data section.

The rules are those of cilium/ebpf v0.22.0 (`elf_reader.go`), the loader of `ig` 0.55, or of the version that
an older reading stands for.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from gadgetops.bpf.btf import (
    Array,
    Btf,
    Composite,
    DataSection,
    Enum,
    Kind,
    Member,
    Prototype,
    Reference,
    Variable,
)
from gadgetops.bpf.layout import Layout, Part, Role
from gadgetops.bpf.reading import Reading
from gadgetops.elf import SectionType
from gadgetops.errors import ObjectError


class MapType(IntEnum):
    """`enum bpf_map_type`, in the kernel's order."""

    UNSPEC = 0
    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERF_EVENT_ARRAY = 4
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    STACK_TRACE = 7
    CGROUP_ARRAY = 8
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    HASH_OF_MAPS = 13
    DEVMAP = 14
    SOCKMAP = 15
    CPUMAP = 16
    XSKMAP = 17
    SOCKHASH = 18
    CGROUP_STORAGE = 19
    REUSEPORT_SOCKARRAY = 20
    PERCPU_CGROUP_STORAGE = 21
    QUEUE = 22
    STACK = 23
    SK_STORAGE = 24
    DEVMAP_HASH = 25
    STRUCT_OPS = 26
    RINGBUF = 27
    INODE_STORAGE = 28
    TASK_STORAGE = 29
    BLOOM_FILTER = 30
    USER_RINGBUF = 31
    CGRP_STORAGE = 32
    ARENA = 33


_TYPES: Final = frozenset(MapType)
_WITHOUT_VALUES: Final = frozenset({MapType.RINGBUF, MapType.ARENA, MapType.PERF_EVENT_ARRAY})
_MAPS_OF_MAPS: Final = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
_REFERENCE_BYTES: Final = 4
_POINTER_BYTES: Final = 8
_FLAG_READ_ONLY: Final = 1 << 7
_LEGACY_DEFINITION: Final = "IIIII"
_LEGACY_DEFINITION_BYTES: Final = 20
_NOT_FOR_KERNEL: Final = re.compile(r"[^A-Za-z0-9._]")


@dataclass(frozen=True)
class Map:
    """
    A map that the object defines.

    Args:
        type: One of `MapType`, or a number newer than it; `UNSPEC` if the object has no BTF to tell.
        section: Where it is defined: `.maps`, or the data section whose variables it holds.
        inner: What the maps in a map of maps are like, where that is declared.
        key_type_id: Type of the keys in BTF, where the definition names one; likewise *value_type_id*.
        contents: Which maps or programs it holds from the beginning, by index.
    """

    name: str
    type: int
    key_size_bytes: int = 0
    value_size_bytes: int = 0
    max_entries: int = 0
    flags: int = 0
    section: str = ".maps"
    inner: "Map | None" = None
    key_type_id: int | None = None
    value_type_id: int | None = None
    contents: tuple[tuple[int, str], ...] = ()

    @property
    def type_name(self) -> str:
        """The type as `bpftool` spells it, `"ringbuf"` or `"percpu_array"`; `"type 99"` if it is unknown."""
        return MapType(self.type).name.lower() if self.type in _TYPES else f"type {self.type}"

    @property
    def is_data(self) -> bool:
        """Whether it holds the global variables of a section."""
        return self.name == self.section


def kernel_name(name: str) -> str:
    """
    Return *name* as the loader gives it to the kernel: ASCII letters, digits, dots and underscores remain.
    """
    return _NOT_FOR_KERNEL.sub("", name)


def read_maps(layout: Layout, btf: Btf | None) -> dict[str, Map]:
    """
    Return all maps by name, in file order; data sections without any named symbol or reference are none.

    Raises:
        ObjectError: A definition is damaged or contradicts itself, or two maps share a name.
    """
    maps: dict[str, Map] = {}
    for found in _all_maps(layout, btf):
        if found.name in maps:
            raise ObjectError(f"two maps are called {found.name!r}", section=found.section)
        maps[found.name] = found
    return maps


def is_map(part: Part) -> bool:
    """Return whether the data section *part* becomes a map: something in it has a name or is referred to."""
    return part.n_references > 0 or bool(part.symbols)


def _all_maps(layout: Layout, btf: Btf | None) -> Iterator[Map]:
    for part in layout.of_role(Role.LEGACY_MAPS):
        if layout.reading < Reading.IG_0_51:
            _check_stride(part)
        yield from _legacy_maps(part, layout.elf.prefix)
    for part in layout.of_role(Role.MAPS):
        yield from _undescribed_maps(part) if btf is None else _described_maps(part, btf)
    for part in layout.of_role(Role.DATA):
        if is_map(part):
            yield _data_map(part)


def _check_stride(part: Part) -> None:
    """Raise if the definitions in *part* are not of equal size, as the older loader wants them."""
    size, count = len(part.section.data), len(part.symbols)
    stride = size // count if count else 0
    if not stride or size % count or any(offset % stride for offset in part.symbols):
        raise ObjectError(f"{count} map definitions in {size} bytes", section=part.name)


def _legacy_maps(part: Part, prefix: str) -> Iterator[Map]:
    data = part.section.data
    if not part.symbols:
        raise ObjectError(f"0 map definitions in {len(data)} bytes", section=part.name)
    for offset, symbol in sorted(part.symbols.items()):
        if min(symbol.size_bytes, len(data) - offset) < _LEGACY_DEFINITION_BYTES:
            raise ObjectError(f"map {symbol.name!r} is cut short", section=part.name, offset_bytes=offset)
        kind, key, value, entries, flags = struct.unpack_from(prefix + _LEGACY_DEFINITION, data, offset)
        yield Map(symbol.name, kind, key, value, entries, flags, part.name)


def _undescribed_maps(part: Part) -> Iterator[Map]:
    for _, symbol in sorted(part.symbols.items()):
        yield Map(symbol.name, MapType.UNSPEC, section=part.name)


def _described_maps(part: Part, btf: Btf) -> Iterator[Map]:
    for _, variable, definition in described_structs(part, btf):
        found = _Definition(variable.name, btf).read(definition)
        yield replace(found, contents=tuple(_contents(part, variable.name, definition)))


def described_structs(part: Part, btf: Btf) -> Iterator[tuple[int, Variable, Composite]]:
    """
    Yield the variables of the section *part* as BTF describes them: offset in bytes, variable, its struct.

    Raises:
        ObjectError: BTF does not describe the section, or something in it is not a variable of a struct.
    """
    described = next(btf.named(part.name, DataSection), None)
    if described is None:
        raise ObjectError("BTF does not describe this section", section=part.name)
    for place in described.variables:
        variable = btf.types[place.type_id]
        if not isinstance(variable, Variable):
            raise ObjectError(f"BTF type {place.type_id} is not a variable", section=part.name)
        struct = btf.resolve(variable.type_id)
        if not isinstance(struct, Composite) or struct.kind != Kind.STRUCT:
            raise ObjectError(f"{variable.name!r} is not a struct", section=part.name)
        yield place.offset_bytes, variable, struct


def _contents(part: Part, name: str, definition: Composite) -> Iterator[tuple[int, str]]:
    """Yield index and name of what the map *name* holds: a relocation for each element of `values`."""
    symbol = next((each for each in part.symbols.values() if each.name == name), None)
    values = definition.members[-1] if definition.members else None
    if symbol is None or values is None or values.name != "values":
        return
    start = symbol.value + values.offset_bits // 8
    end = min(symbol.value + symbol.size_bytes, part.section.size_bytes)
    for offset in range(start, end, _POINTER_BYTES):
        if (target := part.relocations.get(offset)) is not None:
            yield (offset - start) // _POINTER_BYTES, target.name


def _data_map(part: Part) -> Map:
    if part.section.type not in (SectionType.PROGBITS, SectionType.NOBITS):
        raise ObjectError(f"data in a section of type {part.section.type}", section=part.name)
    if part.section.size_bytes > 0xFFFFFFFF:
        raise ObjectError("data of 4 GiB or more", section=part.name)
    flags = _FLAG_READ_ONLY if part.name.startswith(".rodata") else 0
    return Map(part.name, MapType.ARRAY, 4, part.section.size_bytes, 1, flags, section=part.name)


class _Definition:
    """Reads the struct that defines one map: each member's *type* carries a value."""

    def __init__(self, name: str, btf: Btf, *, is_inner: bool = False) -> None:
        self._name = name
        self._btf = btf
        self._is_inner = is_inner
        self._numbers: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._type_ids: dict[str, int] = {}
        self._inner: Map | None = None

    def read(self, definition: Composite) -> Map:
        """Return the map that *definition* describes."""
        for member in definition.members:
            self._take(member, is_last=member is definition.members[-1])
        map_type = self._numbers.get("type", 0)
        ignores_value = "value" in self._type_ids and map_type in _WITHOUT_VALUES
        return Map(
            self._name,
            map_type,
            self._sizes.get("key", 0),
            0 if ignores_value else self._sizes.get("value", 0),
            self._numbers.get("max_entries", 0),
            self._numbers.get("map_flags", 0),
            inner=self._inner,
            key_type_id=self._type_ids.get("key"),
            value_type_id=self._type_ids.get("value"),
        )

    def _take(self, member: Member, *, is_last: bool) -> None:
        match member.name:
            case "type" | "map_flags" | "max_entries" | "map_extra":
                self._numbers[member.name] = self._number(member)
            case "pinning" if not self._is_inner:
                self._numbers[member.name] = self._number(member)
            case "key" | "value":
                self._type_ids[member.name] = self._pointed_to(member)
                self._take_size(member.name, self._btf.size_bytes(self._type_ids[member.name]))
            case "key_size" | "value_size":
                self._take_size(member.name.removesuffix("_size"), self._number(member))
            case "values" if is_last:
                self._take_values(member)
            case _:
                raise _error(self._name, f"member {member.name!r} is not known here")

    def _take_size(self, what: str, size_bytes: int) -> None:
        if self._sizes.get(what):
            raise _error(self._name, f"both {what} and {what}_size are given")
        self._sizes[what] = size_bytes

    def _take_values(self, member: Member) -> None:
        if self._sizes.get("value", 0) not in (0, _REFERENCE_BYTES):
            raise _error(self._name, "value_size: expected 4, since its values are maps or programs")
        self._sizes["value"] = _REFERENCE_BYTES
        array = self._btf.types[member.type_id]
        pointer = self._btf.types[array.type_id] if isinstance(array, Array) else None
        if not isinstance(pointer, Reference) or pointer.kind != Kind.POINTER:
            raise _error(self._name, "values: expected an array of pointers")
        target = self._btf.types[pointer.type_id]
        map_type = self._numbers.get("type", 0)
        if isinstance(target, Composite) and map_type in _MAPS_OF_MAPS and not self._is_inner:
            self._inner = _Definition(f"{self._name}_inner", self._btf, is_inner=True).read(target)
        elif not (isinstance(target, Prototype) and map_type == MapType.PROG_ARRAY):
            raise _error(self._name, "values: neither maps in a map of maps nor programs in a program array")

    def _pointed_to(self, member: Member) -> int:
        pointer = self._btf.types[member.type_id]
        if not isinstance(pointer, Reference) or pointer.kind != Kind.POINTER:
            raise _error(self._name, f"{member.name}: expected a pointer")
        return pointer.type_id

    def _number(self, member: Member) -> int:
        # __uint(name, N) is a pointer to an array of N; __ulong(name, N) an enum whose first value is N.
        found = self._btf.types[member.type_id]
        if isinstance(found, Enum) and found.values:
            return found.values[0][1]
        if isinstance(found, Reference) and found.kind == Kind.POINTER:
            array = self._btf.types[found.type_id]
            if isinstance(array, Array):
                return array.count
        raise _error(self._name, f"{member.name}: expected a number")


def _error(name: str, problem: str) -> ObjectError:
    return ObjectError(f"map {name!r}: {problem}", section=".maps")
