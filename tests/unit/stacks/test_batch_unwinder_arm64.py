"""Stacks of arm64: the return address is in a register first, and may be signed on the stack."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from gadgetops.elf import Elf
from gadgetops.stacks.unwinding.batch_unwinder import Lockstep
from gadgetops.stacks.unwinding.libdw import MappedFile, Unwinder, Unwound
from gadgetops.stacks.unwinding.signed_addresses import SignatureRemover

COMPILER = "aarch64-linux-gnu-gcc"
pytestmark = pytest.mark.skipif(not shutil.which(COMPILER), reason=f"no {COMPILER}")

SOURCE = """
.text
.globl _start, middle, leaf, signed, by_pointer
_start: .cfi_startproc
.cfi_undefined x30
nop; nop
.cfi_endproc
middle: .cfi_startproc
stp x29, x30, [sp, #-32]!
.cfi_def_cfa_offset 32
.cfi_offset 29, -32
.cfi_offset 30, -24
str x19, [sp, #16]
.cfi_offset 19, -16
nop; nop
.cfi_endproc
leaf: .cfi_startproc
nop; nop
.cfi_endproc
signed: .cfi_startproc
paciasp
.cfi_negate_ra_state
str x30, [sp, #-16]!
.cfi_def_cfa_offset 16
.cfi_offset 30, -16
nop; nop
.cfi_endproc
by_pointer: .cfi_startproc
stp x29, x30, [sp, #-16]!
.cfi_def_cfa_offset 16
.cfi_offset 29, -16
.cfi_offset 30, -8
mov x29, sp
.cfi_def_cfa_register 29
nop; nop
.cfi_endproc
.section .note.GNU-stack,"",@progbits
"""
START = 0xFFFFE2F10000
"""The stack pointer."""
SIGNATURE = 0x2B << 48


class Program:
    """Addresses within its functions, after their frames are set up, and what unwinds it."""

    def __init__(self, folder: Path) -> None:
        (folder / "a.s").write_text(SOURCE)
        path = folder / "program"
        command = [COMPILER, "-nostdlib", "-static", "-march=armv8.3-a", "-Wl,--eh-frame-hdr", folder / "a.s"]
        subprocess.run([*command, "-o", path], check=True)
        places = {symbol.name: symbol.value for symbol in Elf.from_file(path).symbols}
        self.start, self.leaf = places["_start"] + 4, places["leaf"] + 4
        self.middle, self.signed, self.by_pointer = (
            places[n] + 12 for n in ("middle", "signed", "by_pointer")
        )
        code = next(each for each in Elf.from_file(path).segments if each.is_executable)
        self.code = (code.address, code.address + len(code.data))
        self.files = [MappedFile(path, code.address, code.offset_bytes)]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A program in assembly."""
    return Program(tmp_path_factory.mktemp("program"))


def slice_of(counter: int, link: int, words: list[int], frame_pointer: int = 0) -> tuple[bytes, bytes]:
    """A slice that begins at `START`, by the numbers of registers that the gadget has."""
    registers = [0] * 33
    registers[29], registers[30], registers[31], registers[32] = frame_pointer, link, START, counter
    return struct.pack("<33Q", *registers), struct.pack(f"<{len(words)}Q", *words)


def cases(program: Program) -> dict[str, tuple[tuple[bytes, bytes], Unwound | None]]:
    """A slice, and the stack that it has."""
    leaf, middle, start, by_pointer = program.leaf, program.middle, program.start, program.by_pointer

    def whole(*addresses: int) -> Unwound:
        return Unwound([*addresses], "complete")

    return {
        "in the register": (slice_of(leaf, start, []), whole(leaf, start)),
        "on the stack": (slice_of(middle, leaf, [0, start, 0, 0]), whole(middle, start)),
        "one after the other": (
            slice_of(leaf, middle, [0, middle, 0, 0, 0, start, 0, 0]),
            whole(leaf, middle, middle, start),
        ),
        "by the frame pointer": (
            slice_of(leaf, by_pointer, [9, 9, 0, start], START + 16),
            whole(leaf, by_pointer, start),
        ),
        "a frame pointer that was saved": (
            slice_of(middle, leaf, [START + 48, by_pointer, 7, 7, 9, 9, 0, start]),
            whole(middle, by_pointer, start),
        ),
        "nothing to return to": (slice_of(leaf, 0, []), whole(leaf)),
        "a register that is in use": (slice_of(leaf, leaf, [start]), None),
    }


def test_stacks_are_followed_to_their_beginning(program: Program) -> None:
    """By the register only in the function that runs: what it called has overwritten it for all others."""
    lockstep = Lockstep(program.files)
    slices, expected = zip(*cases(program).values(), strict=True)
    found = [stack and stack._replace(pointers=()) for stack in lockstep.unwind(slices)]
    assert dict(zip(cases(program), found, strict=True)) == dict(zip(cases(program), expected, strict=True))


def test_libdw_says_the_same(program: Program) -> None:
    with Unwinder(program.files, "aarch64") as unwinder:
        for name, ((registers, memory), expected) in cases(program).items():
            stack = unwinder.unwind(struct.unpack("<33Q", registers), memory)
            if expected is not None:
                assert (name, stack.addresses) == (name, expected.addresses)


def test_a_signal_is_followed_to_what_it_interrupted(program: Program) -> None:
    """Linux leaves x0 to x30, stack pointer and program counter 312 bytes into the frame."""
    code = range(0xFFFF_8943_7000, 0xFFFF_8943_8000)
    interrupted = [0] * 31
    interrupted[29], interrupted[30] = START + 0x400, program.start
    frame = [0] * 39 + [*interrupted, START + 0x300, program.leaf]
    # The first instruction of the function that was interrupted: the one before is another function's.
    frame[-1] -= 4
    memory = [0, code.start + 0x7BC, 0, 0, *frame]
    [stack] = Lockstep(program.files, [code]).unwind([slice_of(program.middle, 0, memory)])
    assert stack is not None
    assert stack.addresses == [program.middle, code.start + 0x7BC, program.leaf - 4, program.start]
    assert stack.pointers == [START, START + 32, START + 0x300, START + 0x300]
    [cut] = Lockstep(program.files, [code]).unwind([slice_of(program.middle, 0, memory[:-1])])
    assert cut is None or cut.end != "complete"


def test_signed_return_addresses_are_followed(program: Program) -> None:
    """A function that signs: the rule says so, and the signature is gone before anything is followed."""
    signatures = SignatureRemover([program.code], "aarch64")
    signed, middle, start = program.signed, program.middle, program.start
    memory = [SIGNATURE | middle, 0, 0, SIGNATURE | start, 0, 0]
    found = tuple(map(signatures.plain, slice_of(program.leaf, signed, memory)))
    [stack] = Lockstep(program.files).unwind([(found[0], found[1])])
    assert stack is not None
    assert stack.addresses == [program.leaf, signed, middle, start]
    assert stack.pointers == [START, START, START + 16, START + 48]
    assert stack.end == "complete"
