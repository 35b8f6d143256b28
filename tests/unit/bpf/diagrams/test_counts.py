"""How often edges were taken, by how often programs ran or what they sent."""

from collections.abc import Callable

import pytest

from gadgetops.bpf.diagrams.complete import CompleteGraph
from gadgetops.bpf.diagrams.complete_markdown import complete_markdown
from gadgetops.bpf.diagrams.counts import Count, Counts, of_events, of_runs
from gadgetops.bpf.object import Object

ReadObject = Callable[[str], Object]


@pytest.mark.parametrize(
    ("name", "use", "expected"),
    [
        # No branch leads around these, and no run makes them twice.
        ("invisible", ("records", "RingbufReserve", "ring"), "7"),
        ("invisible", ("stores", "Storage", "storage"), "7"),
        ("callbacks", ("walks", "ForEach", "walked"), "7"),
        ("callbacks", ("calls_first", "Delete", "in_first"), "7"),
        # A branch does.
        ("invisible", ("records", "StackId", "stacks"), "≤ 7"),
        # The kernel calls a callback as often as there are entries.
        ("callbacks", ("walks", "Update", "in_static"), ""),
        # One call on either of two maps.
        ("branch_select", ("choose", "Lookup", "first"), "≤ 7"),
        # What a tail call leads to does not come back.
        ("maps_of_maps", ("jumps_away", "TailCall", "jumps"), "7"),
    ],
)
def test_calls_are_bounded_by_the_runs_of_their_program(
    read_object: ReadObject, name: str, use: tuple[str, str, str], expected: str
) -> None:
    obj = read_object(name)
    graph = CompleteGraph.from_object(obj)
    counted = of_runs(graph, obj.programs, dict.fromkeys(graph.programs, 7))
    assert str(counted[use]) == expected
    never = of_runs(graph, obj.programs, {})
    assert set(never.values()) == {Count.exactly(0)}


def test_events_say_what_was_done_at_least(read_object: ReadObject) -> None:
    """A reservation for each; what comes after it may be left out, and nothing is known of other programs."""
    obj = read_object("invisible")
    graph = CompleteGraph.from_object(obj)
    runs, uses = of_events(graph, obj.programs, {"records": 5}, by_ring=True)
    assert (str(runs["records"]), str(runs["stores"])) == ("≥ 5", "")
    assert str(uses["records", "RingbufReserve", "ring"]) == "≥ 5"
    assert ("records", "StackId", "stacks") not in uses


def test_counts_are_drawn_at_their_arrows(read_object: ReadObject) -> None:
    """And in the table; a caption says what was counted."""
    obj = read_object("maps_of_maps")
    graph = CompleteGraph.from_object(obj)
    runs = {"jumps_away": 1234}
    counts = Counts(
        "Counted on a|b.",
        {name: Count.exactly(number) for name, number in runs.items()},
        of_runs(graph, obj.programs, runs),
        {"jumps": "2 now"},
    )
    lines = complete_markdown(graph, counts).splitlines()
    for line in (
        'hook2 -. "1,234" .-> jumps_away',
        'jumps[("jumps<br>prog_array, 2<br>2 now")]',
        'jumps_away -- "TailCall 1,234" --> jumps',
        r"_Counted on a\|b._",
        "| `looks_twice` | Update | `inner` | 0 | [maps_of_maps.bpf.c:38](maps_of_maps.bpf.c#L38) |",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("count", "text"),
    [(Count(1, None), "≥ 1"), (Count(2, 3), "2 to 3"), (Count(0, 0), "0"), (Count(0, None), "")],
)
def test_a_count_is_short(count: Count, text: str) -> None:
    assert str(count) == text
