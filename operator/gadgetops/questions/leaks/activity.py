"""
Two clocks of a recording that count what the program did, not what the wall clock did.

Time alone misleads: a program may be stopped, starved of CPU, or idle after its traffic ended. Events alone
mislead, too: an interpreter makes more of them while it starts than in an hour of work. So a position in the
recording is given on two clocks, and a verdict asks both (see `verdict`):

- by events: what part of all events had happened;
- by active time: what part of the time had passed, pauses of the whole program cut short.

Both begin when the program's start-up ends, if it has one that can be told: by then nearly all call stacks
have been seen that are ever seen.

Everything here is a pure function of the recording's cells: its events counted in slots of time that are cut
again by slots of sequence numbers, so that both clocks are exact to a sixty-fourth.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

N_BINS: Final = 32
"""Growth is compared in so many parts of equal length, on each clock."""

_MANY_STACKS: Final = 30
"""A program with fewer call stacks has no start-up that new stacks would show."""
_KNOWN_STACKS: Final = (0.99, 0.95, 0.9)
"""Start-up ends when this part of all stacks has been seen: the first that is early enough."""
_MAX_STARTUP: Final = 0.4
"""A longer part of the active time is no start-up."""
_PAUSE: Final = 2.0
"""Longer than so many times what three of four slots of time take until the next with events is a pause."""
_FEW_SLOTS: Final = 8
"""Of fewer slots of time nobody can say what is usual: then all cells do."""

Key = tuple[int, int]
"""Names a cell: beginning of its slot of time, in ns, and of its slot of sequence numbers."""


class Cell(NamedTuple):
    """
    What happened in one cell.

    Args:
        key: Its name; cells in order of their keys are in order of time.
        n_events: Events in it; never 0.
        first_ns: Time of the first one.
        n_new_stacks: Stacks that allocated in it for the first time.
    """

    key: Key
    n_events: int
    first_ns: int
    n_new_stacks: int


class Position(NamedTuple):
    """How far the recording was, from 0 (start-up ended) to 1 (last event), on both clocks."""

    by_events: float
    by_time: float

    @property
    def latest(self) -> float:
        """The later of both: what is early by this is early on both clocks."""
        return max(self)

    @property
    def earliest(self) -> float:
        """The earlier of both: what is late by this is late on both clocks."""
        return min(self)


class Activity:
    """
    The clocks of one recording.

    Args:
        cells: Every cell, in order of their keys.
        end_ns: Time of the last event.
    """

    def __init__(self, cells: Sequence[Cell], end_ns: int) -> None:
        self.cells = cells
        self.end_ns = end_ns
        self.first_ns = cells[0].first_ns if cells else end_ns
        widths = _active_widths(cells, end_ns)
        self.n_startup = _startup_cells(cells, widths)
        """How many cells belong to the program's start-up."""
        self.is_settled = self.n_startup > 0 or _known_half_way(cells, widths) >= _KNOWN_STACKS[-1]
        """Whether it did half-way what it did in the end; else it may have been starting all the time."""
        begin = self.n_startup
        self.active_ns = int(sum(widths[begin:]))
        """Active time after start-up."""
        self._events = _shares([cell.n_events for cell in cells[begin:]])
        self._times = _shares(widths[begin:])
        self._number = {cell.key: number for number, cell in enumerate(cells)}

    @property
    def n_cells(self) -> int:
        """How many cells there are after start-up: how finely growth can be seen."""
        return len(self.cells) - self.n_startup

    @property
    def startup_ends_ns(self) -> int:
        """When start-up ended; the time of the first event where no start-up can be told."""
        return self.cells[self.n_startup].first_ns if self.n_startup else self.first_ns

    def number(self, key: Key) -> int:
        """Return the place of a cell in `cells`; that of the cell before, where it has no events."""
        found = self._number.get(key)
        if found is None:
            found = max(0, bisect_right(self.cells, key, key=lambda cell: cell.key) - 1)
        return found

    def is_startup(self, number: int) -> bool:
        """Whether the cell with that number belongs to the start-up."""
        return number < self.n_startup

    def position(self, number: int) -> Position:
        """Return how far the recording is at the end of the cell with that number."""
        place = number - self.n_startup
        return Position(0.0, 0.0) if place < 0 else Position(self._events[place], self._times[place])

    def binned(self, values: Mapping[int, int], clock: int) -> list[int]:
        """
        Return sums of *values* in `N_BINS` equal parts of the time after start-up.

        Args:
            values: By number of cell.
            clock: Index into `Position`.
        """
        bins = [0] * N_BINS
        for number, value in values.items():
            if number >= self.n_startup:
                # The middle of a cell says best where it belongs.
                before = self.position(number - 1)[clock]
                middle = (before + self.position(number)[clock]) / 2
                bins[min(int(middle * N_BINS), N_BINS - 1)] += value
        return bins


def _active_widths(cells: Sequence[Cell], end_ns: int) -> list[float]:
    """Return for each cell the time until the next, cut short where that is a pause of the program."""
    if not cells:
        return []
    ends = [*(cell.first_ns for cell in cells[1:]), end_ns]
    widths = [max(0, end - cell.first_ns) for cell, end in zip(cells, ends, strict=True)]
    begins = [cell.first_ns for number, cell in enumerate(cells) if _begins_slot(cells, number)]
    silences = [max(0, end - begin) for begin, end in zip(begins, [*begins[1:], end_ns], strict=True)]
    if len(silences) < _FEW_SLOTS:
        # One pause is most of the time, and so one slot has nearly all events.
        silences = widths
    longest = _PAUSE * sorted(silences)[3 * len(silences) // 4]
    return [min(float(width), longest) for width in widths] if longest else [*map(float, widths)]


def _begins_slot(cells: Sequence[Cell], number: int) -> bool:
    return number == 0 or cells[number].key[0] != cells[number - 1].key[0]


def _startup_cells(cells: Sequence[Cell], widths: Sequence[float]) -> int:
    """Return how many cells pass until nearly all stacks have been seen; 0 where that is no start-up."""
    n_stacks = sum(cell.n_new_stacks for cell in cells)
    if n_stacks < _MANY_STACKS:
        return 0
    seen = [*accumulate(cell.n_new_stacks for cell in cells)]
    for part in _KNOWN_STACKS:
        count = 1 + next(number for number, known in enumerate(seen) if known >= part * n_stacks)
        if count < len(cells) and sum(widths[:count]) <= _MAX_STARTUP * sum(widths):
            return count
    return 0


def _shares(weights: Iterable[float]) -> list[float]:
    """Return for each weight what part of all it and those before it have."""
    sums = [*accumulate(weights)]
    whole = sums[-1] if sums else 0
    return [each / whole for each in sums] if whole else [1.0] * len(sums)


def _known_half_way(cells: Sequence[Cell], widths: Sequence[float]) -> float:
    """Return what part of all stacks had been seen in the middle of the active time; 1 where they are few."""
    n_stacks = sum(cell.n_new_stacks for cell in cells)
    if n_stacks < _MANY_STACKS:
        return 1.0
    positions = accumulate(widths)
    middle = sum(widths) / 2
    known = sum(cell.n_new_stacks for cell, end in zip(cells, positions, strict=True) if end <= middle)
    return known / n_stacks
