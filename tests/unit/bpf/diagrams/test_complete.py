"""What programs really do with maps, also what ig does not draw, and where."""

from collections.abc import Callable

import pytest

from gadgetops.bpf.diagrams.complete import CompleteGraph
from gadgetops.bpf.diagrams.complete_markdown import complete_markdown
from gadgetops.bpf.object import Object

ReadObject = Callable[[str], Object]


def uses(obj: Object, program: str) -> list[tuple[str, str, int]]:
    """Return verb, map and line of what *program* does."""
    graph = CompleteGraph.from_object(obj)
    return [
        (use.verb, use.map, use.line.number if use.line else 0)
        for use in graph.uses
        if use.program == program
    ]


@pytest.mark.parametrize(
    ("name", "program", "expected"),
    [
        # A map that a branch chooses is both; ig draws the last one.
        ("branch_select", "choose", {("Lookup", "first"), ("Lookup", "second")}),
        # What another call left behind in a register is not taken for an argument.
        ("stale_register", "after_other_map", {("Delete", "other"), ("Lookup", "kept")}),
        ("stale_register", "after_print", {("Lookup", "kept")}),
        # Ring buffers, stacks and storage, which ig leaves out.
        ("invisible", "records", {("RingbufReserve", "ring"), ("StackId", "stacks")}),
        ("invisible", "stores", {("Storage", "storage")}),
        ("maps_of_maps", "jumps_away", {("TailCall", "jumps")}),
        # What a look-up in a map of maps gives is the map in it.
        ("maps_of_maps", "looks_twice", {("Lookup", "outer"), ("Update", "inner")}),
        ("callbacks", "walks", {("ForEach", "walked"), ("Update", "in_static")}),
    ],
)
def test_maps_are_followed_to_each_use(
    read_object: ReadObject, name: str, program: str, expected: set[tuple[str, str]]
) -> None:
    """Through branches, registers, the stack, subprograms and callbacks."""
    assert {(verb, map_name) for verb, map_name, _ in uses(read_object(name), program)} == expected


def test_each_use_has_its_line(read_object: ReadObject, objects) -> None:
    """That of the source where the helper is called."""
    source = (objects / "maps_of_maps.bpf.c").read_text().splitlines()
    for verb, name, number in uses(read_object("maps_of_maps"), "looks_twice"):
        assert f"bpf_map_{verb.lower()}_elem(" in source[number - 1], name


def test_what_maps_hold_is_known(read_object: ReadObject) -> None:
    """By index, as the source declares it."""
    graph = CompleteGraph.from_object(read_object("maps_of_maps"))
    assert set(graph.held) == {("outer", "inner", 1), ("jumps", "jumped_to", 1)}


def test_the_picture_has_hooks_legend_and_links(read_object: ReadObject) -> None:
    """And labels that say what a map is."""
    text = complete_markdown(CompleteGraph.from_object(read_object("maps_of_maps")))
    for line in (
        'hook2(["kprobe/two"])',
        "hook2 -.-> jumps_away",
        'jumps[("jumps<br>prog_array, 2")]',
        'jumps_away -- "TailCall" --> jumps',
        'jumps -. "1" .-> jumped_to',
        "| `looks_twice` | Update | `inner` | [maps_of_maps.bpf.c:38](maps_of_maps.bpf.c#L38) |",
    ):
        assert line in text.splitlines()
    assert "_Rounded: what a program is attached to." in text


def test_what_a_program_runs_on_is_drawn(read_object: ReadObject) -> None:
    """For programs that are called for each entry of a map."""
    graph = CompleteGraph.from_object(read_object("target_maps"), {"each_entry": "watched"})
    assert 'watched -. "each entry" .-> each_entry' in complete_markdown(graph).splitlines()


def test_every_object_can_be_drawn(read_object: ReadObject, objects) -> None:
    """What ig draws of a look-up, update or deletion without a stale register is among what is drawn."""
    for path in objects.glob("*.bpf.o"):
        graph = CompleteGraph.from_object(read_object(path.name.removesuffix(".bpf.o")))
        assert complete_markdown(graph).startswith("```mermaid\nflowchart LR\n")
