"""
BPF instructions: eight bytes each, sixteen for a 64-bit load, by the BPF instruction set (RFC 9669).

Decoding only; which map or function an instruction refers to is filled in by `object`, from relocations.
"""

import struct
from typing import Final, NamedTuple

from gadgetops.elf import ByteOrder
from gadgetops.errors import ObjectError

SLOT_BYTES: Final = 8

OPCODE_WIDE_LOAD: Final = 0x18
SOURCE_MAP: Final = 1
SOURCE_MAP_VALUE: Final = 2
SOURCE_FUNCTION: Final = 4
SOURCE_HELPER: Final = 0
SOURCE_SUBPROGRAM: Final = 1
SOURCE_KFUNC: Final = 2

_CLASS_MASK: Final = 0x07
_CLASS_JUMP: Final = 0x05
_OPERATION_MASK: Final = 0xF0
_OPERATION_CALL: Final = 0x80


MAY_REFER: Final = frozenset({OPCODE_WIDE_LOAD, 0x85, 0x8D})
"""Opcodes of what may refer to something without a relocation: 64-bit loads, and calls of both forms."""


class Instruction(NamedTuple):
    """
    One instruction.

    Args:
        opcode: The first byte.
        destination: Register 0 to 10 (up to 15 in damaged code).
        source: Register, or what kind of reference a load or call is.
        offset: The signed 16 bits: bytes for memory accesses, instructions for jumps.
        immediate: Signed: 32 bits, 64 in a wide load.
        position_bytes: Where it stands in its section.
        reference: Name of the map, data section or function it refers to, if any.
    """

    opcode: int
    destination: int
    source: int
    offset: int
    immediate: int
    position_bytes: int
    reference: str | None = None

    @property
    def is_wide(self) -> bool:
        """Whether it is the 64-bit load, which takes two slots."""
        return self.opcode == OPCODE_WIDE_LOAD

    @property
    def n_slots(self) -> int:
        """How many eight-byte slots it takes."""
        return 2 if self.opcode == OPCODE_WIDE_LOAD else 1

    @property
    def is_call(self) -> bool:
        """Whether it calls something: a helper, a subprogram or a kfunc."""
        return self.opcode & _CLASS_MASK == _CLASS_JUMP and self.opcode & _OPERATION_MASK == _OPERATION_CALL

    @property
    def is_helper_call(self) -> bool:
        """Whether it calls the kernel function with the id *immediate*."""
        return self.is_call and self.source == SOURCE_HELPER and self.destination == 0

    @property
    def is_function_reference(self) -> bool:
        """Whether it calls a BPF function, or loads the address of one (a callback)."""
        if self.is_wide:
            return self.source == SOURCE_FUNCTION
        return self.is_call and self.source == SOURCE_SUBPROGRAM


def decode(code: memoryview, byte_order: ByteOrder, section: str, start_bytes: int = 0) -> list[Instruction]:
    """
    Return the instructions that *code* holds, in order, without references.

    Args:
        section: Where *code* comes from, for errors.
        start_bytes: Where in that section it begins.

    Raises:
        ObjectError: *code* ends inside an instruction, or the second half of a wide load holds more than an
            immediate.
    """
    whole = len(code) - len(code) % SLOT_BYTES
    little = byte_order == "little"
    slots = struct.iter_unpack("<BBhi" if little else ">BBhi", code[:whole])
    instructions = []
    position = start_bytes
    for opcode, registers, offset, immediate in slots:
        low, high = registers & 15, registers >> 4
        destination, source = (low, high) if little else (high, low)
        value = immediate
        if opcode == OPCODE_WIDE_LOAD:
            value = _wide_immediate(immediate, next(slots, None), position, section)
        instructions.append(Instruction(opcode, destination, source, offset, value, position))
        position += 2 * SLOT_BYTES if opcode == OPCODE_WIDE_LOAD else SLOT_BYTES
    if whole != len(code):
        raise ObjectError("last instruction is cut short", section=section, offset_bytes=start_bytes + whole)
    return instructions


def _wide_immediate(low: int, second: tuple[int, ...] | None, position: int, section: str) -> int:
    if second is None:
        raise ObjectError("64-bit load has no second half", section=section, offset_bytes=position)
    *rest, high = second
    if any(rest):
        raise ObjectError("second half of a 64-bit load is damaged", section=section, offset_bytes=position)
    return (high << 32) | (low & 0xFFFFFFFF)
