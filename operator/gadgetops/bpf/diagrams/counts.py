"""
How often the edges of a complete graph were taken, by what is known of how often its programs ran.

The kernel counts runs of programs, not calls of helpers. A call that no run avoids was made at least as often
as its program ran; one that no run makes twice, at most as often.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from gadgetops.bpf.diagrams.complete import CompleteGraph, Use
from gadgetops.bpf.diagrams.paths import Paths
from gadgetops.bpf.object import Program

OUTPUTS: Final = frozenset({"EventOutput", "RingbufOutput", "RingbufReserve"})
"""Verbs that send an event; a gadget made for both kinds of buffer has two, of which a run takes one."""

_PERF_OUTPUT: Final = "EventOutput"
_ENTRIES: Final = {"uretprobe": "uprobe", "kretprobe": "kprobe", "fexit": "fentry"}
"""By the kind of a program at the return of calls: the kind of those at their beginning."""


class Count(NamedTuple):
    """
    How often something happened.

    Attributes:
        least: At least so often.
        most: At most so often; None if there is no telling.
    """

    least: int
    most: int | None

    @classmethod
    def exactly(cls, number: int) -> "Count":
        """Return the count that is known."""
        return cls(number, number)

    def __str__(self) -> str:
        """Return `1,234`, `≤ 1,234`, `≥ 1,234` or `1 to 1,234`; nothing if nothing is known."""
        if self.most is None:
            return f"≥ {self.least:,}" if self.least else ""
        if self.least == self.most:
            return f"{self.most:,}"
        return f"{self.least:,} to {self.most:,}" if self.least else f"≤ {self.most:,}"


UNKNOWN: Final = Count(0, None)
at_least = partial(Count, most=None)
"""Return the count of which only this much is known."""
Key = tuple[str, str, str]
"""A use: its program, verb and map."""


@dataclass(frozen=True)
class Counts:
    """
    Counts for a drawing.

    Attributes:
        caption: What was counted, when and for how long: a sentence.
        runs: How often each program ran.
        uses: How often each use was made.
        maps: What is known of maps besides, in few words.
    """

    caption: str
    runs: Mapping[str, Count]
    uses: Mapping[Key, Count]
    maps: Mapping[str, str] = field(default_factory=dict)


def of_runs(
    graph: CompleteGraph, programs: Iterable[Program], runs: Mapping[str, int]
) -> Mapping[Key, Count]:
    """
    Return how often each use of *graph* was made.

    Args:
        graph: The graph.
        programs: The programs of its object.
        runs: How often each program ran; those that are missing did not.
    """
    found = {}
    for program, uses, paths in _by_program(graph, programs):
        n_runs = runs.get(program, 0)
        for use in uses:
            least = n_runs if paths.always_passes(use.certain_sites) else 0
            is_bounded = n_runs == 0 or paths.passes_once(use.sites)
            found[_key(use)] = Count(least, n_runs if is_bounded else None)
    return found


def of_events(
    graph: CompleteGraph, programs: Iterable[Program], events: Mapping[str, int], *, by_ring: bool
) -> tuple[Mapping[str, Count], Mapping[Key, Count]]:
    """
    Return how often each program ran and each use was made at least, as far as events tell.

    Args:
        graph: The graph.
        programs: The programs of its object.
        events: How many of each program arrived; it may have sent more.
        by_ring: Whether they are known to have come through a ring buffer.
    """
    runs = _runs_of_events(graph, events)
    found = {}
    for program, uses, paths in _by_program(graph, programs):
        sent = at_least(events.get(program, 0))
        outputs = {use.verb: use.sites for use in uses if use.verb in OUTPUTS}
        ways = outputs.keys() - ({_PERF_OUTPUT} if by_ring and len(outputs) > 1 else set())
        for use in uses:
            if use.verb in outputs:
                found[_key(use)] = sent if ways == {use.verb} else UNKNOWN
                if use.verb not in ways:
                    found[_key(use)] = Count.exactly(0)
            elif paths.always_passes(use.certain_sites):
                found[_key(use)] = runs[program]
            elif paths.always_passes(use.certain_sites, before=frozenset().union(*outputs.values())):
                found[_key(use)] = sent
    return runs, found


def _runs_of_events(graph: CompleteGraph, events: Mapping[str, int]) -> dict[str, Count]:
    """Return how often programs ran at least: to send, or before the program at the same call's return."""
    at_entry: dict[str, int] = {}
    for program, n_events in events.items():
        kind, _, place = graph.programs.get(program, "").partition("/")
        if kind in _ENTRIES:
            section = f"{_ENTRIES[kind]}/{place}"
            at_entry[section] = at_entry.get(section, 0) + n_events
    return {
        program: at_least(max(events.get(program, 0), at_entry.get(section, 0)))
        for program, section in graph.programs.items()
    }


def _by_program(graph: CompleteGraph, programs: Iterable[Program]) -> Iterator[tuple[str, list[Use], Paths]]:
    for program in programs:
        yield program.name, [use for use in graph.uses if use.program == program.name], Paths(program)


def _key(use: Use) -> Key:
    return use.program, use.verb, use.map
