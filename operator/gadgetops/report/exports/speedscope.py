"""speedscope's own format: a weighted profile for each measure, over one table of frames, root first."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gadgetops import __version__
from gadgetops.questions.asking.groups import Group
from gadgetops.questions.asking.question import Amount
from gadgetops.questions.asking.stacks_of import Frame, Stack
from gadgetops.questions.top import measured, totals
from gadgetops.report.answers import printable
from gadgetops.report.exports.export import Export

_SCHEMA: Final = "https://www.speedscope.app/file-format-schema.json"


def write(export: Export, path: Path) -> str:
    """
    Write the sums by stack to *path* and return how sure they are.

    Raises:
        RecordingError: The recording could not be read.
    """
    certainty, sums = totals(export.recording, export.filters, "stack")
    parts = {
        "not released": {each.group: each.live for each in sums},
        "allocated": {each.group: each.allocated for each in sums},
        "live at the peak": measured(export.recording, "peak", export.filters)[1],
        "temporary": measured(export.recording, "temporary", export.filters)[1],
    }
    document = to_speedscope(parts, export.recording.path.name)
    path.write_bytes(json.dumps(document, separators=(",", ":")).encode())
    return certainty.word


def to_speedscope(parts: Mapping[str, Mapping[Group, Amount]], name: str) -> dict[str, Any]:
    """
    Return *parts* as a document of speedscope.

    Args:
        parts: For each of the four measures the amounts by stack.
        name: Of the recording.
    """
    numbers: dict[tuple[Any, ...], int] = {}
    frames: list[dict[str, Any]] = []
    profiles = []
    for measures in (("not released", "allocated"), ("live at the peak", "temporary")):
        for unit, measure in itertools.product(("bytes", "none"), measures):
            amounts, noun = parts[measure], "bytes" if unit == "bytes" else "allocations"
            weights = {
                group.stack: amount.size_bytes if unit == "bytes" else amount.count
                for group, amount in amounts.items()
                if group.stack is not None
            }
            profiles.append(_weighted(f"{measure} ({noun})", unit, weights, (numbers, frames)))
    return {
        "$schema": _SCHEMA,
        "name": name,
        "exporter": f"gadgetops {__version__}",
        "activeProfileIndex": 0,
        "shared": {"frames": frames},
        "profiles": profiles,
    }


def _weighted(
    name: str,
    unit: str,
    weights: Mapping[Stack, int],
    tables: tuple[dict[tuple[Any, ...], int], list[dict[str, Any]]],
) -> dict[str, Any]:
    """Return one profile, the heaviest stack first; stacks that weigh nothing are left out."""
    kept = sorted(((weight, stack) for stack, weight in weights.items() if weight), key=_rank)
    return {
        "type": "sampled",
        "name": name,
        "unit": unit,
        "startValue": 0,
        "endValue": sum(weights.values()),
        "samples": [_numbered(stack, *tables) for _, stack in kept],
        "weights": [weight for weight, _ in kept],
    }


def _rank(weighted: tuple[int, Stack]) -> tuple[int, str]:
    return -weighted[0], weighted[1].name


def _numbered(stack: Stack, numbers: dict[tuple[Any, ...], int], frames: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of a stack's frames root first, and add to *frames* those that are new."""
    found = []
    for frame in reversed(stack.frames or (Frame(stack.name, None, None, None, None, 0),)):
        key = frame.identity
        if key not in numbers:
            numbers[key] = len(frames)
            frames.append(_frame(frame))
        found.append(numbers[key])
    return found


def _frame(frame: Frame) -> dict[str, Any]:
    known = {"file": frame.file or frame.module, "line": frame.line}
    return {
        "name": printable(frame.name),
        **{key: value for key, value in known.items() if value is not None},
    }
