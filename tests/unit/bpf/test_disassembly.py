"""
Instructions as text, in cilium/ebpf's words; whole programs are compared with what ig shows in test_expected.
"""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest

from gadgetops.bpf.btf import Composite, Kind, Void
from gadgetops.bpf.btf_ext import CoreRelocation, Extension
from gadgetops.bpf.disassembly import Disassembly, format_instruction
from gadgetops.bpf.instruction import Instruction
from gadgetops.bpf.object import Object
from gadgetops.bpf.reading import Reading


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ((0x8D, 0, 0, 0, 1), "Call FnMapLookupElem"),
        ((0x85, 0, 0, 0, 211), "Call FnCgrpStorageDelete"),
        ((0x85, 0, 0, 0, 212), "Call BuiltinFunc(212)"),
        ((0x85, 0, 0, 0, -1), "Call BuiltinFunc(4294967295)"),
        ((0x85, 0, 1, 0, -1), "Call -1"),
        ((0x85, 0, 2, 0, 7), "Call Kfunc(7)"),
        ((0x86, 0, 0, 0, 1), "InvalidJumpOp32Imm dst: r0 off: 0 imm: 1"),
        ((0x96, 0, 0, 0, 1), "InvalidJumpOp32Imm dst: r0 off: 0 imm: 1"),
        ((0xE5, 1, 0, 2, 3), "JCond may_goto off: 2"),
        ((0xE6, 1, 0, 2, 3), "JCond may_goto off: 2"),
        ((0xE5, 1, 1, 2, 3), "JCONDImm"),
        ((0xEE, 1, 1, 2, 3), "JCOND32Reg"),
        ((0x85, 0, 1, 9, -1), "Call 9"),
        ((0xFD, 1, 2, 3, 0), "JumpOp(240)Reg dst: r1 off: 3 src: r2"),
        ((0xE7, 1, 0, 0, 3), "ALUOp(224)Imm dst: r1 imm: 3"),
        ((0xFC, 1, 2, 0, 3), "ALUOp(240)Reg32 dst: r1 src: r2"),
        ((0xDF, 1, 0, 0, 16), "BSwap dst: r1 "),
        ((0xD7, 1, 0, 0, 16), "BSwap16 dst: r1 "),
        ((0xDC, 10, 0, 0, 16), "SwapBE dst: rfp "),
        ((0x37, 1, 0, 1, 3), "SDivImm dst: r1 imm: 3"),
        ((0x37, 1, 0, 2, 3), "DivImm dst: r1 imm: 3"),
        ((0xBF, 1, 2, 24, 0), "MovReg dst: r1 src: r2"),
        ((0xA1, 1, 2, 3, 4), "LdXMode(160)W "),
        ((0xE3, 1, 2, 3, 4), "StXMode(224)W "),
        ((0xC1, 1, 2, 3, 4), "LdXAtomicW dst: r1 src: r2 off: 3"),
        ((0xDB, 1, 2, 3, 0x77), "StXAtomicAtomicOp(0x7700)DW dst: r1 src: r2 off: 3"),
        ((0xDB, 1, 2, 3, 0x110), "StXAtomicStRelDW dst: r1 src: r2 off: 3"),
        ((0x00, 1, 2, 3, 4), "LdImmW dst: r1 imm: 4"),
        ((0x9D, 0, 0, 0, 0), "Exit"),
    ],
)
def test_odd_instructions_have_the_loaders_names(fields: tuple[int, int, int, int, int], text: str) -> None:
    """Those that a compiler does not write."""
    assert text == format_instruction(Instruction(*fields, 0))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ((0xE5, 1, 0, 2, 3), "JumpOp(224)Imm dst: r1 off: 2 imm: 3"),
        ((0xEE, 1, 2, 3, 4), "JumpOp(224)32Reg dst: r1 off: 3 src: r2"),
        ((0x85, 0, 1, 9, -1), "Call -1"),
    ],
)
def test_older_loaders_lack_some_names(fields: tuple[int, int, int, int, int], text: str) -> None:
    """Until 0.53, `may_goto` was a jump without a name."""
    assert text == format_instruction(Instruction(*fields, 0), Reading.IG_0_51)


def test_map_loads_show_descriptor_and_offset() -> None:
    """Which are nothing before the object is loaded, but for the offset."""
    assert format_instruction(Instruction(0x18, 1, 1, 0, -1, 0, "m")) == "LoadMapPtr dst: r1 fd: -1 <m>"
    wide = Instruction(0x18, 1, 2, 0, 0xFFFFFFFF << 32, 0, ".bss")
    assert format_instruction(wide) == "LoadMapValue dst: r1, fd: 0 off: 4294967295 <.bss>"


def test_an_exit_refers_to_nothing() -> None:
    """Whatever a relocation says."""
    assert format_instruction(Instruction(0x95, 0, 0, 0, 0, 0, "m")) == "Exit"


@pytest.mark.parametrize(("count", "width"), [(1, 1), (5, 1), (6, 2), (50, 2), (51, 3), (500, 3), (501, 4)])
def test_numbers_have_room_for_twice_as_many_slots(elf: ModuleType, count: int, width: int) -> None:
    """As if all instructions were wide."""
    body = elf.code(*[(0x95, 0, 0, 0, 0)] * count)
    data = elf.make([elf.FakeSection("kprobe/one", body, flags=elf.EXECUTABLE)], [elf.FakeSymbol("one", 1)])
    obj = Object.from_bytes(data)
    lines = Disassembly(obj).source(obj.programs[0]).splitlines()
    assert lines[:2] == ["one:", f"\t{0:{width}d}: Exit"]


def test_source_lines_lose_their_indentation_or_keep_it(read_object: Callable[[str], Object]) -> None:
    """Without in the numbered text, where empty ones are left out; with in the other."""
    obj = read_object("no_maps")
    disassembly = Disassembly(obj)
    assert (
        disassembly.source(obj.programs[0])
        == "alone:\n\t ; return 0;\n\t0: MovImm dst: r0 imm: 0\n\t1: Exit\n"
    )
    assert (
        disassembly.source_with_relocations(obj.programs[0]) == "; \treturn 0;\nMovImm dst: r0 imm: 0\nExit\n"
    )


def test_relocations_name_kind_type_and_access(read_object: Callable[[str], Object]) -> None:
    """Unknown kinds are shown by number."""
    obj = read_object("core")
    text = "".join(Disassembly(obj).source_with_relocations(program) for program in obj.programs)
    assert '; CORERelocation(byte_off, Struct:"kernel___flavour"[0:1:1:2], local_id=' in text
    assert '; CORERelocation(enumval_value, Enum:"kernel_enum"[0], local_id=' in text
    assert '; CORERelocation(type_size, Typedef:"kernel_typedef"[0], local_id=' in text


def test_relocations_of_odd_types_and_kinds_are_shown(read_object: Callable[[str], Object]) -> None:
    """By number, and without a name where there is none."""
    obj = read_object("no_maps")
    (program,) = obj.programs
    union = Composite("", 0, (), Kind.UNION)
    for local, kind, text in ((union, 99, "unknown (99), Union[0:0]"), (Void(), 0, "byte_off, Void[0:0]")):
        extension = Extension({}, {program.section: (CoreRelocation(0, 3, local, "0:0", kind),)})
        shown = Disassembly(replace(obj, extension=extension)).source_with_relocations(program)
        assert f"; CORERelocation({text}, local_id=3)\n" in shown
