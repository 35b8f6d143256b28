"""Global variables of a BPF object, and where in which data section each lies."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gadgetops.bpf import btf as types
from gadgetops.bpf.layout import Layout, Part, Role
from gadgetops.bpf.maps import is_map
from gadgetops.bpf.reading import Reading
from gadgetops.elf import Binding, Symbol, Visibility
from gadgetops.errors import ObjectError


@dataclass(frozen=True)
class Variable:
    """
    A variable that others can see: global or weak, not hidden.

    Args:
        section: Name of its data section.
        offset_bytes: From the start of the section.
        type_id: Its type in BTF, or None if BTF does not describe it.
    """

    name: str
    section: str
    offset_bytes: int
    size_bytes: int
    type_id: int | None = None


def read_variables(layout: Layout, btf: types.Btf | None) -> dict[str, Variable]:
    """
    Return the variables of all data sections by name, in order of section and offset.

    Raises:
        ObjectError: Two share a name, one reaches outside its section, or BTF and symbol table disagree about
            where one lies.
    """
    variables: dict[str, Variable] = {}
    for part in layout.of_role(Role.DATA):
        described = _described(part, btf) if btf is not None and is_map(part) else {}
        for offset, symbol in sorted(part.symbols.items()):
            if not _is_visible(symbol):
                continue
            if symbol.name in variables:
                raise ObjectError(f"two variables are called {symbol.name!r}", section=part.name)
            if layout.reading >= Reading.IG_0_51 and offset + symbol.size_bytes > part.section.size_bytes:
                raise ObjectError(
                    f"variable {symbol.name!r} reaches outside", section=part.name, offset_bytes=offset
                )
            variables[symbol.name] = _variable(part, offset, symbol, described.get(symbol.name))
    return variables


def _is_visible(symbol: Symbol) -> bool:
    # clang 11 and older leave constants with names such as .Lconstinit.1 behind.
    return (
        symbol.binding in (Binding.GLOBAL, Binding.WEAK)
        and symbol.visibility not in (Visibility.HIDDEN, Visibility.INTERNAL)
        and not symbol.name.startswith(".")
    )


def _variable(part: Part, offset: int, symbol: Symbol, described: "_Described | None") -> Variable:
    if described is None:
        return Variable(symbol.name, part.name, offset, symbol.size_bytes)
    if described.offset_bytes not in (None, offset) or described.size_bytes != symbol.size_bytes:
        raise ObjectError(
            f"variable {symbol.name!r}: BTF and symbol table disagree", section=part.name, offset_bytes=offset
        )
    return Variable(symbol.name, part.name, offset, symbol.size_bytes, described.type_id)


@dataclass(frozen=True, slots=True)
class _Described:
    """What BTF says; offset None if the compiler left it to the symbol table."""

    type_id: int
    offset_bytes: int | None
    size_bytes: int


def _described(part: Part, btf: types.Btf) -> Mapping[str, _Described]:
    return dict(_each_described(part, btf))


def _each_described(part: Part, btf: types.Btf) -> Iterator[tuple[str, _Described]]:
    section = next(btf.named(part.name, types.DataSection), None)
    if section is None:
        return
    for place in section.variables:
        variable = btf.types[place.type_id]
        if not isinstance(variable, types.Variable) or not variable.name:
            raise ObjectError(f"BTF type {place.type_id} is no named variable", section=part.name)
        # A section without a size is one whose layout the compiler left to the symbol table.
        offset = place.offset_bytes if section.size_bytes else None
        yield variable.name, _Described(variable.type_id, offset, place.size_bytes)
