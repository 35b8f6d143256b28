"""Branches are found in any code, as by trying every byte for one."""

import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gadgetops.trace.probes.branches import branch_targets

BLOCK_BYTES = 1 << 16
Targets = Callable[[bytes, int], Iterator[int]]


def x86_targets(code: bytes, address: int) -> Iterator[int]:
    """Every byte may begin a branch."""
    for position in range(len(code)):
        is_long = code[position] == 0x0F and position + 1 < len(code) and code[position + 1] >> 4 == 8
        start = position + 1 + is_long
        if (is_long or code[position] in (0xE8, 0xE9)) and start + 4 <= len(code):
            yield address + start + 4 + struct.unpack_from("<i", code, start)[0]


def arm64_targets(code: bytes, address: int) -> Iterator[int]:
    """Mask, value, and where the distance lies, of b and bl, b.cond, cbz and cbnz, tbz and tbnz."""
    forms = (
        (0x7C000000, 0x14000000, 0, 26),
        (0xFF000000, 0x54000000, 5, 19),
        (0x7E000000, 0x34000000, 5, 19),
        (0x7E000000, 0x36000000, 5, 14),
    )
    for index, (word,) in enumerate(struct.iter_unpack("<I", code[: len(code) // 4 * 4])):
        for mask, value, shift, n_bits in forms:
            if word & mask == value:
                distance = word >> shift & (1 << n_bits) - 1
                yield address + 4 * (index + distance - (distance >> n_bits - 1 << n_bits))


def code_of(parts: list[bytes], filler: bytes, size_bytes: int) -> bytes:
    """Parts over the whole of code that is otherwise filler."""
    code = bytearray(filler * size_bytes)[:size_bytes]
    for number, part in enumerate(parts):
        start = number * size_bytes // len(parts)
        code[start : start + len(part)] = part
    return bytes(code)


PARTS = st.binary(max_size=40) | st.lists(st.sampled_from(b"\0\1\xff\xe8\xe9\x0f\x84\x14\x54\x36\x97")).map(
    bytes
)
CODE = st.builds(
    code_of,
    st.lists(PARTS, min_size=1, max_size=30),
    st.sampled_from([b"\x90", b"\0", b"\xff", b"\x1f\x20\x03\xd5"]),
    st.sampled_from([7, 500, BLOCK_BYTES - 1, BLOCK_BYTES + 3]),
)


@pytest.mark.parametrize(("machine", "targets"), [("EM_X86_64", x86_targets), ("EM_AARCH64", arm64_targets)])
@settings(deadline=None)
@given(code=CODE, address=st.sampled_from([0, 0x1000, 0x400000]), data=st.data())
def test_branches_are_found_wherever_they_lead(
    machine: str,
    targets: Callable[[bytes, int], Iterator[int]],
    code: bytes,
    address: int,
    data: st.DataObject,
) -> None:
    every = {*targets(code, address)}
    known = st.sampled_from(sorted(every)) if every else st.nothing()
    any_place = st.integers(address, address + len(code))
    places = data.draw(st.sets(st.one_of(known, any_place), max_size=20))
    assert branch_targets(machine, code, address, places) == every & places
