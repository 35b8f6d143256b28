"""
Where in a function to put a probe: at the first instruction that the kernel carries out itself.

A probe is a trap. What stood in its place is then either emulated by the kernel or, where it cannot be,
executed aside and stepped over, a second trap that takes ten times as long. Compilers often begin a function
with an instruction of the second kind and go on with one of the first, all arguments still in place.

What is emulated are facts of arch/x86/kernel/uprobes.c and
arch/arm64/kernel/probes/; what only some kernels since 5.10 emulate (long no-ops) counts as not emulated.
"""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import dropwhile
from typing import Final

from capstone import (
    CS_ARCH_ARM64,
    CS_ARCH_X86,
    CS_GRP_CALL,
    CS_GRP_INT,
    CS_GRP_JUMP,
    CS_GRP_RET,
    CS_MODE_64,
    CS_MODE_ARM,
    Cs,
    CsInsn,
)

from gadgetops.recording.operations import OPERATIONS
from gadgetops.trace.probes.executable import Executable, Function

_LONGEST_WALK_BYTES: Final = 96
"""How far from a function's beginning a probe may lie."""
_ALL_ARGUMENTS: Final = 8
_SHORTEST_RELEASE_BYTES: Final = 64
_HINTS: Final = ("endbr64", "bti")
_ARGUMENTS: Final[Mapping[str, int]] = {
    each.name: each.n_arguments for each in OPERATIONS if each.n_arguments is not None
}
_PUSH_FRAME_POINTER: Final = b"\x55"
_X86_ARGUMENTS: Final = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_X86_PARTS: Final[Mapping[str, str]] = {
    part: whole
    for whole, parts in {
        "rdi": ("edi", "di", "dil"),
        "rsi": ("esi", "si", "sil"),
        "rdx": ("edx", "dx", "dl", "dh"),
        "rcx": ("ecx", "cx", "cl", "ch"),
        "r8": ("r8d", "r8w", "r8b"),
        "r9": ("r9d", "r9w", "r9b"),
        "rsp": ("esp", "sp", "spl"),
    }.items()
    for part in parts
}
_ARM64_LINK: Final = frozenset({"x30", "lr", "w30"})
_ARM64_EMULATED: Final = (
    (0x7C000000, 0x14000000),  # b, bl
    (0xFF000010, 0x54000000),  # b.cond
    (0x7E000000, 0x34000000),  # cbz, cbnz
    (0x7E000000, 0x36000000),  # tbz, tbnz
    (0x1F000000, 0x10000000),  # adr, adrp
    (0xBF000000, 0x18000000),  # ldr (literal)
    (0xFF000000, 0x98000000),  # ldrsw (literal)
    (0xFFDFFC1F, 0xD61F0000),  # br, ret
    (0xFFFFFC1F, 0xD63F0000),  # blr
)


@dataclass(frozen=True)
class Place:
    """
    Where a probe goes.

    Attributes:
        offset_bytes: From the function's first instruction.
        instruction: Which stands there, as a disassembler writes it.
        reason: Why there, for people.
    """

    offset_bytes: int
    instruction: str
    reason: str


@dataclass(frozen=True)
class Machine:
    """
    What has to be known of a processor.

    Attributes:
        disassembler: Gives instructions with the registers that they use.
        is_emulated: Whether the kernel emulates an instruction.
        spoils: Whether after an instruction one of so many arguments, or what a return probe needs, is gone.
    """

    disassembler: Cs
    is_emulated: Callable[[CsInsn], bool]
    spoils: Callable[[CsInsn, int], bool]


def choose(
    code: bytes, address: int, machine: Machine, function: str, entries: Collection[int] = ()
) -> Place:
    """
    Return where a probe of *function* sees every call, with its arguments, at the least cost.

    Every way through the function leads over the place, exactly once, before anything that others could
    notice; for `free` every way but that of NULL, which is no release. The stack pointer is that of the first
    instruction, so that a return probe finds the return address.

    Args:
        code: The function's, from its first instruction on.
        address: Of the first instruction.
        machine: Of the code.
        function: The C function whose arguments it has; another name is taken to have them all.
        entries: Addresses to which other code, or the function itself, may jump.
    """
    walk = _Walk(machine, function, entries)
    found, stopped_by = walk.run(code[:_LONGEST_WALK_BYTES], address)
    if found is None:
        return Place(0, walk.first, f"the symbol: nothing that the kernel emulates before {stopped_by}")
    return Place(found.address - address, _text(found), walk.reason(found, address))


class _Walk:
    """From a function's first instruction to the last one at which everything is still in place."""

    def __init__(self, machine: Machine, function: str, entries: Collection[int]) -> None:
        self._machine = machine
        self._entries = entries
        self._n_arguments = _ARGUMENTS.get(function, _ALL_ARGUMENTS)
        self._may_skip_null = function == "free"
        self._skipped_null = False
        self.first = ""

    def run(self, code: bytes, address: int) -> tuple[CsInsn | None, str]:
        """Return the instruction to probe, if there is one, and else what ended the search."""
        found: CsInsn | None = None
        previous: CsInsn | None = None
        for instruction in self._machine.disassembler.disasm(code, address):
            self.first = self.first or _text(instruction)
            if previous is not None and instruction.address in self._entries:
                return found, f"{_text(instruction)}, which is jumped to"
            if self._machine.is_emulated(instruction):
                found = self._better(found, instruction)
            if self._ends(instruction, previous):
                return found, _text(instruction)
            previous = instruction
        return found, "the end of the search"

    def reason(self, found: CsInsn, address: int) -> str:
        """Return why it is *found*."""
        if found.address == address:
            return "the symbol: the kernel emulates it"
        if self._skipped_null and found.bytes == _PUSH_FRAME_POINTER:
            return "the kernel emulates it, and free(NULL) does not come here"
        return "the first instruction that the kernel emulates"

    def _better(self, found: CsInsn | None, instruction: CsInsn) -> CsInsn:
        # At `push rbp` kernels since 6.11 know that the caller is on top of the stack, and not below rbp.
        is_better = found is None or instruction.bytes == _PUSH_FRAME_POINTER
        return instruction if is_better else found

    def _ends(self, instruction: CsInsn, previous: CsInsn | None) -> bool:
        if self._may_skip_null and previous is not None and _is_jump_if_null(previous, instruction):
            self._skipped_null = True
            return False
        return _leaves(instruction) or self._machine.spoils(instruction, self._n_arguments)


def _is_jump_if_null(previous: CsInsn, instruction: CsInsn) -> bool:
    return instruction.mnemonic == "je" and _text(previous) == "test rdi, rdi"


def _leaves(instruction: CsInsn) -> bool:
    """Return whether *instruction* may go elsewhere, or do something that others notice."""
    return any(map(instruction.group, (CS_GRP_JUMP, CS_GRP_CALL, CS_GRP_RET, CS_GRP_INT)))


def _text(instruction: CsInsn) -> str:
    return f"{instruction.mnemonic} {instruction.op_str}".strip()


def _is_emulated_on_x86(instruction: CsInsn) -> bool:
    code = bytes(instruction.bytes)
    opcode = code.removeprefix(b"\xf2")[:2]  # bnd
    first, second = opcode[0], opcode[-1]
    is_push = 0x50 <= code[0] <= 0x57 or (code[0] == 0x41 and 0x50 <= code[1] <= 0x57)
    is_branch = (
        first in (0xE8, 0xE9, 0xEB) or 0x70 <= first <= 0x7F or (first == 0x0F and 0x80 <= second <= 0x8F)
    )
    return is_push or is_branch or code == b"\x90"


def _spoils_on_x86(instruction: CsInsn, n_arguments: int) -> bool:
    kept = {*_X86_ARGUMENTS[:n_arguments], "rsp"}
    names = map(instruction.reg_name, instruction.regs_access()[1])
    return any(_X86_PARTS.get(name, name) in kept for name in names)


def _is_emulated_on_arm64(instruction: CsInsn) -> bool:
    word = int.from_bytes(instruction.bytes, "little")
    return any(word & mask == value for mask, value in _ARM64_EMULATED)


def _spoils_on_arm64(instruction: CsInsn, n_arguments: int) -> bool:
    """
    Return whether an argument, the stack pointer or the link register is used up.

    A return probe replaces the link register: it must be neither saved nor signed before (`paciasp`).
    """
    read, written = (set(map(instruction.reg_name, registers)) for registers in instruction.regs_access())
    kept = {f"{kind}{number}" for number in range(n_arguments) for kind in "xw"} | {"sp", "wsp"}
    is_signature = instruction.mnemonic.startswith("pac")
    return bool(written & kept or (read | written) & _ARM64_LINK) or is_signature


def _with_details(architecture: int, mode: int) -> Cs:
    disassembler = Cs(architecture, mode)
    disassembler.detail = True
    return disassembler


MACHINES: Final[Mapping[str, Machine]] = {
    "EM_X86_64": Machine(_with_details(CS_ARCH_X86, CS_MODE_64), _is_emulated_on_x86, _spoils_on_x86),
    "EM_AARCH64": Machine(_with_details(CS_ARCH_ARM64, CS_MODE_ARM), _is_emulated_on_arm64, _spoils_on_arm64),
}
"""By ELF's names."""


def jumps(code: bytes, address: int, machine: Machine) -> Iterator[tuple[str, int]]:
    """Yield mnemonic and destination of each direct jump and call in *code*."""
    for _, _, mnemonic, operands in machine.disassembler.disasm_lite(code, address):
        last = operands.rpartition(" ")[2].lstrip("#")
        if mnemonic[0] in "jbct" and last.startswith("0x") and "[" not in operands:
            yield mnemonic, int(last, 16)


Wanted = tuple[tuple[Function, str], ...]
"""Functions of a file, each with the C function that it does the same as, and has the arguments of."""


@functools.lru_cache(1024)
def places_in(executable: Executable, wanted: Wanted, *, at_symbol: bool = False) -> Mapping[Function, Place]:
    """
    Return where to probe each of the functions *wanted* of *executable*.

    Args:
        executable: The file. Its code is looked through once for all of them.
        wanted: The functions.
        at_symbol: Take the first instruction, whatever it costs.
    """
    known = {function: _place(executable, function, name, at_symbol=at_symbol) for function, name in wanted}
    # Only what lies between the first instruction and the one to probe matters.
    passed = {f: range(f.address + 1, f.address + place.offset_bytes + 1) for f, place in known.items()}
    entries = executable.entries({address for each in passed.values() for address in each})
    for function, name in wanted:
        if not entries.isdisjoint(passed[function]):
            known[function] = _place(executable, function, name, entries)
    return known


def _place(
    executable: Executable,
    function: Function,
    name: str,
    entries: Collection[int] = (),
    *,
    at_symbol: bool = False,
) -> Place:
    """Return where to probe *function*, if one may come to *entries* and wherever it jumps to itself."""
    machine = MACHINES.get(executable.machine)
    code = executable.code(function)
    if at_symbol or machine is None or not code:
        return _first(code, function.address, machine, as_asked=at_symbol)
    within = {target for _, target in jumps(code, function.address, machine)}
    return choose(code, function.address, machine, name, within.union(entries))


def is_forwarder(executable: Executable, function: Function, known: Collection[int]) -> bool:
    """
    Return whether *function* does nothing but call one of the functions at the addresses *known*.

    Where a call leads that goes through a table for other files is not looked up: a short function with one
    is taken for a forwarder.
    """
    machine = MACHINES.get(executable.machine)
    if machine is None:
        return True
    code = executable.code(function)
    mnemonics = (
        mnemonic for _, _, mnemonic, _ in machine.disassembler.disasm_lite(code[:16], function.address)
    )
    first = next(dropwhile(lambda mnemonic: mnemonic in _HINTS, mnemonics), "")
    targets = {target for _, target in jumps(code, function.address, machine)}
    is_short = len(code) < _SHORTEST_RELEASE_BYTES
    return (
        first.removeprefix("bnd ") in ("jmp", "b", "br")
        or not targets.isdisjoint(known)
        or (is_short and any(map(executable.is_in_linkage, targets)))
    )


def _first(code: bytes, address: int, machine: Machine | None, *, as_asked: bool) -> Place:
    first = next(machine.disassembler.disasm(code[:16], address), None) if machine else None
    why = "as asked for" if as_asked else "the file does not say how long the function is"
    why = why if machine or as_asked else "there are no rules for this processor"
    return Place(0, _text(first) if first else "", f"the symbol: {why}")
