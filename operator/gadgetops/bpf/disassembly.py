"""
Programs as text: one line an instruction, with the source it was compiled from.

The text is, byte for byte, what `ig image inspect --extra-info ebpf.programs` shows (v0.55.1; v0.48.0 where
that is asked for), which is how cilium/ebpf v0.22.0 and v0.20.0 print instructions (`asm`): the words are
its, for operations the kernel's documentation calls by other names.
"""

import math
from collections.abc import Iterator
from typing import Final

from gadgetops.bpf import helpers
from gadgetops.bpf.btf import Kind
from gadgetops.bpf.btf_ext import CoreRelocation, Line
from gadgetops.bpf.instruction import (
    SOURCE_KFUNC,
    SOURCE_MAP,
    SOURCE_MAP_VALUE,
    SOURCE_SUBPROGRAM,
    Instruction,
)
from gadgetops.bpf.object import Function, Object, Program
from gadgetops.bpf.reading import NEWEST, Reading

_CLASSES: Final = ("Ld", "LdX", "St", "StX", "", "", "", "")
_CLASS_STORE_REGISTER: Final = 3
_CLASS_ALU32: Final = 4
_CLASS_JUMP64: Final = 5
_CLASS_JUMP32: Final = 6
_CLASS_ALU64: Final = 7

_MODES: Final = {0x00: "Imm", 0x20: "Abs", 0x40: "Ind", 0x60: "Mem", 0x80: "MemSX", 0xC0: "Atomic"}
_MODE_ATOMIC: Final = 0xC0
_OPERANDS: Final = {
    0x00: "dst: {dst} imm: {imm}",
    0x20: "imm: {imm}",
    0x40: "dst: {dst} src: {src} imm: {imm}",
    0x60: "dst: {dst} src: {src} off: {off} imm: {imm}",
    0x80: "dst: {dst} src: {src} off: {off} imm: {imm}",
    0xC0: "dst: {dst} src: {src} off: {off}",
}
_SIZES: Final = {0x00: "W", 0x08: "H", 0x10: "B", 0x18: "DW"}
_ATOMIC_OPERATIONS: Final = {
    0x00: "Add",
    0x01: "FetchAdd",
    0x40: "Or",
    0x41: "FetchOr",
    0x50: "And",
    0x51: "FetchAnd",
    0xA0: "Xor",
    0xA1: "FetchXor",
    0xE1: "Xchg",
    0xF1: "CmpXchg",
    0x100: "LdAcq",
    0x110: "StRel",
}
_ATOMIC_MASK: Final = 0x1FF
_ALU_OPERATIONS: Final = (
    *("Add", "Sub", "Mul", "Div", "Or", "And", "LSh", "RSh"),
    *("Neg", "Mod", "Xor", "Mov", "ArSh", "Swap", "ALUOp(224)", "ALUOp(240)"),
)
_ALU_VARIANTS: Final = {
    ("Div", 1): "SDiv",
    ("Mod", 1): "SMod",
    ("Mov", 8): "MovSX8",
    ("Mov", 16): "MovSX16",
    ("Mov", 32): "MovSX32",
}
"""(Operation, offset) -> the operation that this offset makes of it."""
_JUMP_OPERATIONS: Final = (
    *("Ja", "JEq", "JGT", "JGE", "JSet", "JNE", "JSGT", "JSGE"),
    *("Call", "Exit", "JLT", "JLE", "JSLT", "JSLE", "JumpOp(224)", "JumpOp(240)"),
)
_REGISTER_FLAG: Final = 0x08
_SOURCE_MAY_GOTO: Final = 0
_FRAME_POINTER: Final = 10
_CORE_KINDS: Final = (
    *("byte_off", "byte_sz", "field_exists", "signed", "lshift_u64", "rshift_u64"),
    *("local_type_id", "target_type_id", "type_exists", "type_size"),
    *("enumval_exists", "enumval_value", "type_matches"),
)
_KIND_NAMES: Final = {
    Kind.FORWARD: "Fwd",
    Kind.FUNCTION: "Func",
    Kind.PROTOTYPE: "FuncProto",
    Kind.VARIABLE: "Var",
    Kind.DATA_SECTION: "Datasec",
    Kind.DECLARATION_TAG: "declTag",
    Kind.TYPE_TAG: "TypeTag",
    Kind.ENUM64: "Enum",
}


class Disassembly:
    """Programs of one object as text."""

    def __init__(self, obj: Object) -> None:
        self._reading = obj.reading
        self._notes = {
            section: _Notes(
                {line.position_bytes: line for line in obj.extension.lines.get(section, ())},
                {each.position_bytes: each for each in obj.extension.core_relocations.get(section, ())},
            )
            for section in {*obj.extension.lines, *obj.extension.core_relocations}
        }

    def source(self, program: Program) -> str:
        """
        Return *program* with a label before each function and a number before each instruction.

        Numbers count slots of eight bytes from the program's start; source lines stand before the instruction
        that begins them, without indentation.
        """
        n_instructions = sum(len(function.instructions) for function in program.functions)
        return "".join(self._numbered(program, _digits(2 * n_instructions)))

    def _numbered(self, program: Program, width: int) -> Iterator[str]:
        number = 0
        for function in program.functions:
            yield f"{function.name}:\n"
            notes = self._notes.get(function.section, _NO_NOTES)
            for instruction in function.instructions:
                line = notes.lines.get(instruction.position_bytes - function.gap_bytes)
                if line is not None and (text := line.text.strip()):
                    yield f"\t{' ' * width}; {text}\n"
                yield f"\t{number:{width}d}: {format_instruction(instruction, self._reading)}\n"
                number += instruction.n_slots

    def source_with_relocations(self, program: Program) -> str:
        """Return *program* with source lines as they stand in the file, CO-RE relocations and no numbers."""
        return "".join(text for function in program.functions for text in self._annotated(function))

    def _annotated(self, function: Function) -> Iterator[str]:
        notes = self._notes.get(function.section, _NO_NOTES)
        for instruction in function.instructions:
            place = instruction.position_bytes - function.gap_bytes
            line = notes.lines.get(place)
            if line is not None:
                yield f"; {line.text}\n"
            relocation = notes.core_relocations.get(place)
            if relocation is not None:
                yield f"; {_format_relocation(relocation)}\n"
            yield f"{format_instruction(instruction, self._reading)}\n"


class _Notes:
    """What `.BTF.ext` says about one section, by position."""

    def __init__(self, lines: dict[int, Line], core_relocations: dict[int, CoreRelocation]) -> None:
        self.lines = lines
        self.core_relocations = core_relocations


_NO_NOTES: Final = _Notes({}, {})


def _digits(highest: int) -> int:
    return math.ceil(math.log10(highest))


def format_instruction(instruction: Instruction, reading: Reading = NEWEST) -> str:
    """Return *instruction* as text: `"StXMemDW dst: rfp src: r1 off: -8 imm: 0"`."""
    text = _format_bare(instruction, reading)
    # An exit refers to nothing, whatever a relocation says.
    return text if instruction.reference is None or text == "Exit" else f"{text} <{instruction.reference}>"


def _format_relocation(relocation: CoreRelocation) -> str:
    local = relocation.local
    kind = _KIND_NAMES.get(local.kind, local.kind.name.capitalize())
    name = f':"{local.name}"' if local.name else ""
    known = relocation.kind < len(_CORE_KINDS)
    what = _CORE_KINDS[relocation.kind] if known else f"unknown ({relocation.kind})"
    return f"CORERelocation({what}, {kind}{name}[{relocation.access}], local_id={relocation.type_id})"


def _format_bare(instruction: Instruction, reading: Reading) -> str:
    if instruction.is_wide and instruction.source in (SOURCE_MAP, SOURCE_MAP_VALUE):
        return _format_map_load(instruction)
    instruction_class = instruction.opcode & 7
    if instruction_class in (_CLASS_ALU32, _CLASS_ALU64):
        return _format_arithmetic(instruction)
    if instruction_class in (_CLASS_JUMP64, _CLASS_JUMP32):
        return _format_jump(instruction, reading)
    return _format_memory(instruction)


def _format_map_load(instruction: Instruction) -> str:
    register = _register(instruction.destination)
    descriptor = (instruction.immediate & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
    if instruction.source == SOURCE_MAP:
        return f"LoadMapPtr dst: {register} fd: {descriptor}"
    return f"LoadMapValue dst: {register}, fd: {descriptor} off: {instruction.immediate >> 32 & 0xFFFFFFFF}"


def _format_memory(instruction: Instruction) -> str:
    instruction_class, mode = instruction.opcode & 7, instruction.opcode & 0xE0
    operation = ""
    if instruction_class == _CLASS_STORE_REGISTER and mode == _MODE_ATOMIC:
        number = instruction.immediate & _ATOMIC_MASK
        operation = _ATOMIC_OPERATIONS.get(number, f"AtomicOp({number << 8:#x})")
    operands = _OPERANDS.get(mode, "").format(
        dst=_register(instruction.destination),
        src=_register(instruction.source),
        off=instruction.offset,
        imm=instruction.immediate,
    )
    mode_name = _MODES.get(mode, f"Mode({mode})")
    size = _SIZES[instruction.opcode & 0x18]
    return f"{_CLASSES[instruction_class]}{mode_name}{operation}{size} {operands}"


def _format_arithmetic(instruction: Instruction) -> str:
    is_64 = instruction.opcode & 7 == _CLASS_ALU64
    operation = _ALU_OPERATIONS[instruction.opcode >> 4]
    operation = _ALU_VARIANTS.get((operation, instruction.offset), operation)
    register = _register(instruction.destination)
    from_register = bool(instruction.opcode & _REGISTER_FLAG)
    if operation == "Swap":
        return f"{_swap(instruction, is_64=is_64, flag=from_register)} dst: {register} "
    width = "" if is_64 else "32"
    return f"{operation}{_kind_of_source(instruction)}{width} dst: {register} {_operand(instruction)}"


def _swap(instruction: Instruction, *, is_64: bool, flag: bool) -> str:
    if not is_64:
        return "SwapBE" if flag else "SwapLE"
    return "BSwap" if flag else f"BSwap{instruction.immediate}"


def _format_jump(instruction: Instruction, reading: Reading) -> str:
    operation = _JUMP_OPERATIONS[instruction.opcode >> 4]
    is_32 = instruction.opcode & 7 == _CLASS_JUMP32
    if is_32:
        operation = "InvalidJumpOp32" if operation in ("Call", "Exit") else f"{operation}32"
    match operation:
        case "Exit":
            return "Exit"
        case "Call":
            return f"Call {_callee(instruction, reading)}"
        case "Ja":
            return f"Ja off: {instruction.offset}"
        case "Ja32":
            return f"Ja32 imm: {instruction.immediate}"
        case "JumpOp(224)" | "JumpOp(224)32" if reading >= Reading.IG_0_54:
            return _format_conditional_pseudo_jump(instruction, is_32=is_32)
    return (
        f"{operation}{_kind_of_source(instruction)} dst: {_register(instruction.destination)}"
        f" off: {instruction.offset} {_operand(instruction)}"
    )


def _format_conditional_pseudo_jump(instruction: Instruction, *, is_32: bool) -> str:
    if instruction.source == _SOURCE_MAY_GOTO:
        return f"JCond may_goto off: {instruction.offset}"
    return f"JCOND{'32' if is_32 else ''}{_kind_of_source(instruction)}"


def _callee(instruction: Instruction, reading: Reading) -> str:
    if instruction.source == SOURCE_SUBPROGRAM:
        # Dumps of the kernel's have the distance in the offset.
        from_dump = reading >= Reading.IG_0_54 and instruction.offset
        return str(instruction.offset if from_dump else instruction.immediate)
    if instruction.source == SOURCE_KFUNC:
        return f"Kfunc({instruction.immediate})"
    number = instruction.immediate & 0xFFFFFFFF
    if number >= len(helpers.NAMES):
        return f"BuiltinFunc({number})"
    return "Fn" + "".join(word[:1].upper() + word[1:] for word in helpers.NAMES[number].split("_"))


def _kind_of_source(instruction: Instruction) -> str:
    return "Reg" if instruction.opcode & _REGISTER_FLAG else "Imm"


def _operand(instruction: Instruction) -> str:
    if instruction.opcode & _REGISTER_FLAG:
        return f"src: {_register(instruction.source)}"
    return f"imm: {instruction.immediate}"


def _register(number: int) -> str:
    return "rfp" if number == _FRAME_POINTER else f"r{number}"
