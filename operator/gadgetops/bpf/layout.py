"""
Which part each section of a BPF object plays, with its symbols and relocations at hand.

The roles are those of cilium/ebpf v0.22.0 (`elf_reader.go`), the loader of `ig` 0.55, or of the version that
an older reading stands for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from gadgetops.bpf.reading import NEWEST, Reading
from gadgetops.elf import (
    MACHINE_BPF,
    MACHINE_NONE,
    UNDEFINED_SECTION,
    Binding,
    Elf,
    Section,
    SectionType,
    Symbol,
    SymbolType,
)
from gadgetops.errors import ObjectError


class Role(Enum):
    """What a section is for; sections without a role are not read."""

    UNDEFINED = auto()
    """Section 0, where symbols live that another object or the kernel provides."""
    LEGACY_MAPS = auto()
    MAPS = auto()
    DATA = auto()
    STRUCT_OPS = auto()
    """Structs of function pointers, each a map."""
    PROGRAM = auto()


@dataclass
class Part:
    """
    A section with a role.

    Args:
        symbols: By offset; of several at one offset the last in the symbol table.
        relocations: The symbol that what stands at an offset refers to.
        n_references: How many relocations of other parts point into this one.
    """

    section: Section
    role: Role
    symbols: dict[int, Symbol] = field(default_factory=dict)
    relocations: dict[int, Symbol] = field(default_factory=dict)
    n_references: int = 0

    @property
    def name(self) -> str:
        """The section's name."""
        return self.section.name


@dataclass(frozen=True)
class Layout:
    """All parts of an object by section index, in file order; *reading* says by whose rules."""

    elf: Elf
    parts: Mapping[int, Part]
    reading: Reading = NEWEST

    @classmethod
    def from_elf(cls, elf: Elf, reading: Reading = NEWEST) -> "Layout":
        """
        Return the parts of *elf*.

        Raises:
            ObjectError: It is for another machine, its symbol table is damaged, the loader refuses one of its
                sections, or a relocation points at nothing that has a role.
        """
        if elf.machine not in (MACHINE_NONE, MACHINE_BPF):
            raise ObjectError(f"machine: expected BPF ({MACHINE_BPF}), got {elf.machine}")
        parts = {
            section.index: Part(section, role)
            for section in elf.sections
            if (role := _role(section, reading)) is not None
        }
        for symbol in elf.symbols:
            part = parts.get(symbol.section_index)
            if part is not None and _is_of_interest(symbol, part.role, reading):
                part.symbols[symbol.value] = symbol
        for section in _relocation_sections(elf, reading).values():
            _add_relocations(parts, section, elf)
        return cls(elf, parts, reading)

    def of_role(self, role: Role) -> Iterator[Part]:
        """Yield the parts that play *role*."""
        return (part for part in self.parts.values() if part.role is role)


_SYMBOL_TYPES: Final = {
    Role.LEGACY_MAPS: SymbolType.OBJECT,
    Role.MAPS: SymbolType.OBJECT,
    Role.DATA: SymbolType.OBJECT,
    Role.PROGRAM: SymbolType.FUNC,
}


def is_data_section(name: str) -> bool:
    """Return whether *name* is a section that becomes a map of global variables."""
    return name == ".bss" or name.startswith((".data", ".rodata"))


STRUCT_OPS_SECTION: Final = ".struct_ops.link"
_STRUCT_OPS_WITHOUT_LINK: Final = ".struct_ops"


def _role(section: Section, reading: Reading) -> Role | None:
    if section.index == UNDEFINED_SECTION:
        return Role.UNDEFINED
    return _role_by_name(section, reading)


def _role_by_name(section: Section, reading: Reading) -> Role | None:
    if section.name.startswith(("license", "version")):
        return None
    if section.name.startswith("maps"):
        return Role.LEGACY_MAPS
    if section.name == ".maps":
        return Role.MAPS
    if is_data_section(section.name):
        return Role.DATA
    return _role_by_flags(section, reading)


def _role_by_flags(section: Section, reading: Reading) -> Role | None:
    if section.type != SectionType.PROGBITS or section.size_bytes == 0:
        return None
    if section.is_executable:
        return Role.PROGRAM
    if reading < Reading.IG_0_51:
        return None
    if section.name == _STRUCT_OPS_WITHOUT_LINK:
        raise ObjectError(f"ig loads struct_ops from {STRUCT_OPS_SECTION} only", section=section.name)
    return Role.STRUCT_OPS if section.name == STRUCT_OPS_SECTION else None


def _is_of_interest(symbol: Symbol, role: Role, reading: Reading) -> bool:
    wanted = _SYMBOL_TYPES.get(role)
    if wanted is None or not symbol.name or symbol.type not in (SymbolType.NOTYPE, wanted):
        return False
    # Labels of assembler code and of basic blocks are jump targets, not functions. The older loader knew only
    # those that LLVM leaves behind (LBB…).
    is_label = role is Role.PROGRAM and symbol.type == SymbolType.NOTYPE and symbol.binding == Binding.LOCAL
    return not (is_label and (reading >= Reading.IG_0_51 or symbol.name.startswith("LBB")))


def _relocation_sections(elf: Elf, reading: Reading) -> dict[int, Section]:
    has_role = {section.index for section in elf.sections if _role(section, reading) is not None}
    return {
        section.info: section
        for section in elf.sections
        if section.type == SectionType.REL and section.index not in has_role
    }


def _add_relocations(parts: Mapping[int, Part], section: Section, elf: Elf) -> None:
    part = parts.get(section.info)
    if part is None:
        return
    part.relocations = {entry.offset_bytes: entry.symbol for entry in elf.relocations(section)}
    for offset, symbol in part.relocations.items():
        target = parts.get(symbol.section_index)
        if target is None:
            raise ObjectError(
                f"refers to {symbol.name!r}, which is neither map, data nor function",
                section=part.name,
                offset_bytes=offset,
            )
        target.n_references += 1
