"""Rules of functions are those that readelf finds, and damaged ones are none."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gadgetops.elf import MACHINE_AARCH64, MACHINE_X86_64, Elf, SegmentType
from gadgetops.stacks.unwinding.cfi import FrameRules, NoEntry
from gadgetops.stacks.unwinding.cfi_instructions import IN_REGISTER, NotSimple, Rule

FILES = [
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib64/ld-linux-x86-64.so.2",
    "/usr/bin/perl",
    "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
    "/usr/aarch64-linux-gnu/lib/libc.so.6",
    "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1",
]
REGISTERS = {
    MACHINE_X86_64: {"rbx": 3, "rbp": 6, "rsp": 7, "r12": 12, "r13": 13, "r14": 14, "r15": 15},
    MACHINE_AARCH64: {**{f"x{number}": number for number in range(19, 30)}, "ra": 30, "sp": 31},
}
RETURN_ADDRESS = {MACHINE_X86_64: 16, MACHINE_AARCH64: 30}
STACK_POINTERS = ("rsp", "sp")
N_STARTS = 3
"""Of the program, and of threads by clone() and clone3()."""
CIE = re.compile(r"([0-9a-f]{8}) \S+ \S+ CIE \"(\w*)\" .* ra=(\d+)")
FDE = re.compile(r"[0-9a-f]{8} \S+ \S+ FDE cie=([0-9a-f]{8}) ")
OFFSET = re.compile(r"(\w+)([+-]\d+)")


def rules_of(path: Path) -> FrameRules:
    """The rules of a file that is mapped where it says."""
    code = next(each for each in Elf.from_file(path).segments if each.is_executable)
    return FrameRules(path, code.address, code.offset_bytes)


def known_rules(path: Path) -> Iterator[tuple[int, Rule | None]]:
    """Addresses, and what readelf says; None for what is not simple."""
    # Without debug files, which may not be there.
    listing = subprocess.check_output(["readelf", "-wN", "-wF", path], text=True)
    others, columns, of = set(), [], None
    machine = Elf.from_file(path).machine
    for line in listing.splitlines():
        # Registers are named twice: `r9 (r9)`.
        words = [word for word in line.split() if not word.startswith("(")]
        if found := CIE.match(line):
            # Signal frames, and functions that are called with the return address in a register of their own.
            others |= {found[1]} if "S" in found[2] or int(found[3]) != RETURN_ADDRESS[machine] else set()
            of = None
        elif found := FDE.match(line):
            of = found[1]
        elif words[:2] == ["LOC", "CFA"]:
            columns = words[2:]
        elif of is not None and words and re.fullmatch("[0-9a-f]{16}", words[0]):
            places = dict(zip(columns, words[2:], strict=True))
            yield int(words[0], 16), None if of in others else parsed(words[1], places, machine)


def parsed(frame: str, places: dict[str, str], machine: int) -> Rule | None:
    """What one line says; `u` is what is not saved, or gone, as the return address where a program starts."""
    registers = REGISTERS[machine]
    found = OFFSET.fullmatch(frame)
    if machine == MACHINE_X86_64 and places["ra"] == "u":
        return Rule(7, 8, None, {})
    offsets = {name: OFFSET.fullmatch(place) for name, place in places.items() if place != "u"}
    is_simple = all(place and place[1] == "c" for place in offsets.values())
    if (
        found is None
        or found[1] not in registers
        or not is_simple
        or not offsets.keys().isdisjoint(STACK_POINTERS)
    ):
        return None
    saved = {registers[name]: int(place[2]) for name, place in offsets.items() if place and name in registers}
    returns = int(places["ra"].removeprefix("c")) if "ra" in offsets else IN_REGISTER
    return Rule(registers[found[1]], int(found[2]), returns, saved)


def found_rule(rules: FrameRules, address: int) -> Rule | None:
    """What we say."""
    try:
        return rules.at(address)
    except NotSimple:
        return None


def is_start(rule: Rule | None) -> bool:
    """Whether a program or thread starts there: readelf does not tell that from what arm64 does not save."""
    return rule is not None and rule.frame_register == 31 and rule.return_offset_bytes is None


@pytest.mark.parametrize("name", FILES)
def test_rules_are_those_that_readelf_finds(name: str) -> None:
    if not Path(name).exists():
        pytest.skip(f"no {name}")
    rules = rules_of(Path(name))
    # Of several lines for one address the last one counts.
    known = dict(known_rules(Path(name)))
    assert sum(rule is not None for rule in known.values()) > 0.9 * len(known) > 400
    found = {at: found_rule(rules, at) for at in known}
    wrong = {hex(at): rule for at, rule in known.items() if found[at] != rule and not is_start(found[at])}
    assert sum(map(is_start, found.values())) <= 2 * N_STARTS
    assert not wrong


def test_an_address_without_rules_has_none() -> None:
    rules = rules_of(Path(FILES[0]))
    for address in (0, rules.addresses.stop):
        with pytest.raises(NotSimple):
            rules.at(address)


def test_a_file_without_rules_is_not_read(tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copy(FILES[0], program)
    subprocess.run(["objcopy", "--remove-section=.eh_frame_hdr", program], check=True)
    with pytest.raises(NotSimple):
        rules_of(program)
    with pytest.raises(NotSimple):
        FrameRules(tmp_path / "gone", 0, 0)


@settings(deadline=None, max_examples=200)
@given(
    damage=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=8)), max_size=20),
    data=st.data(),
)
def test_damaged_rules_are_none_or_some(
    damage: list[tuple[int, bytes]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In no case is anything else raised."""
    original = Path("/lib64/ld-linux-x86-64.so.2").read_bytes()
    elf = Elf.from_bytes(original)
    content = bytearray(original)
    for name in (".eh_frame", ".eh_frame_hdr"):
        section = elf.section(name)
        assert section is not None
        start = original.index(bytes(section.data))
        for place, value in damage:
            at = start + place % len(section.data)
            content[at : at + len(value)] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[: len(original)])
    code = next(each for each in elf.segments if each.type == SegmentType.LOAD and each.is_executable)
    try:
        rules = FrameRules(path, code.address, code.offset_bytes)
    except NotSimple:
        return
    for address in data.draw(st.lists(st.sampled_from(rules.addresses), max_size=50)):
        found_rule(rules, address)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="assembles code of x86")
def test_code_without_rules_is_told_from_code_with_rules_that_are_not_simple(tmp_path: Path) -> None:
    """A function that nobody describes lies between two, and behind the last one."""
    described = ".cfi_startproc\nnop\nret\n.cfi_endproc\n.balign 16\n"
    odd = ".cfi_startproc\n.cfi_escape 0x0f, 2, 0x77, 8\nnop\nret\n.cfi_endproc\n.balign 16\n"
    bare = "nop\nret\n.balign 16\n"
    (tmp_path / "a.s").write_text(f".globl _start\n_start:\n{described}{bare}{odd}{bare}")
    command = ["gcc", "-nostdlib", "-static", "-Wl,--eh-frame-hdr", "-Wl,--build-id=none", "a.s", "-o", "a"]
    subprocess.run(command, check=True, cwd=tmp_path)
    rules = rules_of(tmp_path / "a")
    start = rules.addresses[0] & ~0xF
    assert rules.at(start)
    for offset in (16, 48):
        with pytest.raises(NoEntry):
            rules.at(start + offset)
    with pytest.raises(NotSimple) as raised:
        rules.at(start + 32)
    assert not isinstance(raised.value, NoEntry)
