"""
massif's output file, as valgrind's `ms_print` and massif-visualizer open it: snapshots of the live heap.

Two snapshots say by which stacks it was live: the one at the peak, and the last one. A tree begins with the
functions that allocate; what is below 1 % of a snapshot is one line for each node.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gadgetops.questions.asking.groups import Group
from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.peak import peak
from gadgetops.questions.timeline import timeline
from gadgetops.questions.top import totals
from gadgetops.recording.reader import Recording
from gadgetops.report.answers import printable
from gadgetops.report.exports.export import Export

_SNAPSHOTS: Final = 100
_THRESHOLD: Final = 0.01
_ROOT: Final = "(heap allocation functions) malloc/new/new[], --alloc-fns, etc."
_NS_PER_MS: Final = 1_000_000


@dataclass
class _Node:
    """A function in a tree of callers, and the bytes of all stacks through it."""

    size_bytes: int = 0
    callers: "dict[Frame, _Node]" = field(default_factory=dict)


@dataclass(frozen=True)
class _Snapshot:
    """What was live at one moment; by which stacks only where a tree is to be shown."""

    at_ns: int
    size_bytes: int
    kind: str = "empty"
    by_stack: Mapping[Group, int] = field(default_factory=dict)


def write(export: Export, path: Path) -> str:
    """
    Write the live bytes over time to *path* and return how sure they are.

    Raises:
        RecordingError: The recording could not be read.
    """
    word, snapshots = _snapshots(export)
    lines = [
        f"desc: {printable(export.recording.path.name)}",
        f"cmd: {printable(_command(export.recording))}",
        "time_unit: ms",
    ]
    for number, snapshot in enumerate(snapshots):
        lines += [*_lines(number, snapshot)]
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
    return word


def _snapshots(export: Export) -> tuple[str, list[_Snapshot]]:
    over_time = timeline(export.recording, _SNAPSHOTS, export.filters)
    ends = over_time.total.live_bytes
    found = [_Snapshot(over_time.start_ns, 0)]
    for number, size_bytes in enumerate(ends[:-1], start=1):
        found.append(_Snapshot(over_time.start_ns + number * over_time.width_ns, size_bytes))
    highest = peak(export.recording, export.filters)
    if highest.at_ns is not None:
        by_stack = {row.group: row.live.size_bytes for row in highest.rows}
        found.append(_Snapshot(highest.at_ns, highest.live.size_bytes, "peak", by_stack))
    found.sort(key=lambda snapshot: snapshot.at_ns)
    left = {each.group: each.live.size_bytes for each in totals(export.recording, export.filters, "stack")[1]}
    end_ns = over_time.start_ns + len(ends) * over_time.width_ns
    return highest.certainty.word, [*found, _Snapshot(end_ns, sum(left.values()), "detailed", left)]


def _command(recording: Recording) -> str:
    command = recording.header.get("target", {}).get("command")
    return " ".join(map(str, command)) if command else "(a running process)"


def _lines(number: int, snapshot: _Snapshot) -> Iterator[str]:
    yield from ("#-----------", f"snapshot={number}", "#-----------")
    yield f"time={snapshot.at_ns // _NS_PER_MS}"
    yield f"mem_heap_B={snapshot.size_bytes}"
    yield from ("mem_heap_extra_B=0", "mem_stacks_B=0", f"heap_tree={snapshot.kind}")
    if snapshot.kind != "empty":
        root = _tree(snapshot.by_stack)
        yield from _tree_lines(root, _ROOT, 0, max(1, int(root.size_bytes * _THRESHOLD)))


def _tree(by_stack: Mapping[Group, int]) -> _Node:
    root = _Node()
    for group, size_bytes in by_stack.items():
        frames = group.stack.frames if group.stack else ()
        node = root
        node.size_bytes += size_bytes
        for frame in frames or (Frame(group.name, None, None, None, None, 0),):
            node = node.callers.setdefault(frame, _Node())
            node.size_bytes += size_bytes
    return root


def _tree_lines(node: _Node, name: str, depth: int, least_bytes: int) -> Iterator[str]:
    shown = {frame: each for frame, each in node.callers.items() if each.size_bytes >= least_bytes}
    hidden = [
        each.size_bytes for frame, each in node.callers.items() if frame not in shown and each.size_bytes
    ]
    n_lines = len(shown) + bool(hidden)
    yield f"{' ' * depth}n{n_lines}: {node.size_bytes} {name}"
    for frame, each in sorted(shown.items(), key=lambda item: -item[1].size_bytes):
        yield from _tree_lines(each, _frame(frame), depth + 1, least_bytes)
    if hidden:
        places = f"in {len(hidden)} place{'s' if len(hidden) > 1 else ''}, below massif's threshold (1.00%)"
        yield f"{' ' * (depth + 1)}n0: {sum(hidden)} {places}"


def _frame(frame: Frame) -> str:
    where = (
        f"{frame.file.rpartition('/')[2]}:{frame.line or 0}" if frame.file else f"in {frame.module or '?'}"
    )
    return f"0x{frame.address % (1 << 64):X}: {printable(frame.name)} ({printable(where)})"
