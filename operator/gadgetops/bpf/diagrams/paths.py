"""
How often a run of a program comes past some of its instructions: in every run, and more than once?

Every branch counts as one that may be taken, so "every run" and "at most once" hold whatever happens.
"""

from collections.abc import Callable, Iterable, Set
from functools import partial
from typing import Final

from gadgetops.bpf import helpers
from gadgetops.bpf.diagrams.flow import positions, successors
from gadgetops.bpf.instruction import SOURCE_SUBPROGRAM, Instruction
from gadgetops.bpf.linker import Function
from gadgetops.bpf.object import Program

Site = tuple[str, int]
"""An instruction: the name of its function, and its position in the section in bytes."""

_TAIL_CALL: Final = helpers.NAMES.index("tail_call")
_MANY: Final = 2
_Blocks = Callable[[str, Instruction], bool]


class Paths:
    """The ways through *program* and the functions that it calls."""

    def __init__(self, program: Program) -> None:
        self._functions = {function.name: function for function in program.functions}
        self._first = program.functions[0].name
        self._next = {name: _next(function) for name, function in self._functions.items()}

    def always_passes(self, sites: Set[Site], *, before: Set[Site] | None = None) -> bool:
        """
        Return whether every run passes one of *sites*.

        Args:
            sites: Instructions, callbacks apart: those may run never.
            before: Ask only of runs that come to one of these, and up to there; None for runs to their end.
        """
        return bool(sites) and not self._avoids(self._first, sites, before, frozenset())

    def passes_once(self, sites: Set[Site]) -> bool:
        """Return whether no run passes more than one of *sites*, or one of them twice."""
        return self._most(self._first, sites, frozenset()) < _MANY

    def _avoids(self, name: str, sites: Set[Site], before: Set[Site] | None, above: frozenset[str]) -> bool:
        """Return whether there is a way through the function *name*, or to a goal in it, around *sites*."""
        if name in above or name not in self._functions:
            return True
        inside = above | {name}
        blocks = partial(self._blocks, sites=sites, inside=inside)
        instructions = self._functions[name].instructions
        for index in self._reached(name, [0], blocks):
            instruction = instructions[index]
            if before is not None:
                if self._holds(name, instruction, before, inside):
                    return True
            elif not self._next[name][index] or self._may_end(instruction, inside):
                return True
        return False

    def _blocks(self, name: str, instruction: Instruction, sites: Set[Site], inside: frozenset[str]) -> bool:
        callee = _callee(instruction)
        if callee is None:
            return (name, instruction.position_bytes) in sites
        return not self._may_end(instruction, inside) and not self._avoids(callee, sites, None, inside)

    def _holds(self, name: str, instruction: Instruction, goals: Set[Site], inside: frozenset[str]) -> bool:
        """Return whether *instruction* is a goal, or refers to a function that has one."""
        if (name, instruction.position_bytes) in goals:
            return True
        function = self._functions.get(instruction.reference or "")
        if not instruction.is_function_reference or function is None or function.name in inside:
            return False
        below = inside | {function.name}
        return any(self._holds(function.name, each, goals, below) for each in function.instructions)

    def _may_end(self, instruction: Instruction, inside: frozenset[str]) -> bool:
        """Return whether the whole program may end here: a tail call does not come back."""
        if instruction.is_helper_call:
            return instruction.immediate == _TAIL_CALL
        callee = _callee(instruction)
        if callee is None or callee in inside or callee not in self._functions:
            return False
        return any(self._may_end(each, inside | {callee}) for each in self._functions[callee].instructions)

    def _most(self, name: str, sites: Set[Site], above: frozenset[str]) -> int:
        """Return how many of *sites* a run of the function *name* passes at most: 0, 1 or many."""
        if name in above:
            return _MANY
        inside = above | {name}
        instructions = self._functions[name].instructions
        weights = {
            index: weight
            for index in self._reached(name, [0])
            if (weight := self._weight(name, instructions[index], sites, inside))
        }
        if any(weight >= _MANY for weight in weights.values()):
            return _MANY
        for index in weights:
            if not weights.keys().isdisjoint(self._reached(name, self._next[name][index])):
                return _MANY
        return int(bool(weights))

    def _weight(self, name: str, instruction: Instruction, sites: Set[Site], inside: frozenset[str]) -> int:
        if (name, instruction.position_bytes) in sites:
            return 1
        referred = instruction.reference
        if not instruction.is_function_reference or referred not in self._functions or referred is None:
            return 0
        most = self._most(referred, sites, inside)
        # A callback may run any number of times.
        return _MANY if most and not instruction.is_call else most

    def _reached(self, name: str, start: Iterable[int], blocks: _Blocks | None = None) -> Set[int]:
        """Return the indexes that are reached from *start* on, without going through what *blocks*."""
        instructions = self._functions[name].instructions
        found: set[int] = set()
        waiting = list(start)
        while waiting:
            index = waiting.pop()
            if index in found or (blocks is not None and blocks(name, instructions[index])):
                continue
            found.add(index)
            waiting += self._next[name][index]
        return found


def _next(function: Function) -> list[list[int]]:
    indexes = positions(function)
    return [list(successors(function, index, indexes)) for index in range(len(function.instructions))]


def _callee(instruction: Instruction) -> str | None:
    is_subprogram = instruction.is_call and instruction.source == SOURCE_SUBPROGRAM
    return instruction.reference if is_subprogram else None
