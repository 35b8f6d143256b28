"""
Who calls what: inclusive sums over all stacks, from the callers down or from the callees up.

A node is a function reached by one path; its amount is that of all stacks through it, and its own is that of
the stacks that end there. So the amounts of a node's children, and its own, add up to its amount.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import ALL, Filters
from gadgetops.questions.asking.groups import Group
from gadgetops.questions.asking.question import NOTHING, Amount
from gadgetops.questions.asking.stacks_of import Frame, Stack
from gadgetops.questions.asking.wrappers import wrappers
from gadgetops.questions.top import COUNTED, Measure, measured
from gadgetops.recording.reader import Recording

Direction = Literal["down", "up"]
MIN_SHARE: Final = 0.01
"""Nodes with a smaller share of the whole are folded away, unless asked otherwise."""
MAX_DEPTH: Final = 200
"""Calls that are deeper count as own of the last function before; JSON readers have limits, too."""


@dataclass
class Node:
    """
    A function, reached by one path.

    Args:
        frame: The function; None for the root, and for stacks without frames.
        name: As it is shown.
        amount: Of all stacks through it.
        own: Of those that end here.
        children: Largest first.
        folded_count: How many smaller children are left out.
        folded: What these come to.
    """

    frame: Frame | None
    name: str
    amount: Amount = NOTHING
    own: Amount = NOTHING
    children: list["Node"] = field(default_factory=list)
    folded_count: int = 0
    folded: Amount = NOTHING

    def to_json(self) -> dict[str, Any]:
        """Return it and what is below it as the documented JSON."""
        return {
            "name": self.name,
            "frame": None if self.frame is None else self.frame.to_json(),
            **self.amount.to_json(),
            "own": self.own.to_json(),
            "children": [child.to_json() for child in self.children],
            "folded": {"nodes": self.folded_count, **self.folded.to_json()},
        }


@dataclass(frozen=True)
class Tree:
    """
    The whole, and how sure it is.

    Args:
        certainty: How sure it is.
        by: What is measured.
        direction: `down` from the callers, or `up` from what allocates.
        root: A node for everything.
    """

    certainty: Certainty
    by: Measure
    direction: Direction
    root: Node

    def to_json(self) -> dict[str, Any]:
        """Return all of it as the documented JSON."""
        return {
            **self.certainty.to_json(),
            "by": self.by,
            "direction": self.direction,
            "tree": self.root.to_json(),
        }


def tree(
    recording: Recording,
    by: Measure = "bytes",
    filters: Filters = ALL,
    direction: Direction = "down",
    min_share: float = MIN_SHARE,
) -> Tree:
    """
    Return what *by* measures in *recording* as a tree, without nodes below *min_share*, a part of 1.

    Raises:
        RecordingError: The question could not be answered.
    """
    certainty, amounts = measured(recording, by, filters, "stack")
    root = grown(amounts, direction)
    fold(root, by in COUNTED, min_share)
    return Tree(certainty, by, direction, root)


def grown(amounts: Mapping[Group, Amount], direction: Direction) -> Node:
    """Return the tree of the stacks in *amounts*, nothing left out."""
    root = Node(None, "all")
    children: dict[tuple[int, Any], Node] = {}
    for group, amount in amounts.items():
        node = root
        node.amount += amount
        for frame in _path(group.stack or Stack((), group.name), direction)[:MAX_DEPTH]:
            node = _child(node, frame, children)
            node.amount += amount
        node.own += amount
    return root


def fold(root: Node, by_count: bool, min_share: float) -> None:
    """Put children in order, and take away those below a share of the whole."""
    least = min_share * _counted(root.amount, by_count)
    todo = [root]
    while todo:
        node = todo.pop()
        node.children.sort(key=lambda child: (-_counted(child.amount, by_count), child.name))
        kept = [child for child in node.children if _counted(child.amount, by_count) >= least]
        left_out = node.children[len(kept) :]
        node.folded_count = len(left_out)
        node.folded = sum((child.amount for child in left_out), NOTHING)
        node.children = kept
        todo.extend(kept)


def chain(node: Node) -> list[Node]:
    """Return *node* and what is below it for as long as that is one child with the same amount."""
    nodes = [node]
    while len(nodes[-1].children) == 1 and nodes[-1].children[0].amount == node.amount:
        nodes.append(nodes[-1].children[0])
    return nodes


def _path(stack: Stack, direction: Direction) -> Sequence[Frame | str]:
    """Return the frames of *stack* from the root of the tree on."""
    if not stack.frames:
        return [f"<{stack.no_stack}>"]
    if direction == "down":
        return stack.frames[::-1]
    # From below, wrappers would be the first branches of every tree.
    place = wrappers().place(stack.frames)
    return stack.frames[next(n for n, frame in enumerate(stack.frames) if frame is place) :]


def _child(node: Node, frame: Frame | str, children: dict[tuple[int, Any], Node]) -> Node:
    """Return the child of *node* for *frame*: one for each function, whichever line of it."""
    name = frame if isinstance(frame, str) else frame.name
    child = children.get((id(node), name))
    if child is None:
        child = children[id(node), name] = Node(None if isinstance(frame, str) else frame, name)
        node.children.append(child)
    return child


def _counted(amount: Amount, by_count: bool) -> int:
    return amount.count if by_count else amount.size_bytes
