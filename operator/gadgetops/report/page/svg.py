"""
Pictures that stand alone: a flame graph and the course of live memory, as SVG.

They are drawn without a browser, follow its colour scheme, and hold names of the recording as text only.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Final

from gadgetops.questions.asking.stacks_of import Stack
from gadgetops.questions.timeline import Timeline
from gadgetops.questions.top import COUNTED, Measure, Top
from gadgetops.report.answers import amount_as_text, printable, share_as_text
from gadgetops.units import format_bytes, format_count, format_duration

N_POINTS: Final = 400
WIDTH: Final = 1200
_HEIGHT: Final = 300
_ROW: Final = 18
_LETTER: Final = 6.7
_NARROWEST: Final = 0.4
_MOST_ROWS: Final = 60
_HEAD: Final = 34
_MARGIN: Final = 80
_WORDS: Final[dict[Measure, str]] = {
    "live": "not released",
    "bytes": "allocated",
    "calls": "allocations",
    "temporary": "temporary allocations",
    "peak": "live at the peak",
}
_STYLE: Final = """\
text { font: 12px system-ui, sans-serif; fill: #1c2128 }
.frame text { fill: #1c2128 }
.back { fill: #ffffff } .line { stroke: #d0d7de; fill: none }
.live { fill: #0969da; fill-opacity: .3; stroke: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .back { fill: #0d1117 } .line { stroke: #30363d }
.live { fill: #4493f8; stroke: #4493f8 }
}"""


@dataclass
class _Node:
    """A function and what it called."""

    name: str
    module: str | None
    value: int = 0
    callees: dict[tuple[str, str | None], "_Node"] = field(default_factory=dict)


def flame_picture(top: Top) -> str:
    """Return the stacks of *top* as a flame graph, the root at the top; the widest callee stands first."""
    by_count = top.by in COUNTED
    root = _Node("all", None)
    for share in top.shares:
        value = share.amount.count if by_count else share.amount.size_bytes
        _add(root, share.group.stack or Stack((), share.group.name), value)
    depth = min(_MOST_ROWS, _depth(root))
    head = f"{amount_as_text(top.total)} {_WORDS[top.by]}; {top.certainty.word}"
    boxes = _boxes(root, by_count, root.value) if root.value else ()
    return _picture(_HEAD + depth * _ROW + 4, head, boxes)


def timeline_picture(timeline: Timeline) -> str:
    """Return the live bytes of *timeline* over time as an area."""
    values = timeline.total.live_bytes
    highest = max(values, default=0)
    duration_ns = timeline.width_ns * len(values)
    head = f"live memory, at most {format_bytes(highest)}; {timeline.certainty.word}"
    return _picture(_HEIGHT, head, _area(values, highest, timeline.start_ns, duration_ns))


def _picture(height: int, head: str, content: Iterator[str] | tuple[str, ...]) -> str:
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="{_text(head)}">'
    )
    return "\n".join(
        (
            opening,
            f"<style>{_STYLE}</style>",
            f'<rect class="back" width="{WIDTH}" height="{height}"/>',
            f'<text x="4" y="20" font-weight="bold">{_text(head)}</text>',
            *content,
            "</svg>\n",
        )
    )


def _add(root: _Node, stack: Stack, value: int) -> None:
    root.value += value
    node = root
    for name, module in _frames(stack):
        node = node.callees.setdefault((name, module), _Node(name, module))
        node.value += value


def _frames(stack: Stack) -> Iterator[tuple[str, str | None]]:
    if not stack.frames:
        yield f"<{stack.no_stack}>", None
    for frame in reversed(stack.frames):
        yield frame.name, frame.module


def _depth(root: _Node) -> int:
    depth, level = 0, [root]
    while level:
        depth, level = depth + 1, [callee for node in level for callee in node.callees.values()]
    return depth


def _boxes(root: _Node, by_count: bool, whole: int) -> Iterator[str]:
    waiting = [(root, 0.0, 0)]
    while waiting:
        node, left, depth = waiting.pop()
        width = WIDTH * node.value / whole
        if width < _NARROWEST or depth >= _MOST_ROWS:
            continue
        yield _box(node, left, width, depth, by_count, node.value / whole)
        for callee in sorted(node.callees.values(), key=lambda each: (-each.value, each.name)):
            waiting.append((callee, left, depth + 1))
            left += WIDTH * callee.value / whole


def _box(node: _Node, left: float, width: float, depth: int, by_count: bool, share: float) -> str:
    amount = format_count(node.value) if by_count else format_bytes(node.value)
    label = "" if width < 4 * _LETTER else _shortened(node.name, int((width - 6) / _LETTER))
    top = _HEAD + depth * _ROW
    return (
        f'<g class="frame"><title>{_text(node.name)}: {amount}, {share_as_text(share)}</title>'
        f'<rect x="{left:.2f}" y="{top}" width="{max(width - 0.5, 0.3):.2f}" height="{_ROW - 1}" '
        f'fill="{_colour(node)}"/><text x="{left + 3:.2f}" y="{top + 13}">{_text(label)}</text></g>'
    )


def _colour(node: _Node) -> str:
    """Return a colour for the node's module, always the same one."""
    if node.module is None:
        return "#d0d7de"
    hue = 60 + zlib.crc32(node.module.rpartition("/")[2].encode("utf-8", "replace")) % 270
    return f"hsl({hue} 62% 74%)"


def _shortened(name: str, n_letters: int) -> str:
    return name if len(name) <= n_letters else f"{name[: max(1, n_letters - 1)]}…"


def _area(values: tuple[int, ...], highest: int, start_ns: int, duration_ns: int) -> Iterator[str]:
    bottom, height = _HEIGHT - 28, _HEIGHT - 28 - _HEAD
    for part in range(5):
        y = bottom - height * part / 4
        yield f'<path class="line" d="M{_MARGIN} {y:.1f}H{WIDTH - 10}"/>'
        label = format_bytes(highest * part // 4)
        yield f'<text x="{_MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    across = (WIDTH - 10 - _MARGIN) / max(1, len(values))
    steps = "".join(
        f"V{bottom - height * value / max(1, highest):.1f}H{_MARGIN + across * (index + 1):.1f}"
        for index, value in enumerate(values)
    )
    yield f'<path class="live" d="M{_MARGIN} {bottom}{steps}V{bottom}Z"/>'
    for part in range(6):
        x = _MARGIN + (WIDTH - 10 - _MARGIN) * part / 5
        anchor = "end" if part == 5 else "middle"
        when = format_duration(start_ns + duration_ns * part // 5)
        yield f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{when}</text>'


def _text(text: str) -> str:
    return escape(printable(text))
