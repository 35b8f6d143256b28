"""Frame pointers are followed through a slice as the kernel follows them through a stack."""

import struct

import pytest

from gadgetops.recording.schema import MAX_WALKED_FRAMES
from gadgetops.stacks.unwinding.frame_pointer_walk import walk

START = 0x7FFF_0000
PC = 0x401000


def registers(frame_pointer: int, machine: str) -> list[int]:
    numbers = {"x86_64": (17, 6, 7), "aarch64": (33, 29, 31)}[machine]
    values = [0] * numbers[0]
    values[numbers[1]], values[numbers[2]], values[-1] = frame_pointer, START, PC
    return values


def stack(*frames: tuple[int, int, int], size: int = 256) -> bytes:
    """Memory with frames: where each is, what the one above is, and where it returns to."""
    memory = bytearray(size)
    for offset, above, returns in frames:
        struct.pack_into("<QQ", memory, offset, above, returns)
    return bytes(memory)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_frames_are_followed_to_one_that_is_elsewhere(machine: str) -> None:
    """The last pointer leads out of the stack: there the C library began it."""
    memory = stack((16, START + 64, 1), (64, START + 128, 2), (128, 1, 3))
    assert walk(registers(START + 16, machine), memory, machine) == [PC, 1, 2, 3]


@pytest.mark.parametrize("frame", [0, START - 8, START + 248, 2**64 - 1])
def test_a_pointer_to_elsewhere_is_no_frame(frame: int) -> None:
    """Nor one of which only a part was copied."""
    assert walk(registers(frame, "x86_64"), stack(), "x86_64") == [PC]


def test_a_frame_that_returns_nowhere_is_the_last() -> None:
    """As the outermost one's caller is 0 by the ABI."""
    memory = stack((0, START + 16, 7), (16, START + 32, 0), (32, START + 64, 8))
    assert walk(registers(START, "x86_64"), memory, "x86_64") == [PC, 7]


def test_a_circle_of_pointers_ends() -> None:
    """Where the kernel ends it, too."""
    assert len(walk(registers(START, "x86_64"), stack((0, START, 9)), "x86_64")) == MAX_WALKED_FRAMES
