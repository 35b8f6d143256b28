"""A stack is known again by what decided about it, and only by that."""

import struct
from collections.abc import Sequence

import pytest

from gadgetops.trace.unwound_before import UnwoundBefore

CODE = (0x400000, 0x500000)
PC, RETURN, OUTER, OTHER = 0x400100, 0x400200, 0x400300, 0x400400
START = 0x7FFF_0000_1000
HEAP = 0x5555_0000_0000
READS = [[0, 8], [16, 24, 40], []]
"""A saved register and the return address; two, and another return address; nothing in the end."""


def registers(*, start: int = START, pc: int = PC, other: int = HEAP) -> Sequence[int]:
    """A stack pointer, a register, and the program counter."""
    return start, other, pc


def memory(
    *, start: int = START, saved: int = HEAP, caller: int = RETURN, frame: int | None = None, data: int = 7
) -> bytes:
    """A slice of seven words, one of them the place of a frame further out, one of them never read."""
    place = start + 48 if frame is None else frame
    return struct.pack("<7Q", saved, caller, place, data, CODE[0], OUTER, HEAP + 1)


@pytest.fixture
def before() -> UnwoundBefore:
    known = UnwoundBefore([CODE], stack_pointer=0)
    known.keep(registers(), memory(), READS, [PC, RETURN, OUTER])
    return known


def test_data_may_differ(before: UnwoundBefore) -> None:
    """And what was not read, whatever it is."""
    other = bytearray(memory(saved=HEAP + 8, data=8))
    other[32:40] = struct.pack("<Q", OTHER)
    assert before.find(registers(other=HEAP + 16), bytes(other)) == [PC, RETURN, OUTER]


def test_a_stack_may_be_elsewhere(before: UnwoundBefore) -> None:
    """What points into it moves along."""
    start = START + 0x100000
    assert before.find(registers(start=start), memory(start=start)) == [PC, RETURN, OUTER]
    assert before.find(registers(start=start), memory(start=start, frame=START + 48)) is None


@pytest.mark.parametrize(
    ("found", "read"),
    [
        pytest.param(registers(), memory(caller=OTHER), id="another caller"),
        pytest.param(registers(pc=OTHER), memory(), id="another program counter"),
        pytest.param(registers(other=START + 8), memory(), id="a register that points into the stack"),
        pytest.param(registers(other=OTHER), memory(), id="a register that points into code"),
        pytest.param(registers(), memory(frame=START + 40), id="a frame elsewhere"),
        pytest.param(registers(), memory(frame=HEAP), id="data in place of a frame"),
        pytest.param(registers(), memory(data=START), id="a frame in place of data"),
        pytest.param(registers(), memory()[:40], id="too little memory"),
        pytest.param(registers(), b"", id="no memory"),
    ],
)
def test_another_stack_is_not_known(before: UnwoundBefore, found: Sequence[int], read: bytes) -> None:
    assert before.find(found, read) is None


def test_stacks_part_where_they_differ(before: UnwoundBefore) -> None:
    """What is read next follows from what was read."""
    reads = [[0, 8], [32], []]
    before.keep(registers(), memory(caller=OTHER), reads, [PC, OTHER, CODE[0]])
    assert before.find(registers(), memory(caller=OTHER)) == [PC, OTHER, CODE[0]]
    assert before.find(registers(), memory()) == [PC, RETURN, OUTER]


def test_code_is_told_from_what_lies_beside_it() -> None:
    """Mappings one after the other, in any order, one of them with an address that is negative as stored."""
    far = (-(1 << 20), -(1 << 19))
    before = UnwoundBefore([(0x500000, 0x600000), far, CODE], stack_pointer=0)
    before.keep(registers(), memory(data=CODE[1]), READS, [PC])
    assert before.find(registers(), memory(data=CODE[1])) == [PC]
    assert before.find(registers(), memory(data=0x600000)) is None
    before.keep(registers(), memory(data=(1 << 64) - (1 << 20)), READS, [PC, 1])
    assert before.find(registers(), memory(data=(1 << 64) - (1 << 20) - 1)) is None


def test_words_that_are_not_aligned_are_not_compared(before: UnwoundBefore) -> None:
    """Such a stack is unwound each time."""
    before.keep(registers(pc=OTHER), memory(), [[4], []], [OTHER])
    assert before.find(registers(pc=OTHER), memory()) is None


def test_when_there_are_too_many_all_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gadgetops.trace.unwound_before._MOST_KNOWN", 10)
    before = UnwoundBefore([CODE], stack_pointer=0)
    pcs = range(CODE[0], CODE[0] + 5)
    for pc in pcs:
        before.keep(registers(pc=pc), memory(), READS, [pc])
    assert [before.find(registers(pc=pc), memory()) for pc in pcs] == [None] * 4 + [[pcs[-1]]]
