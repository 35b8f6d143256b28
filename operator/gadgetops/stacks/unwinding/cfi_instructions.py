"""
Call frame instructions, as far as they are simple: what the rules of a function are at one instruction.

DWARF 5, section 6.4.2, and for the registers the x86-64 psABI and Arm's "DWARF for the Arm 64-bit
Architecture". Simple are rules that find the frame at a register plus a number, and what was saved at the
frame plus a number.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gadgetops.elf import MACHINE_AARCH64, MACHINE_X86_64

FARTHEST_BYTES: Final = 1 << 30
"""Offsets are smaller than that; a frame is, too."""
IN_REGISTER: Final = FARTHEST_BYTES
"""In place of where the return address lies: in its register still."""
_NUMBER_BITS: Final = 63


class Processor(NamedTuple):
    """
    Registers by DWARF's numbers, and what compilers write besides DWARF.

    Attributes:
        stack_pointer: The stack pointer.
        saved: Those that a function gives back as they were, and the link register, if there is one.
        return_address: Column of the return address.
        has_link_register: Whether a call leaves the return address in that register.
        n_registers: How many a slice has; the program counter is the last one.
        flags: Call frame instructions without operands that do not matter here.
        letters: The same, of a CIE's augmentation.
    """

    stack_pointer: int
    saved: tuple[int, ...]
    return_address: int
    has_link_register: bool
    n_registers: int
    flags: frozenset[int]
    letters: str


PROCESSORS: Final = {
    MACHINE_X86_64: Processor(
        stack_pointer=7,
        saved=(3, 6, 12, 13, 14, 15),  # rbx, rbp, r12 to r15
        return_address=16,
        has_link_register=False,
        n_registers=17,
        flags=frozenset(),
        letters="",
    ),
    # DW_CFA_AARCH64_negate_ra_state (2d) and its brother with the program counter (2c) say where return
    # addresses are signed, B with which key: signatures are removed beforehand.
    MACHINE_AARCH64: Processor(
        stack_pointer=31,
        saved=tuple(range(19, 31)),  # x19 to x28, the frame pointer, the link register
        return_address=30,
        has_link_register=True,
        n_registers=33,
        flags=frozenset({0x2C, 0x2D}),
        letters="BG",
    ),
}
"""By ELF's number of the machine."""


class Rule(NamedTuple):
    """
    How to find the caller.

    Attributes:
        frame_register: By DWARF's number: what is added to gives the frame's address, as the caller's stack
            pointer was before the call.
        frame_offset_bytes: What is added.
        return_offset_bytes: Where the return address lies, from the frame; or `IN_REGISTER`; None if there is
            no caller.
        saved: Where registers of `Processor.saved` lie, from there; others are as they were.
    """

    frame_register: int
    frame_offset_bytes: int
    return_offset_bytes: int | None
    saved: dict[int, int]


class NotSimple(Exception):
    """Rules that are not read here."""


class Reader:
    """Takes numbers from *data*, from *position* on."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self.position = position

    def skip(self, n_bytes: int) -> None:
        """Leave out bytes."""
        self.position += n_bytes

    def fixed(self, n_bytes: int) -> int:
        """Take a number of so many bytes."""
        start = self.position
        self.position += n_bytes
        if self.position > len(self._data):
            raise NotSimple
        return int.from_bytes(self._data[start : self.position], "little")

    def unsigned(self) -> int:
        """Take a ULEB128."""
        value = 0
        for shift in range(0, _NUMBER_BITS, 7):
            byte = self._data[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise NotSimple

    def signed(self) -> int:
        """Take an SLEB128."""
        start = self.position
        value = self.unsigned()
        n_bits = 7 * (self.position - start)
        return value - (value >> n_bits - 1 << n_bits)


@dataclass
class Rules:
    """Where the frame is found, and of registers where they were saved, or that they are gone."""

    frame_register: int = -1
    frame_offset: int = 0
    saved: dict[int, int] = field(default_factory=dict)
    undefined: frozenset[int] = frozenset()

    def copy(self) -> "Rules":
        """Return the same, to be changed."""
        return Rules(self.frame_register, self.frame_offset, {**self.saved}, self.undefined)


class State:
    """
    Carries out the instructions of an entry.

    Args:
        processor: Whose registers they are.
        initial: What it begins with.
        code_factor: Of distances between instructions.
        data_factor: Of many an offset.

    Attributes:
        rules: As they are now.
    """

    def __init__(self, processor: Processor, initial: Rules, code_factor: int, data_factor: int) -> None:
        self._processor = processor
        self._initial = initial
        self._code_factor = code_factor
        self.data_factor = data_factor
        self.rules = initial.copy()
        self._remembered: list[Rules] = []
        self._distance = 0

    def rule(self) -> Rule:
        """
        Return what the rules are now.

        Raises:
            NotSimple: They are not.
        """
        found, processor = self.rules, self._processor
        if processor.return_address in found.undefined:
            return Rule(found.frame_register, found.frame_offset, None, {})
        is_kept = found.frame_register in (processor.stack_pointer, *processor.saved)
        if not is_kept or found.undefined or processor.stack_pointer in found.saved:
            raise NotSimple
        if any(abs(offset) >= FARTHEST_BYTES for offset in (found.frame_offset, *found.saved.values())):
            raise NotSimple
        saved = {register: offset for register, offset in found.saved.items() if register in processor.saved}
        return Rule(found.frame_register, found.frame_offset, self._return_offset_bytes(), saved)

    def _return_offset_bytes(self) -> int:
        offset = self.rules.saved.get(self._processor.return_address)
        if offset is None and not self._processor.has_link_register:
            raise NotSimple
        return IN_REGISTER if offset is None else offset

    def run(self, reader: Reader, end: int, until: int) -> None:
        """Carry out what is before *end*, as far as it concerns the address *until* bytes from the first."""
        while reader.position < end and self._distance <= until:
            operation = reader.fixed(1)
            kind, low = operation & 0xC0, operation & 0x3F
            if kind == _ADVANCE:
                self.advance(low)
            elif kind == _OFFSET:
                self.save(low, reader.unsigned())
            elif kind == _RESTORE:
                self.restore(low)
            elif operation in _OPERATIONS:
                _OPERATIONS[operation](self, reader)
            elif operation not in self._processor.flags:
                raise NotSimple

    def advance(self, count: int) -> None:
        """Go on to an instruction further down."""
        self._distance += count * self._code_factor

    def save(self, register: int, factored: int) -> None:
        """Note where a register was saved."""
        self.keep(register)
        self.rules.saved[register] = factored * self.data_factor

    def restore(self, register: int) -> None:
        """Go back to what the entry began with."""
        self.keep(register)
        if register in self._initial.saved:
            self.rules.saved[register] = self._initial.saved[register]

    def undefine(self, register: int) -> None:
        """Note that a register is gone."""
        self.keep(register)
        self.rules.undefined |= {register}

    def keep(self, register: int) -> None:
        """Note that a register is as it was."""
        self.rules.saved.pop(register, None)
        self.rules.undefined -= {register}

    def remember(self) -> None:
        """Keep all rules for `recall`."""
        self._remembered.append(self.rules.copy())

    def recall(self) -> None:
        """Go back to what was remembered last."""
        self.rules = self._remembered.pop()

    def find(self, register: int, offset: int) -> None:
        """Find the frame there."""
        self.find_by(register)
        self.find_at(offset)

    def find_by(self, register: int) -> None:
        """Find the frame by another register."""
        self.rules.frame_register = register

    def find_at(self, offset: int) -> None:
        """Find the frame at another distance."""
        self.rules.frame_offset = offset


_ADVANCE, _OFFSET, _RESTORE = 0x40, 0x80, 0xC0
"""Of these the lower six bits are the first operand."""
_OPERATIONS: Final[dict[int, Callable[[State, Reader], object]]] = {
    0x00: lambda _state, _reader: None,  # nop
    0x02: lambda state, reader: state.advance(reader.fixed(1)),
    0x03: lambda state, reader: state.advance(reader.fixed(2)),
    0x04: lambda state, reader: state.advance(reader.fixed(4)),
    0x05: lambda state, reader: state.save(reader.unsigned(), reader.unsigned()),
    0x06: lambda state, reader: state.restore(reader.unsigned()),
    0x07: lambda state, reader: state.undefine(reader.unsigned()),
    0x08: lambda state, reader: state.keep(reader.unsigned()),
    0x0A: lambda state, _reader: state.remember(),
    0x0B: lambda state, _reader: state.recall(),
    0x0C: lambda state, reader: state.find(reader.unsigned(), reader.unsigned()),
    0x0D: lambda state, reader: state.find_by(reader.unsigned()),
    0x0E: lambda state, reader: state.find_at(reader.unsigned()),
    0x11: lambda state, reader: state.save(reader.unsigned(), reader.signed()),
    0x12: lambda state, reader: state.find(reader.unsigned(), reader.signed() * state.data_factor),
    0x13: lambda state, reader: state.find_at(reader.signed() * state.data_factor),
    0x2E: lambda _state, reader: reader.unsigned(),  # how much of the arguments is on the stack
}
"""`DW_CFA_…`; those that find by an expression are not among them."""
