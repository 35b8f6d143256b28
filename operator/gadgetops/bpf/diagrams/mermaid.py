"""
Graphs as Mermaid text, byte for byte what `ig image inspect` (v0.48.0 to v0.55.1) writes.

Nothing is quoted or escaped, as there, unless the caller asks for text that Mermaid parses whatever maps and
programs are called. Every line ends with a line feed. A map of which the kernel's name differs (`a$b` is
loaded as `ab`) is drawn by that name, while arrows lead to its name in the source, as there.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Final

from gadgetops.bpf.diagrams.graph import HIDDEN_MAPS, Edge, Graph
from gadgetops.bpf.maps import kernel_name

_MERGED_VERBS: Final = ("Lookup", "Update", "Delete")
_WORDS: Final = """
    accdescr acctitle activate actor alt and as autonumber box bt call class classdef click create critical
    deactivate default destroy details direction else end flowchart graph href interpolate left link links
    linkstyle loop lr note off opt option over par par_over participant properties rb rect right rl
    sequencediagram break style subgraph tb td title _blank _parent _self _top
    __proto__ constructor hasownproperty prototype tostring
"""
_NOT_IN_IDENTIFIERS: Final = re.compile(r"[^\w.$-]", re.ASCII)
_KEYWORDS: Final = frozenset(_WORDS.split())
"""Words of Mermaid's grammars (11.17, both diagrams) and of JavaScript's objects, in lower case."""


def flowchart(graph: Graph, *, is_escaped: bool = False) -> str:
    """
    Return *graph* as a flowchart: maps, then each program's arrows and itself.

    Args:
        graph: What is drawn.
        is_escaped: Give nodes that are called like a word of Mermaid's another identifier; their labels stay.
    """
    identifier = _identifiers(graph) if is_escaped else _unchanged
    lines = ["flowchart LR"]
    lines += [f'{identifier(name)}[("{name}")]' for name in sorted(map(kernel_name, graph.maps))]
    for program in graph.programs:
        node = identifier(program)
        arrows = _arrows(graph.of_program(program))
        lines += [f'{node} -- "{label}" --> {identifier(name)}' for label, name in arrows]
        lines.append(f'{node}["{program}"]')
    return _text(lines)


def sequence(graph: Graph, *, is_escaped: bool = False) -> str:
    """
    Return *graph* as a sequence diagram: participants, then what each program does, in order of first use.

    Args:
        graph: What is drawn.
        is_escaped: As of `flowchart`.
    """
    identifier = _identifiers(graph) if is_escaped else _unchanged
    used = dict.fromkeys(edge.map for edge in graph.edges if edge.map not in HIDDEN_MAPS)
    return _text(
        [
            "sequenceDiagram",
            "box eBPF Programs",
            *(_participant(identifier(program), program) for program in graph.programs),
            "end",
            "box eBPF Maps",
            *(_participant(identifier(name), name) for name in used),
            "end",
            *(f"{identifier(edge.program)}->>{identifier(edge.map)}: {edge.verb}" for edge in graph.edges),
        ]
    )


def _participant(identifier: str, name: str) -> str:
    return f"participant {name}" if identifier == name else f"participant {identifier} as {name}"


def _unchanged(name: str) -> str:
    return name


def _identifiers(graph: Graph) -> Callable[[str], str]:
    names = {*graph.programs, *graph.maps, *map(kernel_name, graph.maps), *(edge.map for edge in graph.edges)}
    return identifiers(names).__getitem__


def identifiers(names: Set[str]) -> dict[str, str]:
    """Return for each of *names* an identifier that no other name has and that is not a word of Mermaid's."""
    found, taken = {}, set(names)
    for name in sorted(names):
        identifier = _NOT_IN_IDENTIFIERS.sub("_", name)
        while identifier.lower() in _KEYWORDS or (identifier != name and identifier in taken):
            identifier += "_"
        found[name] = identifier
        taken.add(identifier)
    return found


def _arrows(edges: Iterable[Edge]) -> Iterator[tuple[str, str]]:
    # Look-up, update and delete of one map become one arrow, where the first of a program's edges to it
    # stands, whatever that edge's own verb; that verb, unless one of the three, is then drawn nowhere.
    remaining = [(edge.verb, edge.map) for edge in edges]
    alive = set(remaining)
    for verb, name in remaining:
        if (verb, name) not in alive:
            continue
        merged = [each for each in _MERGED_VERBS if (each, name) in alive]
        if len(merged) > 1:
            alive -= {(each, name) for each in merged}
            yield "+".join(merged), name
        else:
            yield verb, name


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
