"""
How far an answer can be believed: what is missing from a recording, in numbers and in words.

Anything missing makes an answer `possible` instead of `certain`; how far off it may be depends on the
question. For what is live, `Bounds` says it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from gadgetops.questions.asking.windows import windows_of
from gadgetops.units import plural

if TYPE_CHECKING:
    from gadgetops.recording.reader import Recording

_NO_COOKIES: Final = "the kernel has no attach cookies (Linux 5.15 has)"
_UNCHECKED: Final = "the recording has no checksums, as those of older versions: damage in it is not noticed"
_ENDED_EARLY: Final = {
    "interrupted": "was ended",
    "duration": "ended by --duration",
    "max-events": "ended by --max-events",
    "max-bytes": "ended by --max-bytes",
}
"""End of a recording -> that in words."""

Word = Literal["certain", "possible", "inconclusive"]


class Seen(NamedTuple):
    """
    What the events and pairs themselves say of what is missing.

    Args:
        lost: Events lost up to the last one, as the gadget counted.
        failed_stacks: Allocations whose stack could not be collected.
        unseen_releases: Allocations that must have been released, since their address was given again.
    """

    lost: int
    failed_stacks: int
    unseen_releases: int


class Certainty(NamedTuple):
    """
    How sure an answer is.

    Args:
        word: `certain` if nothing is missing, `inconclusive` if nothing was recorded, else `possible`.
        reasons: Why it is not certain, a sentence each; empty if it is.
        lost: Events that are known to be missing.
        knows_lost: Whether those are all.
        failed_stacks: Allocations whose stack could not be collected.
        is_sample: Whether allocations are missing that no counter has: the recorder was told to leave some
            out, or did not reach a process in time.
        notes: What of the program's memory no recording of this kind can show, a sentence each.
    """

    word: Word
    reasons: tuple[str, ...]
    lost: int
    knows_lost: bool
    failed_stacks: int
    is_sample: bool
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as the documented JSON; `lost` is null where nobody knows how many are."""
        return {
            "certainty": self.word,
            "reasons": [*self.reasons],
            "lost": self.lost if self.knows_lost else None,
            "failed_stacks": self.failed_stacks,
            "notes": [*self.notes],
        }


class Bounds(NamedTuple):
    """
    Between what the truth lies; None where nobody can say.

    Args:
        at_least_bytes: Less cannot be live.
        at_least_count: Likewise, in allocations.
        at_most_bytes: More cannot be live. A lost event may have been an allocation of any size.
        at_most_count: Likewise, in allocations.
    """

    at_least_bytes: int | None
    at_least_count: int | None
    at_most_bytes: int | None
    at_most_count: int | None

    def less(self, size_bytes: int, count: int) -> "Bounds":
        """Return the bounds of what is left without so much of it."""
        taken = (size_bytes, count, size_bytes, count)
        found = (None if bound is None else max(0, bound - by) for bound, by in zip(self, taken, strict=True))
        return Bounds(*found)

    def to_json(self) -> dict[str, Any]:
        """Return them as the documented JSON."""
        return self._asdict()


def certainty(recording: "Recording", seen: Seen, notes: tuple[str, ...] = ()) -> Certainty:
    """Return how sure answers from all of *recording* are, of whose events *seen* is known, with *notes*."""
    counters = recording.counters
    lost = max(seen.lost, counters.get("lost", 0), counters.get("lost_at_least", 0))
    failed = max(seen.failed_stacks, counters.get("failed_stacks", 0))
    knows_lost = _knows_lost(recording)
    reasons = (
        *_reasons(recording, lost + (recording.n_missing or 0), failed, seen.unseen_releases),
        *recording.problems,
        *_windows(recording),
        *_left_out(recording),
        *_out_of_reach(recording),
        *_ended_early(recording),
    )
    return Certainty(
        word="inconclusive" if not recording.n_events else "possible" if reasons else "certain",
        reasons=reasons,
        lost=lost + (recording.n_missing or 0),
        knows_lost=knows_lost,
        failed_stacks=failed,
        is_sample=any(True for _ in (*_windows(recording), *_left_out(recording), *_out_of_reach(recording))),
        notes=(*notes, *(() if recording.is_checked else (_UNCHECKED,))),
    )


def bounds(sure: Certainty, live: tuple[int, int], most_false: tuple[int, int]) -> Bounds:
    """
    Return between what lies that which is live, as bytes and number of allocations.

    Each lost event can have released a block or, as munmap(), all mappings of a process; or it was an
    allocation, of any size. What was left out of a sample is not known either.

    Args:
        live: What is seen to be live.
        most_false: The most of it that as many lost events can have released.
    """
    least = (live[0] - most_false[0], live[1] - most_false[1]) if sure.knows_lost else (None, None)
    is_all = sure.knows_lost and not sure.is_sample
    return Bounds(
        at_least_bytes=least[0],
        at_least_count=least[1],
        at_most_bytes=live[0] if is_all and not sure.lost else None,
        at_most_count=live[1] + sure.lost if is_all else None,
    )


def _windows(recording: "Recording") -> Iterator[str]:
    windows = windows_of(recording.header)
    if windows is not None:
        yield windows.sentence


def _knows_lost(recording: "Recording") -> bool:
    return windows_of(recording.header) is None and _knows_lost_in_windows(recording)


def _knows_lost_in_windows(recording: "Recording") -> bool:
    """Return whether the events are known that are missing of what probes were in for."""
    counters = recording.header.get("counters")
    if isinstance(counters, dict):
        return counters.get("lost") is not None
    # Cut off, or still being recorded: the events say what was lost before them, if all of them are read and
    # the gadget is ours; whose gadget printed what is imported, its end alone says.
    is_ours = bool(recording.header) and "import" not in recording.header
    return is_ours and len(recording.problems) <= 1


def _reasons(recording: "Recording", lost: int, failed_stacks: int, unseen: int) -> Iterator[str]:
    if not recording.n_events:
        yield "no event was recorded"
    if lost:
        yield f"{plural(lost, 'event')} lost: each may have been a release, or an allocation"
    if not _knows_lost_in_windows(recording):
        yield "events may be lost that nobody counted"
    if unseen and not lost:
        yield f"{plural(unseen, 'release')} not seen: the address was given again"
    if failed_stacks:
        yield f"{plural(failed_stacks, 'allocation')} without a stack: it could not be collected"


def _left_out(recording: "Recording") -> Iterator[str]:
    """Say what the recorder was told to leave out."""
    every = _parameter(recording, "sample_every")
    if every > 1:
        yield f"a sample: the blocks at one address in {every} alone were recorded"
    smallest = _parameter(recording, "min_size")
    if smallest > 0:
        yield f"allocations of fewer than {plural(smallest, 'byte')} were not recorded"


def _out_of_reach(recording: "Recording") -> Iterator[str]:
    """Say which processes were not recorded, or not from their beginning, and which functions were not."""
    target = recording.header.get("target")
    target = target if isinstance(target, dict) else {}
    n_missed, n_late = (target.get(key) for key in ("n_not_covered", "n_attached_late"))
    if isinstance(n_missed, int) and n_missed:
        reason = _first_reason(target.get("not_covered"))
        yield f"{plural(n_missed, 'process', 'processes')} not recorded{reason}"
    if isinstance(n_late, int) and n_late:
        yield f"{plural(n_late, 'time')} a process or library was reached after it began"
    left_out = target.get("left_out")
    for path, names in left_out.items() if isinstance(left_out, dict) else ():
        if isinstance(names, list):
            yield f"calls of {', '.join(map(str, names))} in {path} are not seen: {_NO_COOKIES}"


def _ended_early(recording: "Recording") -> Iterator[str]:
    """Say that a command, or something it started, went on when the recording ended."""
    target, end = recording.header.get("target"), recording.header.get("end")
    if not isinstance(target, dict) or end not in _ENDED_EARLY:
        return
    n_going_on = target.get("n_going_on")
    if "command" in target and n_going_on != 0:
        who = "what the command started" if target.get("has_ended") is True else "the command"
        yield f"{who} went on when the recording {_ENDED_EARLY[end]}: it may release more"
    elif end.startswith("max-"):
        yield f"the recording {_ENDED_EARLY[end]}: what came later is not in it"


def _first_reason(missed: object) -> str:
    first = missed[0] if isinstance(missed, list) and missed else None
    return f": {first['why']}" if isinstance(first, dict) and isinstance(first.get("why"), str) else ""


def _parameter(recording: "Recording", name: str) -> int:
    parameters = recording.header.get("parameters")
    for key, value in parameters.items() if isinstance(parameters, dict) else ():
        if key.replace("-", "_") == name:
            try:
                return int(str(value), 0)
            except ValueError:
                return 0
    return 0
