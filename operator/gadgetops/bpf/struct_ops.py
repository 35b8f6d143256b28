"""
Maps of `.struct_ops.link`: each variable there is a struct of function pointers that becomes a map.

The rules are those of cilium/ebpf since v0.21.0 (`struct_ops.go`), the loader of `ig` since 0.51.
"""

from collections.abc import Mapping
from typing import Final

from gadgetops.bpf.btf import Btf, Composite
from gadgetops.bpf.layout import Layout, Part, Role
from gadgetops.bpf.linker import Function
from gadgetops.bpf.maps import Map, MapType, described_structs
from gadgetops.errors import ObjectError

_KEY_BYTES: Final = 4
_FLAG_LINK: Final = 1 << 13
_PROGRAM_SECTIONS: Final = ("struct_ops", "?struct_ops")


def read_struct_ops(layout: Layout, btf: Btf | None, functions: Mapping[str, Function]) -> dict[str, Map]:
    """
    Return the maps by name, in file order; none if BTF does not say what they are.

    Raises:
        ObjectError: A definition is damaged, or a member refers to what is no struct_ops program.
    """
    found: dict[str, Map] = {}
    if btf is None:
        return found
    for part in layout.of_role(Role.STRUCT_OPS):
        for offset, variable, struct in described_structs(part, btf):
            if offset + struct.size_bytes > part.section.size_bytes:
                raise ObjectError(f"{variable.name!r} reaches outside", section=part.name)
            _check_members(part, offset, struct, functions)
            found[variable.name] = Map(
                variable.name,
                MapType.STRUCT_OPS,
                _KEY_BYTES,
                struct.size_bytes,
                max_entries=1,
                flags=_FLAG_LINK,
                section=part.name,
                value_type_id=variable.type_id,
            )
    return found


def _check_members(part: Part, offset: int, struct: Composite, functions: Mapping[str, Function]) -> None:
    for member in struct.members:
        symbol = part.relocations.get(offset + member.offset_bits // 8)
        if symbol is None:
            continue
        function = functions.get(symbol.name)
        if function is None or not function.section.startswith(_PROGRAM_SECTIONS):
            raise ObjectError(
                f"{member.name}: {symbol.name!r} is not a struct_ops program", section=part.name
            )
