"""
Which program does what with which map, by ig's rule: what a register was last given, in the order of the
text.
"""

from collections.abc import Callable

import pytest

from gadgetops.bpf.diagrams.graph import Graph
from gadgetops.bpf.object import Object


@pytest.fixture
def edges(read_object: Callable[[str], Object]) -> Callable[[str, str], list[tuple[str, str]]]:
    """Return verb and map of each edge of a program: `edges("verbs", "queue")`."""

    def of(name: str, program: str) -> list[tuple[str, str]]:
        return [(edge.verb, edge.map) for edge in Graph.from_object(read_object(name)).of_program(program)]

    return of


Edges = Callable[[str, str], list[tuple[str, str]]]


def test_verbs_are_named_after_the_helper(edges: Edges) -> None:
    """In order of first use, each once."""
    assert edges("verbs", "all_three") == [("Delete", "table"), ("Update", "table"), ("Lookup", "table")]
    assert edges("verbs", "each_once") == [("Update", "table")]
    assert edges("verbs", "queue") == [("Push", "line"), ("Peek", "line"), ("Pop", "line")]
    assert edges("verbs", "percpu_last")[-1] == ("LookupPercpu", "counters")


def test_output_takes_its_map_from_the_second_register(edges: Edges) -> None:
    """The first one is the context."""
    assert edges("verbs", "output") == [("EventOutput", "events")]


def test_of_a_branch_the_load_that_stands_last_counts(edges: Edges) -> None:
    """Paths are not followed."""
    assert len(edges("branch_select", "choose")) == 1


def test_moves_between_registers_are_not_followed(edges: Edges) -> None:
    """What register 1 was given before is taken for the map: a format string, or another map."""
    assert edges("stale_register", "after_print") == [("Lookup", ".rodata")]
    assert edges("stale_register", "after_other_map") == [("Delete", "other"), ("Lookup", "other")]


def test_what_functions_do_is_credited_to_the_program(edges: Edges) -> None:
    """In the order in which they are appended."""
    assert [name for _, name in edges("subprograms", "calls")] == [
        "at_main",
        "at_a",
        "at_m",
        "at_z",
        "at_deep",
    ]
    assert edges("callbacks", "walks") == [("Update", "in_static")]


def test_helpers_that_do_not_name_a_map_element_make_no_edge(read_object: Callable[[str], Object]) -> None:
    """Ring buffers, stacks, storage, tail calls."""
    assert Graph.from_object(read_object("invisible")).edges == ()


def test_all_maps_are_there_but_constants_and_zeros(read_object: Callable[[str], Object]) -> None:
    """Other data sections are drawn."""
    graph = Graph.from_object(read_object("data_sections"))
    assert graph.maps == (".data", ".data.own", ".rodata.own", "table")


def test_a_program_without_maps_is_there(read_object: Callable[[str], Object]) -> None:
    """Without edges."""
    graph = Graph.from_object(read_object("no_maps"))
    assert (graph.programs, graph.maps, graph.edges) == (("alone",), (), ())
