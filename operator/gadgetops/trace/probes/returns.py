"""
How to see a function return: by a return probe, or at its return instructions.

A return probe replaces the return address on the stack by the kernel's own until the function returns.
Whoever walks the stack meanwhile does not get past it: an exception that is thrown through the function ends
the program, and a sanitizer's report loses all callers. Where that may happen, the gadget's program goes to
each instruction at which the function returns, and the stack stays as it is. On x86 such an instruction is
stepped over, which takes ten times as long as a return probe: it is the way only where it is needed.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from capstone import CS_GRP_CALL, CS_GRP_JUMP, CsInsn
from capstone.arm64 import ARM64_OP_IMM
from capstone.x86 import X86_OP_IMM, X86_OP_MEM, X86_REG_RIP

from gadgetops.trace.probes.executable import Executable, Function
from gadgetops.trace.probes.prologue import MACHINES

_STACK_WALKERS: Final = (
    "_Unwind_Backtrace",
    "_Unwind_ForcedUnwind",
    "backtrace",
    "unw_backtrace",
    *(f"_U{local}{machine}_step" for local in ("", "L") for machine in ("x86_64", "aarch64")),
)
"""Functions of libgcc, the C library and libunwind that follow return addresses."""
_C_LIBRARY: Final = ("__libc_malloc", "__libc_malloc_impl")
"""Beside `malloc` in glibc and musl, whose allocators walk no stack; also in a static executable."""
_JEMALLOC: Final = ("mallctl", "je_mallctl", "_rjem_mallctl")
_MAY_THROW: Final = re.compile(
    r"_Zn[wa]m(?!.*nothrow)"  # operator new and new[]
    r"|(mi_|tc_)new(?!.*nothrow)"
    r"|mi_heap_(alloc_)?new"
)
"""Functions that call std::new_handler, which may throw whatever it likes, or throw std::bad_alloc."""
_MOST_PIECES: Final = 64
_MOST_RETURNS: Final = 512
_TABLE_JUMP_INSTRUCTIONS: Final = 12
"""So many instructions before a jump by a table the table is read."""
_NEVER_RETURN: Final = frozenset(
    {"abort", "exit", "_exit", "__stack_chk_fail", "__cxa_throw", "__cxa_rethrow", "_Unwind_Resume"}
    | {"_ZSt17__throw_bad_allocv", "_ZSt9terminatev", "__assert_fail"}
)
_STUB_BYTES: Final = 24
_SLOT_INSTRUCTIONS: Final = 6
"""So many instructions before a jump of arm64 the address is loaded."""
_SCALED: Final = re.compile(r"\[.*\w\*[48].*\]|\[\w+, \w+(, (uxt[bhw]|sxt[bhw]|lsl)( #\d)?)?\]")
"""How disassemblers write that an index is scaled by 4 or 8: of x86, and of arm64."""


@dataclass(frozen=True)
class Witnesses:
    """
    Who else looks at the stacks of a program.

    Attributes:
        profiler: Whether jemalloc's own profiler is on; else it walks no stack.
        debugger: Whether the program is traced by another one, or is one that traces others (ptrace(2)): it
            sees a stack that a return probe changed, and the system call by which such a probe ends.
    """

    profiler: bool = False
    debugger: bool = False


NO_WITNESSES: Final = Witnesses()


def why_no_return_probe(executable: Executable, function: Function, witnesses: Witnesses) -> str | None:
    """Return why a return probe on *function* could change what a program does; None if it could not."""
    harm = _why_it_breaks_a_program(executable, function, witnesses)
    if harm is None and witnesses.debugger and return_addresses(executable, function) is not None:
        return "a debugger may look at it"
    return harm


def _why_it_breaks_a_program(executable: Executable, function: Function, witnesses: Witnesses) -> str | None:
    if _walks_stacks(executable) and (witnesses.profiler or not executable.defines(_JEMALLOC)):
        return "its file walks the stack"
    if _MAY_THROW.match(function.name):
        return "it may throw"
    return None


@functools.lru_cache(64)
def _walks_stacks(executable: Executable) -> bool:
    """Return whether functions of *executable* may follow return addresses while they allocate."""
    if executable.is_dynamic:
        return executable.imports(_STACK_WALKERS)
    return executable.defines(_STACK_WALKERS) and not executable.defines(_C_LIBRARY)


def is_return_seen(executable: Executable, function: Function, witnesses: Witnesses) -> bool:
    """Return whether there is a way to see *function* return that cannot break a program."""
    return (
        _why_it_breaks_a_program(executable, function, witnesses) is None
        or return_addresses(executable, function) is not None
    )


@functools.lru_cache(1024)
def return_addresses(executable: Executable, function: Function) -> tuple[int, ...] | None:
    """
    Return the address of each instruction at which a call of *function* may return, in order.

    Jumps to other functions are followed to where these return. What such a function returns from when others
    call it is found as well: by its stack pointer a return can be told from those.

    Returns:
        None if not all of them can be found: a jump leads to an address that is only known at run time, say.
    """
    search = _Search(executable)
    try:
        search.follow(function)
    except _UnknownReturn:
        return None
    return tuple(sorted(search.found)) or None


class _UnknownReturn(Exception):
    """A call may return where nobody can tell."""


@dataclass(frozen=True)
class _Jump:
    """A jump: to `target`, or to the function whose address lies in `slot`, or neither is known."""

    target: int | None = None
    slot: int | None = None


@dataclass(frozen=True)
class _WayOut:
    """
    An instruction that leaves a piece of code.

    Attributes:
        address: Of the instruction.
        jump: Where it leads; None: it returns.
        hands_result_on: Whether its function's result is also the first argument of what it jumps to.
    """

    address: int
    jump: _Jump | None
    hands_result_on: bool = False


class _Search:
    """From one piece of code to the next, until no jump leads to another one."""

    def __init__(self, executable: Executable) -> None:
        self.found: set[int] = set()
        self._executable = executable
        self._seen: list[range] = []
        self._pending: list[range] = []

    def follow(self, function: Function) -> None:
        """Find all that a call of *function* may return from."""
        self._pending.append(self._extent(function))
        while self._pending:
            piece = self._pending.pop()
            self._seen.append(piece)
            self._read(piece)
            if len(self._seen) > _MOST_PIECES or len(self.found) > _MOST_RETURNS:
                raise _UnknownReturn

    def _extent(self, function: Function) -> range:
        if function.size_bytes:
            return range(function.address, function.address + function.size_bytes)
        return self._piece(function.address)

    def _piece(self, address: int) -> range:
        piece = self._executable.code_map.piece(address)
        if piece is None:
            raise _UnknownReturn
        return piece

    def _read(self, piece: range) -> None:
        for way in _ways_out(self._executable, piece):
            if way.jump is None:
                self.found.add(way.address)
            elif way.jump.target is None or way.jump.target not in piece:
                self._follow_jump(way, way.jump)

    def _follow_jump(self, way: _WayOut, jump: _Jump) -> None:
        slot = jump.slot
        if jump.target is not None and self._executable.is_in_linkage(jump.target):
            slot = _slot_of_stub(self._executable, jump.target)
        if slot is not None and way.hands_result_on and self._executable.code_map.is_chosen_slot(slot):
            # A string function of the C library, as calloc() ends in memset(): it returns its first argument.
            self.found.add(way.address)
        elif slot is not None or jump.target is None:
            self._follow_name(slot)
        elif not any(jump.target in piece for piece in (*self._seen, *self._pending)):
            self._pending.append(self._piece(jump.target))

    def _follow_name(self, slot: int | None) -> None:
        name = None if slot is None else self._executable.code_map.name_in_slot(slot)
        if name is None:
            raise _UnknownReturn
        own = self._executable.functions(name, exported_only=True)
        if own:
            self._pending.extend(extent for f in own if (extent := self._extent(f)) not in self._seen)
        elif name not in _NEVER_RETURN:
            raise _UnknownReturn


def _ways_out(executable: Executable, piece: range) -> Iterator[_WayOut]:
    """
    Yield each return and jump in *piece*.

    The jump of a `switch`, by a table, is left out: it stays in its function.
    """
    processor = _PROCESSORS.get(executable.machine)
    if processor is None:
        raise _UnknownReturn
    before: list[CsInsn] = []
    end = piece.start
    for instruction in MACHINES[executable.machine].disassembler.disasm(
        executable.code_at(piece), piece.start
    ):
        end = instruction.address + instruction.size
        if instruction.mnemonic in processor.returns:
            yield _WayOut(instruction.address, None)
        elif instruction.group(CS_GRP_JUMP) and not instruction.group(CS_GRP_CALL):
            jump = processor.jump(instruction, before)
            if jump != _Jump() or not any(map(_reads_table, (*before, instruction))):
                yield _WayOut(instruction.address, jump, processor.hands_result_on(before))
        before = [*before[1 - _TABLE_JUMP_INSTRUCTIONS :], instruction]
    if end != piece.stop:
        # Something that is no code.
        raise _UnknownReturn


def _jump_on_x86(instruction: CsInsn, _before: Sequence[CsInsn] = ()) -> _Jump:
    (operand,) = instruction.operands
    if operand.type == X86_OP_IMM:
        return _Jump(target=operand.imm)
    if operand.type == X86_OP_MEM and operand.mem.base == X86_REG_RIP and operand.mem.index == 0:
        return _Jump(slot=instruction.address + instruction.size + operand.mem.disp)
    return _Jump()


def _jump_on_arm64(instruction: CsInsn, before: Sequence[CsInsn]) -> _Jump:
    last = instruction.operands[-1]
    if last.type == ARM64_OP_IMM:
        return _Jump(target=last.imm)
    return _Jump(slot=_slot_on_arm64([*before[-_SLOT_INSTRUCTIONS:], instruction]))


def _hands_result_on_x86(before: Sequence[CsInsn]) -> bool:
    """Return whether `rdi` was set to `rax` just now and both are as they were."""
    for each in reversed(before):
        if (each.mnemonic, each.op_str) == ("mov", "rdi, rax"):
            return True
        names = map(each.reg_name, each.regs_access()[1])
        if each.group(CS_GRP_JUMP) or each.group(CS_GRP_CALL) or {"rax", "eax", "rdi"} & {*names}:
            return False
    return False


def _reads_table(instruction: CsInsn) -> bool:
    """Return whether *instruction* reads memory by a scaled index, as from the table of a `switch`."""
    return bool(_SCALED.search(instruction.op_str))


def _slot_on_x86(code: Sequence[CsInsn]) -> int | None:
    return next((_jump_on_x86(each).slot for each in code if each.group(CS_GRP_JUMP)), None)


def _slot_on_arm64(code: Sequence[CsInsn]) -> int | None:
    """Follow `adrp`, `ldr` and `br` through their registers."""
    pages: dict[int, int] = {}
    slots: dict[int, int] = {}
    for each in code:
        if each.mnemonic == "adrp":
            pages[each.operands[0].reg] = each.operands[1].imm
        elif each.mnemonic == "ldr" and each.operands[-1].mem.base in pages:
            slots[each.operands[0].reg] = pages[each.operands[-1].mem.base] + each.operands[-1].mem.disp
        elif each.mnemonic == "br":
            return slots.get(each.operands[0].reg)
    return None


@dataclass(frozen=True)
class _Processor:
    """
    How functions return and jump.

    Attributes:
        returns: Mnemonics of return instructions.
        jump: Where a jump leads, with the instructions before it.
        hands_result_on: Whether the first argument of what is jumped to is the result, by the instructions
            before the jump.
        slot_of: From which slot code that ends in a jump, as a stub of the linkage table, takes the address.
    """

    returns: frozenset[str]
    jump: Callable[[CsInsn, Sequence[CsInsn]], _Jump]
    hands_result_on: Callable[[Sequence[CsInsn]], bool]
    slot_of: Callable[[Sequence[CsInsn]], int | None]


_PROCESSORS: Final[Mapping[str, _Processor]] = {
    "EM_X86_64": _Processor(
        frozenset({"ret", "repz ret", "rep ret", "bnd ret"}), _jump_on_x86, _hands_result_on_x86, _slot_on_x86
    ),
    # There both are the same register.
    "EM_AARCH64": _Processor(
        frozenset({"ret", "retaa", "retab"}), _jump_on_arm64, lambda _before: True, _slot_on_arm64
    ),
}
"""By ELF's names."""


def _slot_of_stub(executable: Executable, address: int) -> int | None:
    """Return from which slot the stub at *address* of the linkage table takes the function's address."""
    code = executable.code_at(range(address, address + _STUB_BYTES))
    stub = MACHINES[executable.machine].disassembler.disasm(code, address)
    return _PROCESSORS[executable.machine].slot_of([*stub])
