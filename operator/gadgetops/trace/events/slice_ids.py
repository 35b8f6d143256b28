"""
Stacks that come as slices: numbered like the others while recording, their frames found when it ends.

A slice may arrive before or after the first event that names it.
"""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gadgetops.recording.schema import SliceRow
from gadgetops.recording.writer import RecordingWriter
from gadgetops.trace.address_spaces import ModuleTracker
from gadgetops.trace.events.slices import Path, Slice
from gadgetops.trace.events.stack_ids import StackCollector

_MOST_UNCLAIMED: Final = 1 << 12
"""Slices whose event was lost are forgotten when there are more, but not before the next events."""


class SliceStacks:
    """
    Gives the slices that events name a stack number each, and writes them.

    Args:
        tracker: Knows what is mapped.
        stacks: Numbers all stacks.
        writer: Takes the slices.
    """

    def __init__(self, tracker: ModuleTracker, stacks: StackCollector, writer: RecordingWriter) -> None:
        self._tracker = tracker
        self._stacks = stacks
        self._writer = writer
        self._numbers: dict[int, int] = {}
        self._unclaimed: dict[int, Slice | Path] = {}
        self._awaited: set[int] = set()
        self._n_paths = 0

    @property
    def counters(self) -> dict[str, int]:
        """
        Return how many events name.

        `slices`: copies of stacks; `missing_slices`: those that never came; `walked_stacks`: stacks that the
        gadget walked.
        """
        n_slices = len(self._numbers) - self._n_paths
        return {
            "slices": n_slices,
            "missing_slices": len(self._awaited),
            "walked_stacks": self._n_paths,
        }

    def take(self, slices: Iterable[Slice | Path]) -> None:
        """Take in *slices* as they come, before the events that were read with them."""
        while len(self._unclaimed) > _MOST_UNCLAIMED:
            del self._unclaimed[next(iter(self._unclaimed))]
        for found in slices:
            if found.number in self._awaited:
                self._awaited.remove(found.number)
                self._write(found)
            elif found.number not in self._numbers:
                self._unclaimed[found.number] = found

    def number(self, slice_numbers: NDArray[Any]) -> NDArray[np.int32]:
        """Return the stack number of each event, given its slice's number, which is not 0."""
        distinct, inverse = np.unique(slice_numbers, return_inverse=True)
        return np.array([self._number_of(number) for number in distinct.tolist()], np.int32)[inverse]

    def _number_of(self, slice_number: int) -> int:
        number = self._numbers.get(slice_number)
        if number is not None:
            return number
        found = self._unclaimed.pop(slice_number, None)
        if isinstance(found, Path):
            self._n_paths += 1
            number = self._stacks.number_of(found.pid, found.timestamp_ns, found.addresses)
        else:
            number = self._stacks.new_number()
        self._numbers[slice_number] = number
        if found is None:
            self._awaited.add(slice_number)
        elif isinstance(found, Slice):
            self._write(found)
        return number

    def _write(self, found: Slice | Path) -> None:
        if isinstance(found, Path):
            self._n_paths += 1
            number = self._numbers[found.number]
            self._stacks.write(number, found.pid, found.timestamp_ns, [*found.addresses])
            return
        row = SliceRow(
            self._numbers[found.number],
            found.pid,
            found.timestamp_ns,
            found.registers,
            found.memory,
            self._modules_of(found.pid, found.timestamp_ns),
        )
        self._writer.write_slices([row])

    def _modules_of(self, pid: int, timestamp_ns: int) -> list[int]:
        space = self._tracker.space(pid)
        if timestamp_ns < space.changed_ns:
            return self._stacks.module_ids(space.at(timestamp_ns))
        if space.module_ids is None:
            space.module_ids = self._stacks.module_ids(space.at(timestamp_ns))
        return space.module_ids
