"""
Graphs as Mermaid text, byte for byte what `ig image inspect` (v0.48.0) writes.

Nothing is quoted or escaped, as there. Every line ends with a line feed. A map of which the kernel's name
differs (`a$b` is loaded as `ab`) is drawn by that name, while arrows lead to its name in the source, as
there.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from gadgetops.bpf.graph import HIDDEN_MAPS, Edge, Graph
from gadgetops.bpf.maps import kernel_name

_MERGED_VERBS: Final = ("Lookup", "Update", "Delete")


def flowchart(graph: Graph) -> str:
    """Return *graph* as a flowchart: maps, then each program's arrows and itself."""
    lines = ["flowchart LR"]
    lines += [f'{name}[("{name}")]' for name in sorted(map(kernel_name, graph.maps))]
    for program in graph.programs:
        lines += [f'{program} -- "{label}" --> {name}' for label, name in _arrows(graph.of_program(program))]
        lines.append(f'{program}["{program}"]')
    return _text(lines)


def sequence(graph: Graph) -> str:
    """
    Return *graph* as a sequence diagram: participants, then what each program does, in order of first use.
    """
    used = dict.fromkeys(edge.map for edge in graph.edges if edge.map not in HIDDEN_MAPS)
    return _text(
        [
            "sequenceDiagram",
            "box eBPF Programs",
            *(f"participant {program}" for program in graph.programs),
            "end",
            "box eBPF Maps",
            *(f"participant {name}" for name in used),
            "end",
            *(f"{edge.program}->>{edge.map}: {edge.verb}" for edge in graph.edges),
        ]
    )


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
