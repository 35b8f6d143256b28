"""
Stacks that come as slices: numbered like the others while recording, their frames found when it ends.

A slice may arrive before or after the first event that names it. Events of one path name one slice; where
code took the place of other code in between, the same path is another stack: the slice is written again.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gadgetops.recording.schema import SliceRow
from gadgetops.recording.writer import RecordingWriter
from gadgetops.trace.address_spaces import AddressSpaces
from gadgetops.trace.events.slices import Path, Slice
from gadgetops.trace.events.stack_ids import StackCollector

_MOST_UNCLAIMED: Final = 1 << 12
"""Slices whose event was lost are forgotten when there are more, but not before the next events."""
_MOST_RECENT_BYTES: Final = 16 << 20
"""Memory of slices that is kept of processes that generate code."""
_MOST_AGAIN: Final = 1000
"""Slices that are written again."""
_ODD_OF_AGES: Final = np.uint64(0xD1B54A32D192ED03)


class SliceStacks:
    """
    Gives the slices that events name a stack number each, and writes them.

    Args:
        tracker: Knows what is mapped.
        stacks: Numbers all stacks.
        writer: Takes the slices.
    """

    def __init__(self, tracker: AddressSpaces, stacks: StackCollector, writer: RecordingWriter) -> None:
        self._tracker = tracker
        self._stacks = stacks
        self._writer = writer
        self._numbers: dict[int, int] = {}
        self._unclaimed: dict[int, Slice | Path] = {}
        self._awaited: set[int] = set()
        self._n_paths = 0
        self._recent: OrderedDict[int, Slice | Path] = OrderedDict()
        self._recent_bytes = 0
        self._in_ages: dict[int, dict[int, int]] = {}
        self._n_again = 0

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

    def number(
        self, slice_numbers: NDArray[Any], pids: NDArray[Any], timestamps_ns: NDArray[Any]
    ) -> NDArray[np.int32]:
        """
        Return the stack number of each event.

        Args:
            slice_numbers: Of the events' slices, not 0.
            pids: Of the events.
            timestamps_ns: When, in ns since boot.
        """
        distinct, inverse = np.unique(slice_numbers, return_inverse=True)
        numbers = np.array([self._number_of(number) for number in distinct.tolist()], np.int32)[inverse]
        for pid in self._tracker.regenerated:
            places = np.flatnonzero(pids == pid)
            if len(places):
                numbers[places] = self._in_their_time(
                    pid, slice_numbers[places], timestamps_ns[places], numbers[places]
                )
        return numbers

    def _in_their_time(
        self,
        pid: int,
        slice_numbers: NDArray[Any],
        timestamps_ns: NDArray[Any],
        numbers: NDArray[np.int32],
    ) -> NDArray[np.int32]:
        """Return *numbers* of one process's stacks as generated code was when their events happened."""
        changes = [each.timestamp_ns for each in self._tracker.space(pid).generated[1:]]
        ages = np.searchsorted(np.array(changes, np.uint64), timestamps_ns, side="right")
        mixed = slice_numbers.astype(np.uint64) ^ (ages.astype(np.uint64) * _ODD_OF_AGES)
        _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
        columns = (column[first].tolist() for column in (slice_numbers, timestamps_ns, numbers))
        found = [self._in_its_time(pid, *row) for row in zip(*columns, strict=True)]
        return np.array(found, np.int32)[inverse]

    def _in_its_time(self, pid: int, slice_number: int, timestamp_ns: int, number: int) -> int:
        """Return the number of the slice's stack at that time; *number* is that of when it was taken."""
        kept, space = self._recent.get(slice_number), self._tracker.space(pid)
        generated = space.generated_at(timestamp_ns)
        if kept is None or generated is None:
            return number
        own = space.generated_at(kept.timestamp_ns)
        known = self._in_ages.setdefault(slice_number, {0 if own is None else own.timestamp_ns: number})
        if generated.timestamp_ns not in known:
            if self._n_again >= _MOST_AGAIN:
                return number
            self._n_again += 1
            known[generated.timestamp_ns] = self._again(kept, timestamp_ns)
        return known[generated.timestamp_ns]

    def _again(self, kept: Slice | Path, timestamp_ns: int) -> int:
        if isinstance(kept, Path):
            return self._stacks.number_of(kept.pid, timestamp_ns, kept.addresses)
        number = self._stacks.new_number()
        self._write_slice(kept._replace(timestamp_ns=timestamp_ns), number)
        return number

    def _keep(self, found: Slice | Path) -> None:
        """Keep *found* at hand if its process generates code, in place of the oldest."""
        if found.number in self._recent or not self._tracker.space(found.pid).generated:
            return
        self._recent[found.number] = found
        self._recent_bytes += _size_bytes(found)
        while self._recent_bytes > _MOST_RECENT_BYTES:
            number, oldest = self._recent.popitem(last=False)
            self._recent_bytes -= _size_bytes(oldest)
            self._in_ages.pop(number, None)

    def _number_of(self, slice_number: int) -> int:
        number = self._numbers.get(slice_number)
        if number is not None:
            return number
        found = self._unclaimed.pop(slice_number, None)
        if found is not None:
            self._keep(found)
        if isinstance(found, Path):
            self._n_paths += 1
            number = self._stacks.number_of(found.pid, found.timestamp_ns, found.addresses)
        else:
            number = self._stacks.new_number()
        self._numbers[slice_number] = number
        if found is None:
            self._awaited.add(slice_number)
        elif isinstance(found, Slice):
            self._write_slice(found, number)
        return number

    def _write(self, found: Slice | Path) -> None:
        """Write what events have named before it came."""
        self._keep(found)
        if isinstance(found, Path):
            self._n_paths += 1
            number = self._numbers[found.number]
            self._stacks.write(number, found.pid, found.timestamp_ns, [*found.addresses])
        else:
            self._write_slice(found, self._numbers[found.number])

    def _write_slice(self, found: Slice, number: int) -> None:
        row = SliceRow(
            number,
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


def _size_bytes(found: Slice | Path) -> int:
    return 8 * len(found.addresses) if isinstance(found, Path) else len(found.memory)
