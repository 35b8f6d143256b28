"""speedscope's own format: four weighted profiles over one table of frames, root first."""

from typing import Any, Final

from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.profile import Profile, Sample
from gadgetops.report.answers import printable

_SCHEMA: Final = "https://www.speedscope.app/file-format-schema.json"


def to_speedscope(profile: Profile, name: str, exporter: str) -> dict[str, Any]:
    """
    Return *profile* as a document of speedscope: bytes and allocations, not released and in all.

    Args:
        profile: What is shown.
        name: Of the recording.
        exporter: Program and version that made it.
    """
    numbers: dict[tuple[Any, ...], int] = {}
    frames: list[dict[str, Any]] = []
    samples = [_numbered(sample, numbers, frames) for sample in profile.samples]
    views = [
        ("not released (bytes)", "bytes", [sample.live.size_bytes for sample in profile.samples]),
        ("allocated (bytes)", "bytes", [sample.allocated.size_bytes for sample in profile.samples]),
        ("not released (allocations)", "none", [sample.live.count for sample in profile.samples]),
        ("allocated (allocations)", "none", [sample.allocated.count for sample in profile.samples]),
    ]
    return {
        "$schema": _SCHEMA,
        "name": name,
        "exporter": exporter,
        "activeProfileIndex": 0,
        "shared": {"frames": frames},
        "profiles": [_weighted(*view, samples) for view in views],
    }


def _weighted(name: str, unit: str, weights: list[int], samples: list[list[int]]) -> dict[str, Any]:
    """Return one profile; stacks that weigh nothing are left out."""
    kept = [number for number, weight in enumerate(weights) if weight]
    return {
        "type": "sampled",
        "name": name,
        "unit": unit,
        "startValue": 0,
        "endValue": sum(weights),
        "samples": [samples[number] for number in kept],
        "weights": [weights[number] for number in kept],
    }


def _numbered(sample: Sample, numbers: dict[tuple[Any, ...], int], frames: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of a stack's frames root first, and add to *frames* those that are new."""
    found = []
    for frame in reversed(sample.stack.frames or (_no_frame(sample),)):
        key = frame.identity
        if key not in numbers:
            numbers[key] = len(frames)
            frames.append(_frame(frame))
        found.append(numbers[key])
    return found


def _no_frame(sample: Sample) -> Frame:
    return Frame(sample.stack.name, None, None, None, None, 0)


def _frame(frame: Frame) -> dict[str, Any]:
    known = {"file": frame.file or frame.module, "line": frame.line}
    return {
        "name": printable(frame.name),
        **{key: value for key, value in known.items() if value is not None},
    }
