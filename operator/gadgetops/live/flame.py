"""A flame graph of a snapshot's stacks in a terminal: root at the top, each frame as wide as its share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Final
from zlib import crc32

from rich.style import Style
from rich.text import Text
from textual.binding import Binding
from textual.message import Message
from textual.widget import Widget

from gadgetops.live.snapshot import LiveStack
from gadgetops.report.answers import printable

_COLOURS: Final = ("#c2410c", "#b45309", "#a16207", "#9f1239", "#7c2d12", "#854d0e", "#991b1b", "#92400e")
_CHOSEN: Final = Style(bgcolor="#0369a1", color="white", bold=True)


@dataclass
class Node:
    """
    A function below its callers.

    Args:
        name: Of the function.
        module: Path of its file; empty if unknown.
        value: Of all stacks that go through it.
        children: What it called, by name.
    """

    name: str
    module: str = ""
    value: int = 0
    children: dict[str, "Node"] = field(default_factory=dict)

    def ranked(self) -> list["Node"]:
        """Return what it called, most first."""
        return sorted(self.children.values(), key=lambda child: (-child.value, child.name))


def tree(stacks: Iterable[LiveStack], value_of: Callable[[LiveStack], int]) -> Node:
    """Return *stacks* as a tree under the root `all`; those whose value is not positive are left out."""
    root = Node("all")
    for each in stacks:
        value = value_of(each)
        if value <= 0:
            continue
        root.value += value
        node = root
        names = [(frame.name, frame.module or "") for frame in reversed(each.stack.frames)]
        for name, module in names or [(each.stack.name, "")]:
            node = node.children.setdefault(name, Node(name, module))
            node.value += value
    return root


class FlameView(Widget, can_focus=True):
    """The flame graph; arrows choose a frame, Enter shows it as wide as the view, Backspace goes back."""

    DEFAULT_CSS = "FlameView { height: 1fr; }"
    BINDINGS: ClassVar = [
        Binding("up,k", "move('up')", "caller", show=False),
        Binding("down,j", "move('down')", "callee", show=False),
        Binding("left,h", "move('left')", "left", show=False),
        Binding("right,l", "move('right')", "right", show=False),
        Binding("enter", "zoom", "zoom in", show=False),
        Binding("backspace", "unzoom", "zoom out", show=False),
    ]

    class Chosen(Message):
        """A frame was chosen."""

        def __init__(self, node: Node, whole: int) -> None:
            super().__init__()
            self.node = node
            self.whole = whole

    def __init__(self) -> None:
        super().__init__()
        self._root = Node("all")
        self._zoomed: list[str] = []
        self._chosen: list[str] = []

    def show(self, root: Node) -> None:
        """Show another tree; what is chosen and zoomed stays as far as it is in it."""
        self._root = root
        self._zoomed = [*self._existing(self._zoomed)]
        self._chosen = [*self._existing(self._chosen)]
        self.refresh()

    def render(self) -> Text:
        """Draw the tree, a line for each depth."""
        width, height = max(self.size.width, 1), max(self.size.height, 1)
        shown = self._node(self._zoomed)
        text = Text(no_wrap=True, end="")
        # Callers of what is zoomed stand above it, as wide as the view.
        for depth in range(len(self._zoomed)):
            path = self._zoomed[:depth]
            self._append(text, self._node(path), width, is_chosen=path == self._chosen)
            text.append("\n")
        level: list[tuple[int, int, list[str], Node]] = [(0, width, self._zoomed, shown)]
        for _ in range(height - len(self._zoomed)):
            self._append_level(text, level, width)
            level = [part for each in level for part in _parts(*each)]
            if not level:
                break
            text.append("\n")
        return text

    def action_move(self, direction: str) -> None:
        """Choose the frame in that direction."""
        if direction == "up":
            self._chosen = self._chosen[:-1]
        elif direction == "down":
            children = self._node(self._chosen).ranked()
            self._chosen = [*self._chosen, children[0].name] if children else self._chosen
        elif self._chosen:
            siblings = [child.name for child in self._node(self._chosen[:-1]).ranked()]
            step = 1 if direction == "right" else -1
            number = min(max(siblings.index(self._chosen[-1]) + step, 0), len(siblings) - 1)
            self._chosen = [*self._chosen[:-1], siblings[number]]
        self._say()

    def action_zoom(self) -> None:
        """Show the chosen frame as wide as the view."""
        self._zoomed = [*self._chosen]
        self._say()

    def action_unzoom(self) -> None:
        """Show the caller of what is zoomed."""
        self._zoomed = self._zoomed[:-1]
        self._say()

    def _say(self) -> None:
        self.refresh()
        self.post_message(self.Chosen(self._node(self._chosen), self._root.value))

    def _append_level(self, text: Text, level: list[tuple[int, int, list[str], Node]], width: int) -> None:
        column = 0
        for start, cells, path, node in level:
            text.append(" " * (start - column))
            self._append(text, node, cells, is_chosen=path == self._chosen)
            column = start + cells
        text.append(" " * (width - column))

    def _append(self, text: Text, node: Node, cells: int, *, is_chosen: bool) -> None:
        colour = _COLOURS[crc32((node.module or node.name).encode()) % len(_COLOURS)]
        style = _CHOSEN if is_chosen else Style(bgcolor=colour, color="white")
        # A column is left free between two frames, where there is room.
        label = Text(f" {printable(node.name)}" if cells > 3 else "")
        label.truncate(max(cells - 1, 0) or cells, overflow="ellipsis", pad=True)
        text.append(label.plain[:cells], style)
        if cells > 1:
            text.append(" ")
        elif not label.plain:
            text.append(" ", style)

    def _node(self, path: Iterable[str]) -> Node:
        node = self._root
        for name in path:
            node = node.children[name]
        return node

    def _existing(self, path: Iterable[str]) -> Iterable[str]:
        node = self._root
        for name in path:
            if name not in node.children:
                return
            node = node.children[name]
            yield name


def _parts(start: int, cells: int, path: list[str], node: Node) -> list[tuple[int, int, list[str], Node]]:
    """Return where what *node* called is drawn; what is less than a column is left out."""
    parts, column = [], start
    for child in node.ranked():
        wide = cells * child.value // node.value if node.value else 0
        if wide:
            parts.append((column, wide, [*path, child.name], child))
            column += wide
    return parts
