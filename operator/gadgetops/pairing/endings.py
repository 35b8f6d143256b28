"""
Where a process begins to give back what it has because it ends: a pure function of its calls.

A program that frees all at its normal exit has nothing left, and may have grown for hours. What it had before
these releases began is kept. They are the longest run of calls up to its end in which releases outnumber
allocations by far: counted in bins first, then call by call in the bin where it begins.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

WEIGHT: Final = 10
"""An allocation outweighs so many releases: what ends a program allocates little."""
FEWEST: Final = 1
"""So many releases may be an ending, since a list that grew is one block; what is in use has not grown."""
BIN: Final = 1024
"""So many sequence numbers are a bin."""


class Counted(NamedTuple):
    """Calls of one process in one bin, or one call: from which sequence number on, and how many of each."""

    seq: int
    n_allocations: int
    n_releases: int


def ending(counted: Sequence[Counted]) -> Counted | None:
    """
    Return where the run up to the end begins, with what is in all of it; None if there is none.

    Args:
        counted: In order of their sequence numbers.
    """
    best: Counted | None = None
    best_score = n_allocations = n_releases = 0
    for each in reversed(counted):
        n_allocations += each.n_allocations
        n_releases += each.n_releases
        score = n_releases - WEIGHT * n_allocations
        if score > best_score:
            best, best_score = Counted(each.seq, n_allocations, n_releases), score
    return best


def begins_at(calls: Sequence[Counted], later: Sequence[Counted]) -> int | None:
    """
    Return the sequence number of the first release of the ending; None if there is none.

    Args:
        calls: Calls of the process about where bins show its beginning, one by one.
        later: Bins after these.
    """
    exact = ending([*calls, *later])
    return None if exact is None or exact.n_releases < FEWEST else exact.seq
