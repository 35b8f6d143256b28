"""Stacks that are followed at once: as far as they are there, and no farther."""

import platform
import struct
import subprocess
from pathlib import Path

import pytest

from gadgetops.elf import Elf
from gadgetops.stacks.unwinding.batch_unwinder import Lockstep
from gadgetops.stacks.unwinding.libdw import MAX_FRAMES, MappedFile, Unwinder, Unwound

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="rules of x86-64 are read")

SOURCE = """
.text
.globl _start, middle, leaf, odd
_start: .cfi_startproc
.cfi_undefined rip
nop; nop
.cfi_endproc
middle: .cfi_startproc
push %rbp
.cfi_def_cfa_offset 16
.cfi_offset rbp, -16
mov %rsp, %rbp
.cfi_def_cfa_register rbp
nop; nop
.cfi_endproc
leaf: .cfi_startproc
nop; nop
.cfi_endproc
odd: .cfi_startproc
.cfi_escape 0x0f, 0x02, 0x77, 0x08
nop; nop
.cfi_endproc
.section .note.GNU-stack,"",@progbits
"""
START = 0x7FFC00000000
"""The stack pointer."""


class Program:
    """Addresses within its functions, and what unwinds it."""

    def __init__(self, folder: Path) -> None:
        (folder / "a.s").write_text(SOURCE)
        path = folder / "program"
        command = ["gcc", "-nostdlib", "-static", "-Wl,--eh-frame-hdr", folder / "a.s", "-o", path]
        subprocess.run(command, check=True)
        elf = Elf.from_file(path)
        places = {symbol.name: symbol.value for symbol in elf.symbols}
        self.start, self.leaf, self.odd = (places[name] + 1 for name in ("_start", "leaf", "odd"))
        # After its frame pointer is set.
        self.middle = places["middle"] + 5
        code = next(each for each in elf.segments if each.is_executable)
        self.files = [MappedFile(path, code.address, code.offset_bytes)]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A program in assembly, with all kinds of rules."""
    return Program(tmp_path_factory.mktemp("program"))


def slice_of(counter: int, words: list[int], frame_pointer: int = 0) -> tuple[bytes, bytes]:
    """A slice that begins at `START`."""
    registers = [0] * 17
    registers[6], registers[7], registers[16] = frame_pointer, START, counter
    return struct.pack("<17Q", *registers), struct.pack(f"<{len(words)}Q", *words)


def cases(program: Program) -> dict[str, tuple[tuple[bytes, bytes], list[int] | None]]:
    """A slice, and the stack that it has here."""
    leaf, middle, start, odd = program.leaf, program.middle, program.start, program.odd
    frames = [middle, START + 24, start, 0, start]
    return {
        "to the beginning": (slice_of(leaf, [start]), [leaf, start]),
        "the beginning itself": (slice_of(start, []), [start]),
        "nothing to return to": (slice_of(leaf, [0]), [leaf]),
        "by the frame pointer": (slice_of(middle, [0, start], START), [middle, start]),
        "a frame pointer that was saved": (
            slice_of(leaf, [middle, START + 8, start], START + 8),
            [leaf, middle, start],
        ),
        "one after the other": (
            slice_of(leaf, [middle, 1, START + 32, middle, 0, start], START + 16),
            [leaf, middle, middle, start],
        ),
        "not all of the stack": (slice_of(leaf, [middle], START + 8), None),
        "a frame below the stack pointer": (slice_of(middle, frames, START - 64), None),
        "a frame that is not aligned": (slice_of(middle, frames, START + 3), None),
        "an expression": (slice_of(leaf, [odd, start]), None),
        "code without rules": (slice_of(leaf, [0x1234, start]), None),
    }


def whole(stack: Unwound | None) -> list[int] | None:
    """The addresses of a stack that was followed to its beginning."""
    return stack.addresses if stack is not None and stack.end == "complete" else None


def test_stacks_are_followed_to_their_beginning(program: Program) -> None:
    slices, expected = zip(*cases(program).values(), strict=True)
    found = map(whole, Lockstep(program.files).unwind(slices))
    assert dict(zip(cases(program), found, strict=True)) == dict(zip(cases(program), expected, strict=True))


def test_each_is_as_if_it_were_alone(program: Program) -> None:
    lockstep = Lockstep(program.files)
    for found, expected in cases(program).values():
        assert [*map(whole, lockstep.unwind([found]))] == [expected]


def test_libdw_says_the_same(program: Program) -> None:
    with Unwinder(program.files, "x86_64") as unwinder:
        for name, (found, expected) in cases(program).items():
            stack = unwinder.unwind(struct.unpack("<17Q", found[0]), found[1])
            if expected is not None:
                assert (stack.end, stack.addresses) == ("complete", expected), name


def test_too_deep_a_stack_is_left_to_libdw(program: Program) -> None:
    lockstep = Lockstep(program.files)
    for n_frames, is_followed in ((MAX_FRAMES - 1, True), (MAX_FRAMES, False)):
        words = [program.leaf] * (n_frames - 2) + [program.start]
        [stack] = lockstep.unwind([slice_of(program.leaf, words)])
        assert (stack is not None) == is_followed
        assert stack is None or len(stack.addresses) == n_frames


def test_what_is_there_of_a_stack_that_was_cut(program: Program) -> None:
    """With the stack pointer in each frame, by which others complete it; as libdw says."""
    registers, memory = slice_of(program.leaf, [program.middle, 1, START + 32], START + 16)
    [stack] = Lockstep(program.files).unwind([(registers, memory)])
    assert stack == Unwound([program.leaf, program.middle], "cut", [START, START + 8])
    with Unwinder(program.files, "x86_64") as unwinder:
        assert unwinder.unwind(struct.unpack("<17Q", registers), memory) == stack


def test_nothing_and_what_is_of_another_machine(program: Program) -> None:
    assert Lockstep(program.files).unwind([]) == []
    assert Lockstep(program.files).unwind([(bytes(33 * 8), b"")]) == [None]
    assert Lockstep([]).unwind([slice_of(program.leaf, [program.start])]) == [None]
