"""
Functions of a BPF object: each with its instructions, and each instruction with the name it refers to.

A reference names a map of `.maps`, a data *section* (`.rodata`, `.bss`), a function that is called or whose
address is loaded, or a symbol from outside. The rules are those of cilium/ebpf v0.22.0 and, where it is asked
for, v0.20.0 (`elf_reader.go`, `linker.go`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from gadgetops.bpf.btf import Btf, DataSection, Kind, Variable
from gadgetops.bpf.instruction import (
    MAY_REFER,
    SLOT_BYTES,
    SOURCE_FUNCTION,
    SOURCE_KFUNC,
    SOURCE_MAP,
    SOURCE_MAP_VALUE,
    SOURCE_SUBPROGRAM,
    Instruction,
    decode,
)
from gadgetops.bpf.layout import Layout, Part, Role
from gadgetops.bpf.reading import Reading
from gadgetops.elf import Binding, Symbol, SymbolType
from gadgetops.errors import ObjectError

LINKED_LIMIT_INSTRUCTIONS: Final = 1 << 23
"""
Most instructions that the programs of one object may have together, subprograms counted in each that calls
them.

The kernel takes a million in one program. Without a limit a small file could ask for a quadratic amount of
work.
"""

TO_BE_LINKED: Final = -1
"""The immediate of a call, or load of a function's address, that the loader is to fill in."""


@dataclass(frozen=True)
class Function:
    """
    The instructions of one function symbol.

    Args:
        section: Name of the ELF section it lies in.
        gap_bytes: How much of the section before it belongs to no function: `.BTF.ext` does not count that.
    """

    name: str
    section: str
    instructions: tuple[Instruction, ...]
    gap_bytes: int = 0

    @cached_property
    def callees(self) -> tuple[str, ...]:
        """Names of the functions it calls or passes on as callbacks, sorted, each once."""
        return tuple(
            sorted(
                {
                    instruction.reference
                    for instruction in self.instructions
                    if instruction.reference
                    and instruction.immediate == TO_BE_LINKED
                    and instruction.is_function_reference
                }
            )
        )


@dataclass(frozen=True)
class Externals:
    """What BTF says about symbols from outside: kernel functions, kernel symbols, kernel configuration."""

    kfuncs: frozenset[str] = frozenset()
    ksyms: frozenset[str] = frozenset()
    kconfig: frozenset[str] = frozenset()

    @classmethod
    def from_btf(cls, btf: Btf | None) -> "Externals":
        """Return the contents of the virtual data sections `.ksyms` and `.kconfig`."""
        if btf is None:
            return cls()
        ksyms = [btf.types[type_id] for type_id in _ids(btf, ".ksyms")]
        kconfig = [btf.types[type_id] for type_id in _ids(btf, ".kconfig")]
        return cls(
            kfuncs=frozenset(found.name for found in ksyms if found.kind == Kind.FUNCTION),
            ksyms=frozenset(found.name for found in ksyms if isinstance(found, Variable)),
            kconfig=frozenset(found.name for found in kconfig if isinstance(found, Variable)),
        )


def read_functions(layout: Layout, externals: Externals) -> dict[str, Function]:
    """
    Return the functions of all program sections by name, in file order.

    Raises:
        ObjectError: Instructions are damaged, a relocation makes no sense, a section has no function, or
            two functions share a name. For an older reading also: a section does not begin with a function.
    """
    functions: dict[str, Function] = {}
    for part in layout.of_role(Role.PROGRAM):
        relocator = _Relocator(layout, part, externals)
        older = layout.reading < Reading.IG_0_51
        for function in _between_symbols(relocator, part) if older else _by_size(relocator, part):
            if function.name in functions:
                raise ObjectError(f"two functions are called {function.name!r}", section=part.name)
            functions[function.name] = function
    return functions


def name_functions(layout: Layout) -> dict[str, Function]:
    """Return the functions of all program sections by name, in file order, without instructions."""
    return {
        symbol.name: Function(symbol.name, part.name, ())
        for part in layout.of_role(Role.PROGRAM)
        for _, symbol in sorted(part.symbols.items())
    }


def link(function: Function, functions: Mapping[str, Function]) -> Iterator[Function]:
    """
    Yield *function* and then every function it needs, directly or not, once each.

    Breadth first, the callees of one function by name. A function that calls itself comes again after itself.
    Functions that the object does not define are left out.
    """
    yield function
    linked: set[str] = set()
    pending = list(function.callees)
    for name in pending:
        needed = functions.get(name)
        if needed is None or name in linked:
            continue
        linked.add(name)
        yield needed
        pending.extend(needed.callees)


def _ids(btf: Btf, section: str) -> list[int]:
    return [variable.type_id for found in btf.named(section, DataSection) for variable in found.variables]


def _by_size(relocator: "_Relocator", part: Part) -> Iterator[Function]:
    """Yield the functions of *part*, each as long as its symbol says."""
    if not part.symbols:
        raise ObjectError("has no function", section=part.name)
    counted = 0
    for start, symbol in sorted(part.symbols.items()):
        if not symbol.size_bytes or start + symbol.size_bytes > part.section.size_bytes:
            raise ObjectError(
                f"function {symbol.name!r}: {symbol.size_bytes} bytes", section=part.name, offset_bytes=start
            )
        body = relocator.instructions(start, start + symbol.size_bytes)
        yield Function(symbol.name, part.name, tuple(body), start - counted)
        counted += symbol.size_bytes


def _between_symbols(relocator: "_Relocator", part: Part) -> Iterator[Function]:
    """Yield the functions of *part*, each up to the next symbol."""
    instructions = relocator.instructions(0, part.section.size_bytes)
    starts = [index for index, each in enumerate(instructions) if each.position_bytes in part.symbols]
    if not starts or starts[0] != 0:
        raise ObjectError("does not begin with a function", section=part.name)
    for start, end in zip(starts, [*starts[1:], len(instructions)], strict=True):
        body = tuple(instructions[start:end])
        yield Function(part.symbols[body[0].position_bytes].name, part.name, body)


class _Relocator:
    """Gives the instructions of one section their references."""

    def __init__(self, layout: Layout, part: Part, externals: Externals) -> None:
        self._layout = layout
        self._part = part
        self._externals = externals

    def instructions(self, start_bytes: int, end_bytes: int) -> list[Instruction]:
        """Return the section's instructions from *start_bytes* to *end_bytes*, with references."""
        data = self._part.section.data[start_bytes:end_bytes]
        code = decode(data, self._layout.elf.byte_order, self._part.name, start_bytes)
        relocated = self._part.relocations
        return [
            self._referring(each) if each.opcode in MAY_REFER or each.position_bytes in relocated else each
            for each in code
        ]

    def _referring(self, instruction: Instruction) -> Instruction:
        symbol = self._part.relocations.get(instruction.position_bytes)
        if symbol is None:
            return self._relative(instruction) if instruction.is_function_reference else instruction
        target = self._layout.parts[symbol.section_index]
        match target.role:
            case Role.LEGACY_MAPS | Role.MAPS:
                return self._to_map(instruction, symbol)
            case Role.DATA:
                return self._to_data(instruction, symbol, target)
            case Role.PROGRAM:
                return self._to_function(instruction, symbol, target)
            case Role.UNDEFINED:
                return self._to_outside(instruction, symbol)
            case Role.STRUCT_OPS:
                raise self._error(instruction, f"refers to {symbol.name!r} of {target.name}")

    def _relative(self, instruction: Instruction) -> Instruction:
        # Static functions of the same section are called by distance, without a relocation.
        if instruction.immediate == TO_BE_LINKED:
            return instruction
        offset = max(0, instruction.position_bytes + SLOT_BYTES * (instruction.immediate + 1))
        callee = self._function_at(self._part, offset, instruction)
        return instruction._replace(reference=callee, immediate=TO_BE_LINKED)

    def _to_map(self, instruction: Instruction, symbol: Symbol) -> Instruction:
        if symbol.binding == Binding.LOCAL:
            raise self._error(
                instruction, f"map {symbol.name or 'without a name'} is static: maps must be global"
            )
        if symbol.binding != Binding.GLOBAL or symbol.type not in (SymbolType.OBJECT, SymbolType.NOTYPE):
            raise self._error(instruction, f"{symbol.name!r} is no global map")
        return instruction._replace(source=SOURCE_MAP, reference=symbol.name)

    def _to_data(self, instruction: Instruction, symbol: Symbol, target: Part) -> Instruction:
        if symbol.type == SymbolType.SECTION:
            # clang has no symbol for a static variable; the distance is in the instruction itself.
            offset = instruction.immediate
        elif symbol.type in (SymbolType.OBJECT, SymbolType.NOTYPE):
            offset = symbol.value
        else:
            raise self._error(instruction, f"{symbol.name!r} is no variable")
        return instruction._replace(
            source=SOURCE_MAP_VALUE, reference=target.name, immediate=(offset & 0xFFFFFFFF) << 32
        )

    def _to_function(self, instruction: Instruction, symbol: Symbol, target: Part) -> Instruction:
        if instruction.is_wide:
            return self._to_callback(instruction, symbol, target)
        if not instruction.is_call or instruction.source != SOURCE_SUBPROGRAM:
            raise self._error(
                instruction, f"refers to function {symbol.name!r} but neither calls nor loads it"
            )
        if symbol.type != SymbolType.SECTION:
            if symbol.binding != Binding.WEAK or self._layout.reading < Reading.IG_0_51:
                self._check_global(instruction, symbol, (SymbolType.FUNC, SymbolType.NOTYPE))
            return instruction._replace(reference=symbol.name)
        offset = SLOT_BYTES * (_signed32(instruction.immediate) + 1)
        callee = self._function_at(target, offset, instruction)
        return instruction._replace(reference=callee, immediate=TO_BE_LINKED)

    def _to_callback(self, instruction: Instruction, symbol: Symbol, target: Part) -> Instruction:
        if symbol.type != SymbolType.SECTION:
            self._check_global(instruction, symbol, (SymbolType.FUNC,))
        callback = self._function_at(target, instruction.immediate, instruction)
        return instruction._replace(source=SOURCE_FUNCTION, reference=callback, immediate=TO_BE_LINKED)

    def _to_outside(self, instruction: Instruction, symbol: Symbol) -> Instruction:
        name = symbol.name
        if symbol.binding not in (Binding.GLOBAL, Binding.WEAK) or symbol.type != SymbolType.NOTYPE:
            raise self._error(instruction, f"undefined symbol {name!r} is neither global nor weak")
        if name in self._externals.kfuncs and instruction.is_call:
            return instruction._replace(source=SOURCE_KFUNC, immediate=TO_BE_LINKED, reference=name)
        if name in self._externals.kfuncs and instruction.is_wide:
            return instruction._replace(immediate=0, reference=name)
        if instruction.is_wide and self._externals.kconfig and name not in self._externals.ksyms:
            return self._to_configuration(instruction, symbol)
        return instruction._replace(reference=name)

    def _to_configuration(self, instruction: Instruction, symbol: Symbol) -> Instruction:
        if symbol.name not in self._externals.kconfig:
            raise self._error(instruction, f"{symbol.name!r} is not in .kconfig")
        if symbol.binding != Binding.GLOBAL:
            raise self._error(instruction, f"{symbol.name!r} of .kconfig is weak; the loader takes none such")
        # The loader knows this value by its place in .kconfig and keeps no name.
        return instruction._replace(source=SOURCE_MAP_VALUE)

    def _check_global(self, instruction: Instruction, symbol: Symbol, types: tuple[SymbolType, ...]) -> None:
        if symbol.binding == Binding.WEAK:
            raise self._error(instruction, f"function {symbol.name!r} is weak; the loader takes none such")
        if symbol.type not in types or symbol.binding != Binding.GLOBAL:
            raise self._error(instruction, f"{symbol.name!r} is no global function")

    def _function_at(self, part: Part, offset: int, instruction: Instruction) -> str:
        symbol = part.symbols.get(offset)
        if symbol is None:
            raise self._error(instruction, f"no function begins at offset {offset} of section {part.name}")
        return symbol.name

    def _error(self, instruction: Instruction, problem: str) -> ObjectError:
        return ObjectError(problem, section=self._part.name, offset_bytes=instruction.position_bytes)


def _signed32(value: int) -> int:
    return (value & 0xFFFFFFFF) - ((value & 0x80000000) << 1)
