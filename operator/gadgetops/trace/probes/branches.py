"""
Which direct jumps and calls in a file's code lead to certain addresses.

All code is looked through without being disassembled: of a branch that leads to a certain place from within a
block of code, two bytes are known, and such pairs of bytes are found fast, also in a file as large as a
browser. What is found by mistake, among constants say, is a place more and does no harm.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain
from typing import Final, NamedTuple

_X86_BLOCK_BYTES: Final = 1 << 16
"""Within it the upper two bytes of a distance to one place are one of two pairs."""
_X86_DISTANCE: Final = struct.Struct("<i")
_X86_CALL_AND_JUMP: Final = (0xE8, 0xE9)
_X86_CONDITIONAL: Final = 0x0F
"""Followed by a byte from 0x80 to 0x8F."""
_X86_LAST_OPCODE_BYTES: Final = frozenset((*_X86_CALL_AND_JUMP, *range(0x80, 0x90)))


class _Form(NamedTuple):
    """
    A kind of branch of arm64.

    Attributes:
        uppers: The upper 16 bits of its instructions, without those of the distance.
        shift: Where the distance, in instructions, begins.
        n_bits: Of the distance.
    """

    uppers: Sequence[int]
    shift: int
    n_bits: int


_ARM64_FORMS: Final = (
    _Form((0x1400, 0x9400), 0, 26),  # b, bl
    _Form((0x5400, 0x3400, 0x3500, 0xB400, 0xB500), 5, 19),  # b.cond, cbz, cbnz
    _Form([op << 8 | bit << 3 for op in (0x36, 0x37, 0xB6, 0xB7) for bit in range(32)], 5, 14),  # tbz, tbnz
)


def branch_targets(machine: str, code: bytes, address: int, places: Set[int]) -> set[int]:
    """
    Return those of the addresses *places* to which branches in *code* lead.

    Short jumps of x86, with a distance of 8 bits, are left out.

    Args:
        machine: The processor, as ELF names it; of others than `EM_X86_64` and `EM_AARCH64` none is found.
        code: The code.
        address: Of its first byte.
        places: What is asked for.
    """
    find = _FINDERS.get(machine)
    return {*find(code, address, places)} if find else set()


def _targets_on_x86(code: bytes, address: int, places: Set[int]) -> Iterator[int]:
    """Yield where calls, jumps and conditional jumps with a distance of 32 bits lead."""
    for start in range(0, len(code), _X86_BLOCK_BYTES):
        # A distance counts from the end of its four bytes, and belongs to the block in which it begins.
        ends = address + start + 4, address + start + 4 + _X86_BLOCK_BYTES - 1
        pairs = {_pair(place - end >> 16) for place in places for end in ends}
        for position in _positions_of_any(code, pairs, max(start, 1) + 2, start + _X86_BLOCK_BYTES + 3):
            if code[position - 3] in _X86_LAST_OPCODE_BYTES:
                (distance,) = _X86_DISTANCE.unpack_from(code, position - 2)
                target = address + position + 2 + distance
                if target in places and _is_branch_on_x86(code, position - 3):
                    yield target


def _is_branch_on_x86(code: bytes, last: int) -> bool:
    """Return whether an opcode that may be that of a branch, with its last byte at *last*, is one."""
    return code[last] in _X86_CALL_AND_JUMP or (last > 0 and code[last - 1] == _X86_CONDITIONAL)


def _targets_on_arm64(code: bytes, address: int, places: Set[int]) -> Iterator[int]:
    """Yield where all direct branches lead; instructions are words of 4 bytes."""
    for form in _ARM64_FORMS:
        # So many bits of a distance are among the lower 16: they may be any.
        n_lower = 16 - form.shift
        block_bytes = 4 << n_lower
        reach_bytes = 4 << form.n_bits - 1
        for start in range(0, len(code), block_bytes):
            block = range(address + start, address + start + block_bytes)
            near = [p for p in places if block.start - reach_bytes <= p < block.stop + reach_bytes]
            uppers = {place - end >> 2 + n_lower for place in near for end in (block.start, block.stop - 4)}
            mask = (1 << form.n_bits - n_lower) - 1
            pairs = {_pair(upper | distance & mask) for upper in form.uppers for distance in uppers}
            for position in _positions_of_any(code, pairs, start + 2, start + block_bytes):
                target = address + position - 2 + 4 * _arm64_distance(form, code, position - 2)
                if position % 4 == 2 and target in places:
                    yield target


def _arm64_distance(form: _Form, code: bytes, position: int) -> int:
    """Return how many instructions further the branch at *position* leads."""
    value = int.from_bytes(code[position : position + 4], "little") >> form.shift & (1 << form.n_bits) - 1
    return value - (value >> form.n_bits - 1 << form.n_bits)


def positions(data: bytes, wanted: bytes, start: int = 0, end: int | None = None) -> Iterator[int]:
    """Yield wherever *wanted* lies in *data* from *start* to *end*."""
    position = data.find(wanted, start, end)
    while position >= 0:
        yield position
        position = data.find(wanted, position + 1, end)


def _positions_of_any(code: bytes, pairs: Iterable[bytes], start: int, end: int) -> Iterator[int]:
    return chain.from_iterable(positions(code, pair, start, end) for pair in pairs)


def _pair(value: int) -> bytes:
    return (value & 0xFFFF).to_bytes(2, "little")


_FINDERS: Final[Mapping[str, Callable[[bytes, int, Set[int]], Iterator[int]]]] = {
    "EM_X86_64": _targets_on_x86,
    "EM_AARCH64": _targets_on_arm64,
}
