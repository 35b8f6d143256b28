"""How much memory processes had in RAM, as the recorder measured it: pages, not what a program asked for."""

from typing import Final

import numpy as np
import numpy.typing as npt

from gadgetops.questions.asking.question import Question

Column = npt.NDArray[np.int64]

_ID_BITS: Final = 32
"""In a fleet, a process's number has its recording's number above so many bits."""
_HOLDS_NS: Final = 500_000_000
_HOLDS_PARTS: Final = 50
"""What was measured holds for so long, or for this part of the time if that is more."""


def resident_course(question: Question, start_ns: int, width_ns: int, n_parts: int) -> Column:
    """
    Return the most that the processes of *question* had in RAM in each part of the time, all together.

    What was measured holds until the next time, but not for long: a recorder that got no processor for a
    while did not see what happened. Processes are those that the filters choose; the threads of one share its
    memory.

    Args:
        question: Has the table `resident`.
        start_ns: Where the first part begins, on the recording's clock.
        width_ns: How long each is; the last one also has what comes after it.
        n_parts: How many there are.

    Returns:
        A number of bytes for each part, -1 where it is not known; empty where nothing was measured.
    """
    rows = _rows(question)
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    times_ns, owner, sizes = rows.T
    part = (times_ns - start_ns) // width_ns
    recording = owner >> _ID_BITS
    most_parts = -(-max(_HOLDS_NS, width_ns * n_parts // _HOLDS_PARTS) // width_ns)
    courses = [
        _course(*_rounds(times_ns[is_own], sizes[is_own], part[is_own]), n_parts, most_parts)
        for is_own in (recording == each for each in np.unique(recording))
    ]
    total: Column = np.sum([np.maximum(course, 0) for course in courses], axis=0)
    is_known = np.max(courses, axis=0) >= 0
    return np.where(is_known, total, -1)


def resident_rounds(question: Question) -> list[tuple[int, int]]:
    """
    Return when resident memory of one recording was measured, and the bytes of all its processes together.

    Times are on the recording's clock, ascending; empty where nothing was measured.
    """
    rows = _rows(question)
    return [*zip(*(column.tolist() for column in _rounds(rows[:, 0], rows[:, 2], rows[:, 0])), strict=True)]


def _rows(question: Question) -> Column:
    """Return times, processes and bytes of what was measured of the processes that the filters choose."""
    pids = {*question.filters.pids}
    rows = [row for row in question.rows("resident") if not pids or row[1] & ((1 << _ID_BITS) - 1) in pids]
    # Before its first event, a command may not have become the program yet that it is to be.
    rows = [row for row in rows if row[0] >= question.span.first_ns] or rows
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _rounds(times_ns: Column, sizes: Column, part: Column) -> tuple[Column, Column]:
    """Return for each round, whose rows have the same time, its part of the time, and its bytes."""
    _, first, number = np.unique(times_ns, return_index=True, return_inverse=True)
    totals = np.zeros(len(first), dtype=np.int64)
    np.add.at(totals, number, sizes)
    return part[first], totals


def _course(part: Column, totals: Column, n_parts: int, most_parts: int) -> Column:
    """Return the course of one recording from its rounds; what was measured holds for *most_parts*."""
    parts = np.arange(n_parts)
    is_within = (part >= 0) & (part < n_parts)
    most, final = np.full(n_parts, -1, dtype=np.int64), np.full(n_parts, -1, dtype=np.int64)
    np.maximum.at(most, part[is_within], totals[is_within])
    # Of several in one part the last one stays.
    final[part[is_within]] = totals[is_within]
    # Of what was measured before the time, the last still holds where it begins.
    before = np.flatnonzero(part < 0)
    first, level = (int(part[before[-1]]), totals[before[-1]]) if len(before) else (-n_parts - most_parts, -1)
    last = np.maximum.accumulate(np.where(most >= 0, parts, first))
    held = np.where(last == parts, most, np.where(last >= 0, final[np.maximum(last, 0)], level))
    return np.where(parts - last <= most_parts, held, -1)
