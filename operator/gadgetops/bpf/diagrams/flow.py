"""
Where the arguments of a program's calls come from: maps followed through registers, the stack, branches and
subprograms.

The linear pass of `graph`, whose rules are ig's, forgets none of what a register once held; this follows each
branch, so that a map chosen by one (`condition ? &a : &b`) is both, and what a call overwrites is gone.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from gadgetops.bpf.instruction import SLOT_BYTES, SOURCE_MAP, SOURCE_SUBPROGRAM, Instruction
from gadgetops.bpf.linker import Function
from gadgetops.bpf.object import Program

Values = frozenset[str]
State = dict[int, Values]
"""What each register (0 to 10) and each eight-byte slot of the stack (its negative offset) may hold: maps."""

NOTHING: Final[Values] = frozenset()
_FRAME_POINTER: Final = 10
_SCRATCH: Final = range(6)
_ARGUMENTS: Final = range(1, 6)
_MOVE_64: Final = 0xBF
_LOAD_64: Final = 0x79
_STORE_64: Final = 0x7B
_JUMP_CLASSES: Final = (0x05, 0x06)
_ALWAYS: Final = 0x05
_ALWAYS_LONG: Final = 0x06
_EXIT: Final = 0x95


class Call(NamedTuple):
    """A call of the helper *helper* (its number) in *function*, with what registers 1 to 5 may hold."""

    function: Function
    instruction: Instruction
    arguments: tuple[Values, ...]

    @property
    def helper(self) -> int:
        """The helper's number."""
        return self.instruction.immediate

    def argument(self, register: int) -> Values:
        """Return the maps that *register* may hold."""
        return self.arguments[register - 1]


def calls_of(program: Program, result: Callable[[int, Values], Values]) -> Iterator[Call]:
    """
    Yield the helper calls of *program* in the order of its functions and instructions.

    Args:
        program: Its functions are followed from the first one.
        result: What a helper returns, given its number and what its first argument may hold: the maps in a
            map of maps.
    """
    functions = {function.name: function for function in program.functions}
    flow = _Flow(functions, result)
    flow.run(program.functions[0])
    for function in functions.values():
        yield from flow.calls(function)


def positions(function: Function) -> dict[int, int]:
    """Return the index of each instruction of *function* by its position in the section, in bytes."""
    return {each.position_bytes: index for index, each in enumerate(function.instructions)}


def successors(function: Function, index: int, indexes: Mapping[int, int]) -> Iterator[int]:
    """
    Yield which instructions of *function* may run next after the one at *index*, none after its end.

    Args:
        function: Has them.
        index: Of the instruction.
        indexes: `positions` of *function*.
    """
    instruction = function.instructions[index]
    if instruction.opcode == _EXIT:
        return
    is_jump = instruction.opcode & 7 in _JUMP_CLASSES and not instruction.is_call
    if is_jump:
        distance = instruction.immediate if instruction.opcode == _ALWAYS_LONG else instruction.offset
        found = indexes.get(instruction.position_bytes + SLOT_BYTES * (distance + 1))
        if found is not None:
            yield found
    falls_through = not is_jump or instruction.opcode not in (_ALWAYS, _ALWAYS_LONG)
    if falls_through and index + 1 < len(function.instructions):
        yield index + 1


class _Flow:
    def __init__(self, functions: Mapping[str, Function], result: Callable[[int, Values], Values]) -> None:
        self._functions = functions
        self._result = result
        self._indexes = {name: positions(function) for name, function in functions.items()}
        self._before: dict[tuple[str, int], State] = {}
        self._waiting: deque[tuple[str, int]] = deque()

    def run(self, first: Function) -> None:
        """Follow all ways from *first*, and from what it passes on as a callback."""
        self._enter(first.name, 0, {})
        for function in self._functions.values():
            # Callbacks are called by the kernel, with nothing that is known here.
            self._enter(function.name, 0, {})
        while self._waiting:
            name, index = self._waiting.popleft()
            self._step(self._functions[name], index, dict(self._before[name, index]))

    def calls(self, function: Function) -> Iterator[Call]:
        """Yield the helper calls of *function* that were reached."""
        for index, instruction in enumerate(function.instructions):
            state = self._before.get((function.name, index))
            if state is not None and instruction.is_helper_call:
                yield Call(function, instruction, tuple(state.get(each, NOTHING) for each in _ARGUMENTS))

    def _enter(self, name: str, index: int, state: State) -> None:
        """Let *state* be possible before an instruction; look at it again if that is news."""
        known = self._before.get((name, index))
        if known is None:
            self._before[name, index] = state
            self._waiting.append((name, index))
            return
        grown = {key: known.get(key, NOTHING) | values for key, values in state.items()}
        if any(values != known.get(key, NOTHING) for key, values in grown.items()):
            self._before[name, index] = known | grown
            self._waiting.append((name, index))

    def _step(self, function: Function, index: int, state: State) -> None:
        instruction = function.instructions[index]
        if instruction.is_call:
            self._call(instruction, state)
        elif instruction.opcode & 7 not in _JUMP_CLASSES:
            _assign(instruction, state)
        for following in successors(function, index, self._indexes[function.name]):
            self._enter(function.name, following, state)

    def _call(self, instruction: Instruction, state: State) -> None:
        callee = instruction.reference
        if instruction.source == SOURCE_SUBPROGRAM and callee is not None and callee in self._functions:
            self._enter(callee, 0, {each: state.get(each, NOTHING) for each in _ARGUMENTS})
        returned = NOTHING
        if instruction.is_helper_call:
            returned = self._result(instruction.immediate, state.get(1, NOTHING))
        for register in _SCRATCH:
            state.pop(register, None)
        state[0] = returned


def _assign(instruction: Instruction, state: State) -> None:
    """Change *state* as *instruction*, which neither jumps nor calls, does."""
    opcode = instruction.opcode
    if opcode == _STORE_64 and instruction.destination == _FRAME_POINTER:
        state[instruction.offset] = state.get(instruction.source, NOTHING)
        return
    if opcode & 7 in (2, 3):
        return
    if instruction.is_wide:
        is_map = instruction.source == SOURCE_MAP and instruction.reference is not None
        values = frozenset({instruction.reference or ""}) if is_map else NOTHING
    elif opcode == _MOVE_64 and instruction.offset == 0:
        values = state.get(instruction.source, NOTHING)
    elif opcode == _LOAD_64 and instruction.source == _FRAME_POINTER:
        values = state.get(instruction.offset, NOTHING)
    else:
        values = NOTHING
    state[instruction.destination] = values


def union(values: Iterable[Values]) -> Values:
    """Return all of *values* together."""
    return frozenset().union(*values)
