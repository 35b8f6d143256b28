"""
A BPF object as facts: its programs with everything they call, its maps, its global variables, its types.

What cannot be loaded cannot be read either: the rules are those of cilium/ebpf v0.22.0 (`elf_reader.go`),
which `ig` 0.55 loads objects with, or older ones (`reading`). One difference: an object without BTF can be
read here, its maps then have names only. Bytes in, values out: no files, no privileges, no kernel, no
network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeVar

from gadgetops.bpf import btf_ext
from gadgetops.bpf.btf import EXTENSION_SECTION, SECTION, Btf
from gadgetops.bpf.btf_ext import Extension
from gadgetops.bpf.instruction import Instruction
from gadgetops.bpf.layout import Layout
from gadgetops.bpf.linker import (
    LINKED_LIMIT_INSTRUCTIONS,
    Externals,
    Function,
    link,
    name_functions,
    read_functions,
)
from gadgetops.bpf.maps import Map, MapType, read_maps
from gadgetops.bpf.reading import NEWEST, Reading
from gadgetops.bpf.struct_ops import read_struct_ops
from gadgetops.bpf.variables import Variable, read_variables
from gadgetops.elf import ByteOrder, Elf, Section
from gadgetops.errors import ObjectError

__all__ = ["Function", "Map", "MapType", "Object", "Program", "Section", "Variable"]

_T = TypeVar("_T")

TEXT_SECTION: Final = ".text"
"""Where subprograms lie: functions that programs call and that are no programs themselves."""


@dataclass(frozen=True)
class Program:
    """
    A program: what the loader attaches where its section's name says.

    Args:
        section: For example `uprobe/libc:malloc`.
        functions: Its own, then those it needs, in the order in which the loader appends them.
    """

    name: str
    section: str
    functions: tuple[Function, ...] = field(repr=False)

    @cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        """Its own instructions and then those of the functions it needs."""
        return tuple(each for function in self.functions for each in function.instructions)


@dataclass(frozen=True)
class Object:
    """
    A BPF object.

    Args:
        programs: By name; functions in `.text` are no programs.
        maps: By name, data sections such as `.rodata` and `.bss` included.
        variables: By name; those of data sections, markers included.
        sections: In file order, the empty section 0 first.
        license: Empty if it has none.
        btf: None if it has none.
        extension: Source lines and CO-RE relocations.
        reading: By whose rules it was read.
    """

    programs: tuple[Program, ...]
    maps: tuple[Map, ...]
    variables: tuple[Variable, ...]
    sections: tuple[Section, ...] = field(repr=False)
    license: str
    byte_order: ByteOrder
    btf: Btf | None = field(repr=False)
    extension: Extension = field(repr=False)
    reading: Reading = NEWEST

    @classmethod
    def from_bytes(cls, data: bytes, *, with_code: bool = True, reading: Reading = NEWEST) -> "Object":
        """
        Return the object that *data* holds.

        Args:
            data: The ELF file.
            with_code: Read instructions, their lines and relocations; who loads it leaves that to the kernel.
            reading: Whose rules to read it by.

        Raises:
            ObjectError: It is no BPF ELF, is damaged, or could not be loaded.
        """
        elf = Elf.from_bytes(data)
        layout = Layout.from_elf(elf, reading)
        btf = _btf(elf)
        functions = read_functions(layout, Externals.from_btf(btf)) if with_code else name_functions(layout)
        return cls(
            programs=_programs(functions),
            maps=_by_name(read_maps(layout, btf) | read_struct_ops(layout, btf, functions)),
            variables=_by_name(read_variables(layout, btf)),
            sections=elf.sections,
            license=_license(elf),
            byte_order=elf.byte_order,
            btf=btf,
            extension=_extension(elf, btf) if with_code else btf_ext.NOTHING,
            reading=reading,
        )

    def program(self, name: str) -> Program | None:
        """Return the program called *name*, or None."""
        return next((program for program in self.programs if program.name == name), None)

    def map(self, name: str) -> Map | None:
        """Return the map called *name*, or None."""
        return next((found for found in self.maps if found.name == name), None)

    def variable(self, name: str) -> Variable | None:
        """Return the variable called *name*, or None."""
        return next((variable for variable in self.variables if variable.name == name), None)

    def contents(self, variable: Variable) -> bytes:
        """
        Return the initial bytes of *variable*; zeros where the object stores none, as in `.bss`.

        Raises:
            ObjectError: It reaches outside its section.
        """
        section = next(section for section in self.sections if section.name == variable.section)
        end = variable.offset_bytes + variable.size_bytes
        if end > section.size_bytes:
            raise ObjectError(
                f"variable {variable.name!r} reaches outside",
                section=section.name,
                offset_bytes=variable.offset_bytes,
            )
        return bytes(section.data[variable.offset_bytes : end]) or bytes(variable.size_bytes)


def _btf(elf: Elf) -> Btf | None:
    section = elf.section(SECTION)
    return None if section is None else Btf.from_bytes(section.data, elf.byte_order)


def _extension(elf: Elf, btf: Btf | None) -> Extension:
    section = elf.section(EXTENSION_SECTION)
    if section is None or btf is None:
        return btf_ext.NOTHING
    return Extension.from_bytes(section.data, btf, elf.byte_order)


def _license(elf: Elf) -> str:
    sections = [section for section in elf.sections if section.name.startswith("license")]
    return bytes(sections[-1].data).rstrip(b"\0").decode(errors="replace") if sections else ""


def _programs(functions: Mapping[str, Function]) -> tuple[Program, ...]:
    room = LINKED_LIMIT_INSTRUCTIONS
    programs = []
    for name, function in sorted(functions.items()):
        if function.section == TEXT_SECTION:
            continue
        linked = []
        for needed in link(function, functions):
            linked.append(needed)
            room -= len(needed.instructions)
            if room < 0:
                raise ObjectError(f"programs of more than {LINKED_LIMIT_INSTRUCTIONS:,} instructions")
        programs.append(Program(name, function.section, tuple(linked)))
    return tuple(programs)


def _by_name(found: Mapping[str, _T]) -> tuple[_T, ...]:
    return tuple(value for _, value in sorted(found.items()))
