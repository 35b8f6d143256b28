"""
Which program does what with which map.

The rule is that of `ig image inspect` (v0.48.0, `ebpf2graph.go`): one pass over a program's instructions in
the order in which they stand, remembering what each register was last given by a load that names something.
Calls of map helpers are edges to what register 1 (2 for perf output) was last given. Branches and register
moves are not followed, and what a helper finds in a register it did not get by a load may be stale: the edges
are ig's, not always the truth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from gadgetops.bpf.instruction import Instruction
from gadgetops.bpf.maps import kernel_name
from gadgetops.bpf.object import Object, Program


class Edge(NamedTuple):
    """*program* calls a helper named after *verb* (`"Lookup"`) on *map*."""

    program: str
    verb: str
    map: str


_VERBS: Final = {
    1: ("Lookup", 1),
    2: ("Update", 1),
    3: ("Delete", 1),
    25: ("EventOutput", 2),
    87: ("Push", 1),
    88: ("Pop", 1),
    89: ("Peek", 1),
    195: ("LookupPercpu", 1),
}
"""Helper id -> verb, and the register that holds the map."""


@dataclass(frozen=True)
class Graph:
    """
    Programs, maps and the edges between them.

    Args:
        programs: Names, sorted.
        maps: Names of all maps, used or not, sorted; `.rodata` and `.bss` are left out, other data sections
            are not.
        edges: By program, then by first use, each once.
    """

    programs: tuple[str, ...]
    maps: tuple[str, ...]
    edges: tuple[Edge, ...]

    @classmethod
    def from_object(cls, obj: Object) -> "Graph":
        """Return the graph of *obj*."""
        return cls(
            programs=tuple(program.name for program in obj.programs),
            maps=tuple(
                sorted(found.name for found in obj.maps if kernel_name(found.name) not in HIDDEN_MAPS)
            ),
            edges=tuple(edge for program in obj.programs for edge in program_edges(program)),
        )

    def of_program(self, name: str) -> Iterator[Edge]:
        """Yield the edges of the program *name* in order."""
        return (edge for edge in self.edges if edge.program == name)


HIDDEN_MAPS: Final = (".rodata", ".bss")
"""Data sections that are not drawn."""


def program_edges(program: Program) -> Iterator[Edge]:
    """Yield the edges of *program* in order of first use, each once."""
    seen: set[tuple[str, str]] = set()
    last_given: dict[int, str] = {}
    for function in program.functions:
        for instruction in function.instructions:
            verb, name = _use(instruction, last_given)
            if name is not None and (verb, name) not in seen:
                seen.add((verb, name))
                yield Edge(program.name, verb, name)
            if instruction.reference is not None:
                last_given[instruction.destination] = instruction.reference


def _use(instruction: Instruction, last_given: dict[int, str]) -> tuple[str, str | None]:
    if not instruction.is_helper_call:
        return "", None
    verb, register = _VERBS.get(instruction.immediate, ("", 0))
    return verb, last_given.get(register) if verb else None
