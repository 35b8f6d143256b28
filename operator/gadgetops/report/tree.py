"""A tree of calls as text: a line for each branch, chains of single calls in one."""

from collections.abc import Iterator

from gadgetops.questions.asking.question import Amount
from gadgetops.questions.top import COUNTED
from gadgetops.questions.tree import Node, Tree, chain
from gadgetops.report.answers import amount_as_text, head, printable, share_as_text
from gadgetops.units import format_bytes, format_count, plural

_WAY = {"down": "callers first", "up": "what allocates first"}
_AMOUNT_WIDTH = 9


def tree_as_text(tree: Tree, measured: str) -> str:
    """Return *tree* as lines; *measured* says in words what its amounts are of, as ` not released`."""
    return "\n".join(_lines(tree, measured))


def _lines(tree: Tree, measured: str) -> Iterator[str]:
    root = tree.root
    yield from head(
        tree.certainty,
        f"{amount_as_text(root.amount)}{measured}; {_WAY[tree.direction]}, each with all below it",
    )
    yield ""
    by_count = tree.by in COUNTED
    # A stack of its own instead of recursion: what is traced may recurse deeper than we can.
    todo: list[tuple[Node | str, int]] = [*_below(root, 0, by_count)][::-1]
    while todo:
        item, depth = todo.pop()
        if isinstance(item, str):
            yield item
            continue
        nodes = chain(item)
        names = f" {_arrow(tree)} ".join(printable(node.name) for node in nodes)
        yield f"{_figures(item.amount, root.amount, by_count)}  {'  ' * depth}{names}{_place(nodes[-1])}"
        todo.extend([*_below(nodes[-1], depth + 1, by_count, root.amount)][::-1])


def _below(
    node: Node, depth: int, by_count: bool, whole: Amount | None = None
) -> Iterator[tuple[Node | str, int]]:
    yield from ((child, depth) for child in node.children)
    if node.folded_count:
        figures = _figures(node.folded, whole or node.amount, by_count)
        yield (
            f"{figures}  {'  ' * depth}({plural(node.folded_count, 'smaller branch', 'smaller branches')})",
            depth,
        )


def _arrow(tree: Tree) -> str:
    return "→" if tree.direction == "down" else "←"


def _figures(amount: Amount, whole: Amount, by_count: bool) -> str:
    part, of = (amount.count, whole.count) if by_count else (amount.size_bytes, whole.size_bytes)
    shown = format_count(amount.count) if by_count else format_bytes(amount.size_bytes)
    return f"{share_as_text(part / of if of else 0.0):>7} {shown:>{_AMOUNT_WIDTH}}"


def _place(node: Node) -> str:
    """Return where a function is, if it allocates itself."""
    frame = node.frame
    if not node.own.count or frame is None or frame.file is None:
        return ""
    return f" {printable(frame.file)}" + ("" if frame.line is None else f":{frame.line}")
