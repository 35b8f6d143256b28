"""
What a recording may cost, and whether it keeps to that: budgets, baselines, verdicts.

A verdict says what holds whatever is missing: `exceeded` if even the least that can be true is too much, `ok`
if even the most is not, else `inconclusive`.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

from gadgetops.errors import BudgetError, StorageError, UsageError
from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.stacks_of import Stack
from gadgetops.questions.leaks.leaks import Leak, Leaks, leaks_in, total
from gadgetops.questions.leaks.suppressions import Suppression
from gadgetops.questions.peak import Peak, peak
from gadgetops.questions.sizes import sizes
from gadgetops.recording.reader import Recording, open_recording
from gadgetops.units import parse_bytes

Verdict = Literal["ok", "inconclusive", "exceeded"]
Name = Literal["leak-bytes", "leaks", "mapped-bytes", "peak", "calls"]

NAMES: Final[dict[Name, str]] = {
    "leak-bytes": "bytes never released",
    "leaks": "allocations never released",
    "mapped-bytes": "bytes never unmapped",
    "peak": "bytes live at the peak",
    "calls": "allocations",
}
"""What can be limited, and that in words."""
MEMORY: Final = {"mapped-bytes": "mappings", "peak": "heap and mappings", "calls": "heap and mappings"}
"""Of what memory each budget is, if not of the heap."""
IN_BYTES: Final = frozenset({"leak-bytes", "mapped-bytes", "peak", "baseline"})
"""Those whose values are bytes."""

_BASELINE_VERSION: Final = 1
_TABLE: Final = ("tool", "gadgetops", "budget")
_PER_CENT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*%")


@dataclass(frozen=True)
class Tolerance:
    """How much more than its baseline a stack may leave: a part of that, or so many bytes."""

    share: Decimal = Decimal(0)
    size_bytes: int = 0

    @classmethod
    def parse(cls, written: str) -> "Tolerance":
        """
        Return what *written* says: `"10%"`, or bytes as `"64k"`.

        Raises:
            UsageError: It says neither.
        """
        match = _PER_CENT.fullmatch(written.strip())
        return cls(share=Decimal(match[1]) / 100) if match else cls(size_bytes=parse_bytes(written))

    def allowed(self, size_bytes: int) -> int:
        """Return what a stack may leave that left *size_bytes*."""
        return size_bytes + self.size_bytes + int(size_bytes * self.share)


@dataclass(frozen=True)
class Baseline:
    """
    What was never released in an earlier recording.

    Args:
        name: Where it is from.
        is_certain: Whether nothing was missing there.
        stacks: Bytes by the stack's fingerprint.
    """

    name: str
    is_certain: bool
    stacks: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return it as it is written to a file."""
        stacks = dict(sorted(self.stacks.items()))
        return {"baseline_version": _BASELINE_VERSION, "certain": self.is_certain, "stacks": stacks}


@dataclass(frozen=True)
class Finding:
    """
    One budget and what was found.

    Args:
        name: One of `NAMES`, or `baseline`.
        limit: What is allowed.
        value: What was seen; for a baseline how many bytes more there are than it allows.
        at_least: Less it cannot be; None where nobody can say.
        at_most: More it cannot be; None where nobody can say.
        verdict: What follows.
        evidence: The stacks to look at, largest first.
    """

    name: str
    limit: int
    value: int
    at_least: int | None
    at_most: int | None
    verdict: Verdict
    evidence: tuple[Leak, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as the documented JSON."""
        return {
            **{name: value for name, value in vars(self).items() if name != "evidence"},
            "memory": MEMORY.get(self.name, "heap"),
            "stacks": [{"fingerprint": fingerprint(leak), **leak.to_json()} for leak in self.evidence],
        }


@dataclass(frozen=True)
class Gate:
    """
    A recording against its budgets.

    Args:
        certainty: How sure the recording is.
        findings: One for each budget.
    """

    certainty: Certainty
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """`exceeded` if any is, else `inconclusive` if any is or nothing was recorded, else `ok`."""
        verdicts = {finding.verdict for finding in self.findings}
        if "exceeded" in verdicts:
            return "exceeded"
        is_open = "inconclusive" in verdicts or self.certainty.word == "inconclusive"
        return "inconclusive" if is_open else "ok"

    def to_json(self) -> dict[str, Any]:
        """Return all of it as the documented JSON."""
        findings = [finding.to_json() for finding in self.findings]
        return {"verdict": self.verdict, **self.certainty.to_json(), "budgets": findings}


def fingerprint(leak: Leak) -> str:
    """Return what the stack of *leak* is called by in every recording."""
    return Stack(leak.stack, leak.no_stack).fingerprint


def read_budget(path: Path) -> dict[Name, int]:
    """
    Return the limits in a TOML file: its table `tool.gadgetops.budget` if it has a `tool`, else its table
    `budget`, else all of it.

    Raises:
        BudgetError: It is no TOML, or says something that is no limit.
        StorageError: It cannot be read.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BudgetError(path, str(error)) from error
    for key in _TABLE if "tool" in document else ():
        document = document.get(key, {})
        if not isinstance(document, dict):
            raise BudgetError(path, f"{key}: expected a table, got {type(document).__name__}")
    own = document.get("budget")
    limits = own if isinstance(own, dict) else document
    return {_name(path, key): _limit(path, key, value) for key, value in limits.items()}


def _name(path: Path, key: str) -> Name:
    for name in NAMES:
        if key.replace("_", "-") == f"max-{name}":
            return name
    known = ", ".join(f"max-{name}" for name in NAMES)
    raise BudgetError(path, f"{key}: no such limit", hint=f"there are {known}")


def _limit(path: Path, key: str, value: object) -> int:
    if type(value) is int and value >= 0:
        return value
    if isinstance(value, str) and _name(path, key) in IN_BYTES:
        try:
            return parse_bytes(value)
        except UsageError as error:
            raise BudgetError(path, f"{key}: {error.problem}", hint=error.hint) from error
    raise BudgetError(path, f"{key}: expected a number of 0 or more, got {value!r}")


def read_baseline(path: Path) -> Baseline:
    """
    Return what *path* holds: a recording, or a file of `Baseline.to_json`.

    Raises:
        BudgetError: A file that is no baseline.
        RecordingError: The recording cannot be read.
        StorageError: The file cannot be read.
    """
    if path.is_dir():
        return baseline_of(path.name, leaks_in(path))
    try:
        document = json.loads(path.read_bytes())
        if document["baseline_version"] != _BASELINE_VERSION:
            raise BudgetError(path, f"expected baseline_version {_BASELINE_VERSION}")
        stacks = {str(name): int(value) for name, value in document["stacks"].items()}
        return Baseline(path.name, document["certain"] is True, stacks)
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "name a recording, or what `check --write-baseline` wrote"
        raise BudgetError(path, "not a baseline", hint=hint) from error


def baseline_of(name: str, found: Leaks) -> Baseline:
    """Return *found* as the baseline of later recordings."""
    return Baseline(name, found.certainty.word == "certain", _by_fingerprint(_evidence("leak-bytes", found)))


def check(
    path: Path,
    limits: Mapping[Name, int],
    baseline: Baseline | None = None,
    *,
    tolerance: Tolerance = Tolerance(),
    suppressions: Sequence[Suppression] = (),
) -> Gate:
    """
    Return whether the recording in the folder *path* keeps to *limits* and, stack by stack, to *baseline*.

    Raises:
        RecordingError: It cannot be read.
    """
    found = leaks_in(path).without(suppressions)
    findings = []
    for name in (each for each in NAMES if each in limits):
        value, at_least, at_most = _measured(name, path, found)
        evidence = _evidence(name, found)
        findings.append(_finding(name, limits[name], value, at_least, at_most, evidence))
    if baseline is not None:
        findings.append(_against(baseline, found, tolerance))
    return Gate(found.certainty, tuple(findings))


def _evidence(name: Name, found: Leaks) -> tuple[Leak, ...]:
    """Return the stacks that a budget is about, the largest first."""
    if name in ("peak", "calls"):
        return ()
    is_mapping = name == "mapped-bytes"
    chosen = (leak for leak in found.leaks if leak.is_mapping == is_mapping)
    return tuple(sorted(chosen, key=lambda leak: -leak.live_bytes))


def _measured(name: Name, path: Path, found: Leaks) -> tuple[int, int | None, int | None]:
    """Return what was seen, and between what the truth lies."""
    bounds, live = found.heap_bounds, found.heap.live
    left = total(_evidence(name, found))
    if name == "leak-bytes":
        return _shifted(left.size_bytes, live.size_bytes, bounds.at_least_bytes, bounds.at_most_bytes)
    if name == "leaks":
        return _shifted(left.count, live.count, bounds.at_least_count, bounds.at_most_count)
    if name == "mapped-bytes":
        # A lost munmap() may have taken all mappings.
        is_whole = found.certainty.knows_lost and not found.certainty.lost and not found.certainty.is_sample
        return left.size_bytes, left.size_bytes if is_whole else 0, left.size_bytes if is_whole else None
    if name == "calls":
        sure, count = found.certainty, found.allocated.count
        return count, count, count + sure.lost if sure.knows_lost and not sure.is_sample else None
    recording = open_recording(path)
    return _peak_bounds(recording, peak(recording, group_by=None))


def _shifted(
    left: int, live: int, at_least: int | None, at_most: int | None
) -> tuple[int, int | None, int | None]:
    """Return the bounds of what is *left* of *live* after suppressions: what is missing may be part of it."""
    return (
        left,
        None if at_least is None else max(0, left - (live - at_least)),
        None if at_most is None else left + (at_most - live),
    )


def _peak_bounds(recording: Recording, highest: Peak) -> tuple[int, int | None, int | None]:
    sure = highest.certainty
    if len(sure.reasons) == (1 if sure.failed_stacks else 0):
        # Stacks alone are missing.
        return highest.live.size_bytes, highest.live.size_bytes, highest.live.size_bytes
    # A lost release makes the peak seem higher; but what was allocated was live then.
    buckets = [bucket.min_bytes for group in sizes(recording).groups for bucket in group.buckets]
    return highest.live.size_bytes, max(buckets, default=0), None


def _finding(
    name: str, limit: int, value: int, at_least: int | None, at_most: int | None, evidence: tuple[Leak, ...]
) -> Finding:
    if at_least is not None and at_least > limit:
        verdict: Verdict = "exceeded"
    elif at_most is not None and at_most <= limit:
        verdict = "ok"
    else:
        verdict = "inconclusive"
    return Finding(name, limit, value, at_least, at_most, verdict, () if verdict == "ok" else evidence)


def _against(baseline: Baseline, found: Leaks, tolerance: Tolerance) -> Finding:
    """Return by how many bytes stacks are above their baseline, all of them together."""
    leaks = _evidence("leak-bytes", found)
    left = _by_fingerprint(leaks)
    over = {
        name: size_bytes - tolerance.allowed(baseline.stacks.get(name, 0))
        for name, size_bytes in left.items()
        if size_bytes > tolerance.allowed(baseline.stacks.get(name, 0))
    }
    value = sum(over.values())
    evidence = tuple(leak for leak in leaks if fingerprint(leak) in over)
    if not baseline.is_certain:
        # What it lacks may be as much as anything.
        return _finding("baseline", 0, value, None, None, evidence)
    bounds = found.heap_bounds
    shifted = _shifted(value, found.heap.live.size_bytes, bounds.at_least_bytes, bounds.at_most_bytes)
    return _finding("baseline", 0, *shifted, evidence)


def _by_fingerprint(found: Iterable[Leak]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for leak in found:
        name = fingerprint(leak)
        sums[name] = sums.get(name, 0) + leak.live_bytes
    return sums
