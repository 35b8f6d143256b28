"""Mermaid text is ig's, byte for byte."""

from gadgetops.bpf.diagrams.graph import Edge, Graph
from gadgetops.bpf.diagrams.mermaid import flowchart, sequence


def graph(*edges: tuple[str, str]) -> Graph:
    """Return a graph of one program and two maps."""
    return Graph(("p",), ("a", "b"), tuple(Edge("p", verb, name) for verb, name in edges))


def arrows(*edges: tuple[str, str]) -> list[str]:
    """Return the arrows of a flowchart, verb and map."""
    lines = flowchart(graph(*edges)).splitlines()
    return [line.removeprefix('p -- "').replace('" --> ', " ") for line in lines if "-->" in line]


def test_an_empty_graph_is_its_first_line() -> None:
    """Nothing else is known."""
    assert flowchart(Graph((), (), ())) == "flowchart LR\n"
    assert sequence(Graph((), (), ())) == "sequenceDiagram\nbox eBPF Programs\nend\nbox eBPF Maps\nend\n"


def test_maps_stand_first_and_each_program_after_its_arrows() -> None:
    """Used or not."""
    assert flowchart(graph(("Lookup", "b"))) == (
        'flowchart LR\na[("a")]\nb[("b")]\np -- "Lookup" --> b\np["p"]\n'
    )


def test_look_up_update_and_delete_become_one_arrow() -> None:
    """In this order, where the first edge to the map stands."""
    assert arrows(("Delete", "a"), ("Lookup", "b"), ("Update", "a")) == ["Update+Delete a", "Lookup b"]
    assert arrows(("Delete", "a"), ("Update", "a"), ("Lookup", "a")) == ["Lookup+Update+Delete a"]


def test_another_verb_keeps_its_own_arrow_if_it_comes_later() -> None:
    """If it comes first, the arrow of the others takes its place and the verb is lost, as in ig."""
    assert arrows(("Update", "a"), ("Lookup", "a"), ("Push", "a")) == ["Lookup+Update a", "Push a"]
    assert arrows(("Push", "a"), ("Update", "a"), ("Lookup", "a")) == ["Lookup+Update a"]
    assert arrows(("Push", "a"), ("Update", "a")) == ["Push a", "Update a"]


def test_a_sequence_has_maps_in_order_of_first_use() -> None:
    """Those that are used, and nothing is merged."""
    assert sequence(graph(("Update", "b"), ("Lookup", "a"), ("Delete", "b"))).splitlines() == [
        "sequenceDiagram",
        "box eBPF Programs",
        "participant p",
        "end",
        "box eBPF Maps",
        "participant b",
        "participant a",
        "end",
        "p->>b: Update",
        "p->>a: Lookup",
        "p->>b: Delete",
    ]


def test_constants_take_no_part_but_their_arrows_stay() -> None:
    """As in ig, where stale registers lead to them."""
    text = sequence(graph(("Lookup", ".rodata"), ("Lookup", ".bss")))
    assert "participant ." not in text
    assert "p->>.rodata: Lookup\np->>.bss: Lookup\n" in text


def test_keywords_of_mermaid_get_another_identifier_if_asked() -> None:
    """The names that are shown stay, and no identifier is given twice."""
    named = Graph(
        ("end", "p"), ("Note", "end_"), (Edge("end", "Lookup", "Note"), Edge("end", "Delete", "end_"))
    )
    assert flowchart(named, is_escaped=True).splitlines()[1:] == [
        'Note_[("Note")]',
        'end_[("end_")]',
        'end__ -- "Lookup" --> Note_',
        'end__ -- "Delete" --> end_',
        'end__["end"]',
        'p["p"]',
    ]
    assert sequence(named, is_escaped=True).splitlines()[2:4] == ["participant end__ as end", "participant p"]
    assert "end__->>Note_: Lookup" in sequence(named, is_escaped=True)
    assert flowchart(named).splitlines()[1] == 'Note[("Note")]'


def test_maps_are_drawn_by_the_kernels_name() -> None:
    """Arrows lead to the name in the source, as in ig."""
    drawn = flowchart(Graph(("p$",), ("a$b",), (Edge("p$", "Lookup", "a$b"),)))
    assert drawn == 'flowchart LR\nab[("ab")]\np$ -- "Lookup" --> a$b\np$["p$"]\n'
