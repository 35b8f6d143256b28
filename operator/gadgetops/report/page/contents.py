"""What a report carries: a header for JSON, and columns of numbers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gadgetops import __version__
from gadgetops.questions.asking.stacks_of import Frame, Stack
from gadgetops.questions.asking.wrappers import wrappers
from gadgetops.questions.diff import Diff
from gadgetops.questions.leaks.leaks import Leak, Leaks
from gadgetops.questions.slots.slot_sums import Histogram, SlotSums
from gadgetops.recording.reader import Recording
from gadgetops.report.page.packing import Column, packed
from gadgetops.report.page.sources import source_lines
from gadgetops.report.page.verdict import verdict

_SIGNED: Final = frozenset({"change_bytes", "change_count", "rise_bytes", "rise_count"})
_MOST_LEAKS: Final = 200


@dataclass(frozen=True)
class Contents:
    """
    What a report is made of.

    Args:
        recordings: What it is about, one or several.
        answers: For each of them what it never released.
        sums: Of all of them together.
        compared: Each measure's comparison with another recording; empty without one.
        compared_with: That recording's name.
        has_sources: Whether lines of source files are shown.
    """

    recordings: tuple[Recording, ...]
    answers: tuple[Leaks, ...]
    sums: SlotSums
    compared: tuple[Diff, ...] = ()
    compared_with: str | None = None
    has_sources: bool = False

    @property
    def title(self) -> str:
        """What was recorded: the command, or the recordings' names."""
        return title_of(self.recordings)

    def packed(self) -> bytes:
        """Return all of it as `packing` writes it."""
        stacks = _Stacks(self.sums.stacks)
        header = {
            "version": 1,
            "tool": f"gadgetops {__version__}",
            "title": self.title,
            "recordings": [_recording(each) for each in self.recordings],
            "verdict": verdict(self.answers).to_json(),
            "certainty": self.sums.certainty.to_json(),
            "bounds": self.answers[0].bounds.to_json() if len(self.answers) == 1 else None,
            "leaks": [*self._leaks(stacks)],
            "leak_count": sum(len(answer.leaks) for answer in self.answers),
            "duration_ns": self.sums.duration_ns,
            "width_ns": self.sums.width_ns,
            "slot_count": self.sums.n_slots,
            "point_ns": self.sums.point_ns,
            "facets": self.sums.facets,
            "threads": self.sums.threads,
            "compared": self._compared(stacks),
        }
        # Stacks of the comparison are known only now.
        names = stacks.header()
        sources = source_lines(stacks.frames) if self.has_sources else None
        return packed({**header, **names, "sources": sources}, {**stacks.columns(), **_columns(self.sums)})

    def _leaks(self, stacks: "_Stacks") -> Iterable[dict[str, Any]]:
        for recording, answer in zip(self.recordings, self.answers, strict=True):
            for leak in answer.leaks[:_MOST_LEAKS]:
                yield {**_leak(leak), "recording": recording.path.name, "stack": stacks.number(_stack(leak))}

    def _compared(self, stacks: "_Stacks") -> dict[str, Any] | None:
        if not self.compared:
            return None
        measures = {
            diff.by: [
                [
                    stacks.number(row.group.stack or Stack((), row.group.name)),
                    round(row.scaled_before),
                    row.after.count if diff.by in ("calls", "temporary") else row.after.size_bytes,
                ]
                for row in diff.rows
            ]
            for diff in self.compared
        }
        first = self.compared[0]
        sure = {"before": first.certainty_before.word, "after": first.certainty_after.word}
        scale = {"per": first.per, "scale": first.scale}
        return {"name": self.compared_with, "measures": measures, "certainty": sure, **scale}


def title_of(recordings: Sequence[Recording]) -> str:
    """Return what *recordings* are called: the command, or their names."""
    name = _command(recordings[0]) if len(recordings) == 1 else None
    more = f" and {len(recordings) - 3} more" if len(recordings) > 3 else ""
    return name or ", ".join(recording.path.name for recording in recordings[:3]) + more


class _Stacks:
    """The stacks of a report, numbered; each name and each frame is written once."""

    def __init__(self, stacks: Sequence[Stack]) -> None:
        self._strings: dict[str, int] = {}
        self._frames: dict[tuple[Any, ...], int] = {}
        self.frames: list[Frame] = []
        self._stacks: list[Stack] = []
        self._frame_ids: list[list[int]] = []
        self._numbers: dict[Any, int] = {}
        self._places: dict[int, int] = {}
        for stack in stacks:
            self._add(stack)

    def number(self, stack: Stack) -> int:
        """Return the number of *stack*, a new one if it is not among them."""
        ids = self._ids(stack)
        known = self._numbers.get(self._key(stack, ids))
        return self._add(stack) if known is None else known

    def header(self) -> dict[str, Any]:
        """Return names, and which stacks are empty and why."""
        empty = {
            number: stack.no_stack for number, stack in enumerate(self._stacks) if stack.no_stack is not None
        }
        return {"strings": [*self._strings], "empty_stacks": empty}

    def columns(self) -> dict[str, Column]:
        """Return the frames, a column each property (0: unknown), and the stacks, root first."""
        columns = {
            "frame_name": [self._string(frame.name) for frame in self.frames],
            "frame_file": [self._string(frame.file) for frame in self.frames],
            "frame_line": [frame.line or 0 for frame in self.frames],
            "frame_module": [self._string(frame.module) for frame in self.frames],
        }
        lengths = [len(ids) for ids in self._frame_ids]
        flat = [each for ids in self._frame_ids for each in reversed(ids)]
        return {
            **{name: Column(np.array(values, dtype=np.int64)) for name, values in columns.items()},
            "stack_length": Column(np.array(lengths, dtype=np.int64)),
            "stack_frame": Column(np.array(flat, dtype=np.int64), "difference"),
        }

    def _add(self, stack: Stack) -> int:
        ids = self._ids(stack)
        number = len(self._stacks)
        self._stacks.append(stack)
        self._frame_ids.append(ids)
        return self._numbers.setdefault(self._key(stack, ids), number)

    def _ids(self, stack: Stack) -> list[int]:
        # Most frames are the same objects in many stacks, and are found without looking into them.
        known = map(self._places.get, map(id, stack.frames))
        return [
            self._frame(frame) if number is None else number
            for frame, number in zip(stack.frames, known, strict=True)
        ]

    @staticmethod
    def _key(stack: Stack, ids: list[int]) -> Any:
        return tuple(ids) or stack.no_stack

    def _frame(self, frame: Frame) -> int:
        number = self._frames.setdefault(frame.identity, len(self.frames))
        if number == len(self.frames):
            self.frames.append(frame)
            for name in (frame.name, frame.file, frame.module):
                self._string(name)
        self._places[id(frame)] = number
        return number

    def _string(self, text: str | None) -> int:
        """Return the number of *text* from 1 on; 0 where it is unknown."""
        return 0 if text is None else self._strings.setdefault(text, len(self._strings)) + 1


def _columns(sums: SlotSums) -> dict[str, Column]:
    rows = sums.rows
    keys = {name: Column(getattr(rows, name), "difference") for name in rows._fields[:3]}
    values = {
        name: Column(getattr(rows, name), "signed" if name in _SIGNED else "plain")
        for name in rows._fields[3:]
    }
    curve = {
        "highest_bytes": Column(sums.highest_bytes, "difference"),
        "highest_ns": Column(sums.highest_ns, "difference"),
        "live_bytes": Column(sums.live_bytes, "difference"),
        "live_most": Column(sums.live_most, "difference"),
        "allocated_count": Column(sums.allocated_count),
        "resident_bytes": Column(sums.resident_bytes, "difference"),
    }
    return {
        **{f"row_{name}": column for name, column in {**keys, **values}.items()},
        **{f"curve_{name}": column for name, column in curve.items()},
        **_histogram("size", sums.sizes, ("allocated_bytes", "allocated_count", "left_bytes", "left_count")),
        **_histogram("lifetime", sums.lifetimes, ("allocated_count",)),
    }


def _histogram(name: str, found: Histogram, sums: Sequence[str]) -> dict[str, Column]:
    keys = {"thread": found.thread, "slot": found.slot, "digits": found.digits}
    return {
        **{f"{name}_{key}": Column(values, "difference") for key, values in keys.items()},
        **{f"{name}_{key}": Column(values) for key, values in zip(sums, found.sums, strict=True)},
    }


def _stack(leak: Leak) -> Stack:
    return Stack(leak.stack, leak.no_stack)


def _leak(leak: Leak) -> dict[str, Any]:
    return {
        "bytes": leak.live_bytes,
        "count": leak.live_count,
        "oldest_ns": leak.oldest_ns,
        "youngest_ns": leak.youngest_ns,
        # How far from the innermost frame: what is between only passes allocations on.
        "place": leak.stack.index(place) if (place := wrappers().place(leak.stack)) else 0,
        "owner": f"mapping: {leak.owner}" if leak.owner else "mapping" if leak.is_mapping else None,
        "kind": leak.trend.kind,
        "reason": leak.trend.sentence,
    }


def _recording(recording: Recording) -> dict[str, Any]:
    header = recording.header
    return {
        "name": recording.path.name,
        "path": str(recording.path),
        "command": _command(recording),
        "event_count": recording.n_events,
        "started_at_ns": header.get("started_at_ns") if type(header.get("started_at_ns")) is int else None,
        "host": _text(_mapping(header.get("host")).get("name")),
        "image": _text(_mapping(header.get("image")).get("reference")),
        "labels": {str(key): str(value) for key, value in _mapping(header.get("labels")).items()},
    }


def _command(recording: Recording) -> str | None:
    command = _mapping(recording.header.get("target")).get("command")
    return " ".join(map(str, command)) if isinstance(command, list) and command else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
