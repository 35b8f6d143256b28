"""What a recording comes to so far."""

from collections.abc import Mapping
from dataclasses import dataclass

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.question import NOTHING, Amount
from gadgetops.questions.asking.stacks_of import Stack
from gadgetops.questions.leaks.verdict import Trend


@dataclass(frozen=True)
class LiveStack:
    """
    One stack.

    Args:
        stack: Its frames.
        live: What it allocated and nobody released.
        allocated: All that it allocated.
        trend: Whether it grows.
        curve: Its live bytes at the end of each slot of time.
    """

    stack: Stack
    live: Amount
    allocated: Amount
    trend: Trend
    curve: tuple[int, ...]


@dataclass(frozen=True)
class Snapshot:
    """
    A recording at a moment.

    Args:
        certainty: How sure it is.
        n_events: Events that are paired.
        duration_ns: From the first to the last of them.
        events_per_s: Since the snapshot before; in all, if it is the first.
        width_ns: How long a slot of time is.
        live: What is not released.
        allocated: All allocations.
        curve: Live bytes at the end of each slot of time.
        rates: Allocations in each slot of time.
        stacks: Those with most live, and those that allocated most; most live first.
        n_behind: Segments that are there and not paired yet.
        is_ended: Whether nothing more comes.
    """

    certainty: Certainty
    n_events: int
    duration_ns: int
    events_per_s: float
    width_ns: int
    live: Amount
    allocated: Amount
    curve: tuple[int, ...]
    rates: tuple[int, ...]
    stacks: tuple[LiveStack, ...]
    n_behind: int
    is_ended: bool

    @property
    def growing(self) -> tuple[LiveStack, ...]:
        """The stacks that grow like a leak."""
        return tuple(each for each in self.stacks if each.trend.kind == "growing")

    def by_fingerprint(self) -> Mapping[str, LiveStack]:
        """Return the stacks by what they are called by in every snapshot."""
        return {each.stack.fingerprint: each for each in self.stacks}


@dataclass(frozen=True)
class Mark:
    """
    A moment that was marked, and what stacks had then.

    Args:
        snapshot: As it was.
    """

    snapshot: Snapshot

    def since(self, now: LiveStack) -> tuple[Amount, Amount]:
        """Return by how much *now* is more live than at the mark, and how much it allocated since."""
        before = self.snapshot.by_fingerprint().get(now.stack.fingerprint)
        live, allocated = (NOTHING, NOTHING) if before is None else (before.live, before.allocated)
        return _less(now.live, live), _less(now.allocated, allocated)


def _less(now: Amount, before: Amount) -> Amount:
    return Amount(now.size_bytes - before.size_bytes, now.count - before.count)
