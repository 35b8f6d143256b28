"""Instructions are eight bytes, wide ones sixteen, in the file's byte order."""

import struct
from types import ModuleType

import pytest

from gadgetops.bpf.instruction import Instruction, decode
from gadgetops.errors import ObjectError

WIDE = struct.pack("<BBhi", 0x18, 0x12, 0, -2) + struct.pack("<BBhi", 0, 0, 0, 7)


def test_fields_are_where_the_byte_order_puts_them() -> None:
    """Registers share a byte, the destination in its lower half if the file is little-endian."""
    expected = Instruction(0x7B, 10, 1, -8, 5, 0)
    assert [expected] == decode(memoryview(struct.pack("<BBhi", 0x7B, 0x1A, -8, 5)), "little", "s")
    assert [expected] == decode(memoryview(struct.pack(">BBhi", 0x7B, 0xA1, -8, 5)), "big", "s")


def test_a_wide_load_takes_two_slots() -> None:
    """Its immediate has 64 bits, low half first; what follows stands sixteen bytes further."""
    wide, after = decode(memoryview(WIDE + struct.pack("<BBhi", 0x95, 0, 0, 0)), "little", "s")
    assert wide.immediate == (7 << 32) | 0xFFFFFFFE
    assert (wide.destination, wide.source) == (2, 1)
    assert (wide.n_slots, after.n_slots) == (2, 1)
    assert after.position_bytes == 16


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (bytes(8) + bytes(3), "section s: offset 8: last instruction is cut short"),
        (WIDE[:8], "section s: offset 0: 64-bit load has no second half"),
        (WIDE[:12], "section s: offset 0: 64-bit load has no second half"),
        (WIDE[:8] + b"\1" + bytes(7), "section s: offset 0: second half of a 64-bit load is damaged"),
    ],
)
def test_damaged_code_is_refused(code: bytes, sentence: str) -> None:
    """With section and offset."""
    with pytest.raises(ObjectError) as caught:
        decode(memoryview(code), "little", "s")
    assert sentence == str(caught.value)


@pytest.mark.parametrize(
    ("fields", "is_helper_call", "is_function_reference"),
    [
        ((0x85, 0, 0, 0, 1), True, False),
        ((0x85, 0, 1, 0, -1), False, True),
        ((0x85, 0, 2, 0, -1), False, False),
        ((0x85, 1, 0, 0, 1), False, False),
        ((0x86, 0, 0, 0, 1), False, False),
        ((0x95, 0, 0, 0, 0), False, False),
    ],
)
def test_calls_are_told_apart_by_their_registers(
    elf: ModuleType, fields: tuple[int, ...], is_helper_call: bool, is_function_reference: bool
) -> None:
    """Source 0 is a helper, 1 a subprogram, 2 a kernel function; with 32-bit jumps there is no call."""
    (instruction,) = decode(memoryview(elf.code(fields)), "little", "s")
    assert is_helper_call == instruction.is_helper_call
    assert is_function_reference == instruction.is_function_reference
