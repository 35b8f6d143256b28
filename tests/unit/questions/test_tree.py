"""Trees of calls: inclusive sums that add up, whatever the stacks are."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gadgetops.questions.asking.groups import Group
from gadgetops.questions.asking.question import Amount
from gadgetops.questions.asking.stacks_of import Frame, Stack
from gadgetops.questions.tree import MAX_DEPTH, Direction, Node, Tree, fold, grown
from gadgetops.report.schemas import answer_schema
from gadgetops.report.tree import tree_as_text

Amounts = dict[Group, Amount]


def group(*functions: str) -> Group:
    """Return the group of a stack, leaf first."""
    frames = tuple(Frame(name, f"{name}.c", 3, "/bin/p", 1, 1) for name in functions)
    stack = Stack(frames, None if frames else "no stack was collected")
    return Group(stack.name, stack)


names = st.lists(st.sampled_from(["main", "a", "b", "c"]), max_size=6).map(lambda each: group(*each))
amounts = st.dictionaries(names, st.builds(Amount, st.integers(0, 1000), st.integers(1, 9)), max_size=20)


def nodes(root: Node) -> list[Node]:
    """Return every node."""
    found = [root]
    for node in found:
        found += node.children
    return found


class TestTree:
    """A node's amount is its own, its children's and what is folded away below it."""

    @given(amounts, st.sampled_from(["down", "up"]), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.booleans())
    def test_sums(self, found: Amounts, direction: Direction, share: float, by_count: bool) -> None:
        """Before folding and after it."""
        root = grown(found, direction)
        fold(root, by_count, share)
        assert root.amount.count == sum(amount.count for amount in found.values())
        for node in nodes(root):
            parts = [node.own, node.folded, *(child.amount for child in node.children)]
            assert node.amount == sum(parts, Amount(0, 0))
            assert all(
                (child.amount.count if by_count else child.amount.size_bytes)
                >= share * (root.amount.count if by_count else root.amount.size_bytes)
                for child in node.children
            )

    @given(amounts)
    def test_both_ways_end_at_the_same_stacks(self, found: Amounts) -> None:
        """Down a path ends at the function that allocates; up it begins there."""
        down, up = (grown(found, direction) for direction in ("down", "up"))
        leaves = Counter[str]()
        for node in nodes(down):
            leaves[node.name] += node.own.count
        assert +leaves == +Counter({child.name: child.amount.count for child in up.children})


def test_recursion_of_any_depth_is_shown() -> None:
    """What is too deep counts as the last function's own; text needs no recursion of ours."""
    root = grown({group(*["again"] * 5000, "main"): Amount(7, 1)}, "down")
    fold(root, False, 0.01)
    assert len(nodes(root)) == MAX_DEPTH + 1
    json.dumps(root.to_json())


@pytest.fixture
def recording(write_recording: Callable[..., Path]) -> Path:
    """Stack 1 is main, outer, inner; stack 2 main and an unknown function."""
    return write_recording([("malloc", 1, 300, 1), ("malloc", 2, 100, 2), ("free", 1)])


def test_people_read_a_line_for_each_branch(recording: Path, gadgetops: Callable[..., Any]) -> None:
    """Chains of single calls in one; where it allocates, the place."""
    assert gadgetops("tree", recording).out.splitlines() == [
        "certain: 400 B in 2 allocations; callers first, each with all below it",
        "",
        "  100 %     400 B  main",
        " 75.0 %     300 B    outer → inner a.c:5",
        " 25.0 %     100 B    /bin/program+0x2020",
    ]
    up = gadgetops("tree", recording, "--up", "--by", "live", "--min-share", "50").out.splitlines()
    assert up[2:] == ["  100 %     100 B  /bin/program+0x2020 ← main"]


def test_what_is_folded_away_is_counted(recording: Path, gadgetops: Callable[..., Any]) -> None:
    """In the text, and in JSON."""
    assert "(1 smaller branch)" in gadgetops("tree", recording, "--min-share", 30).out
    document = json.loads(gadgetops("tree", recording, "--min-share", 30, "--format", "json").out)
    jsonschema.validate(document, answer_schema("tree"))
    [main] = document["tree"]["children"]
    assert main["folded"] == {"nodes": 1, "bytes": 100, "count": 1}


def test_top_inclusive_counts_what_is_called(recording: Path, gadgetops: Callable[..., Any]) -> None:
    """Each function once a stack; the whole is that of the stacks."""
    answer = json.loads(gadgetops("top", recording, "--inclusive", "--format", "json").out)
    found = {each["group"]["name"]: each["bytes"] for each in answer["groups"]}
    assert found == {"main": 400, "outer": 300, "inner": 300, "/bin/program+0x2020": 100}
    assert answer["total"]["bytes"] == 400
    modules = gadgetops("top", recording, "--inclusive", "--group-by", "module", "--format", "json").out
    assert json.loads(modules)["groups"][0]["share"] == 1
    assert gadgetops("top", recording, "--inclusive", "--group-by", "thread").status == 2


def test_an_empty_recording_has_an_empty_tree(write_recording: Callable[..., Path]) -> None:
    """No share of nothing."""
    root = grown({}, "down")
    fold(root, False, 0.01)
    assert root.children == []


def test_tree_text_of_calls() -> None:
    """By calls, the figures are numbers of allocations."""
    from gadgetops.questions.asking.certainty import Certainty  # noqa: PLC0415

    root = grown({group("a", "main"): Amount(5, 3)}, "down")
    sure = Certainty("certain", (), 0, True, 0, False)
    assert "100 %         3  main → a a.c:3" in tree_as_text(Tree(sure, "calls", "down", root), "")
