"""
From the kernel's stack ids to the stacks, frames and modules of a recording, once each, as events name them.

Nothing is symbolised here: an address is noted with the file it lies in and the place there.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gadgetops.recording.schema import FAILED_STACK, MAX_WALKED_FRAMES, NO_STACK, FrameRow, StackRow
from gadgetops.recording.writer import RecordingWriter
from gadgetops.stacks.unwinding.callers import with_caller
from gadgetops.trace.address_spaces import AddressSpace, AddressSpaces, Mapping

_FIRST_BAD_ID: Final = 1 << 31
CALLER_ONLY: Final = _FIRST_BAD_ID - 1
"""In place of the kernel's id of a stack of which only the caller is known."""
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_ODD_OF_AGES: Final = np.uint64(0xD1B54A32D192ED03)
_ODD_OF_RETURNS: Final = np.uint64(0xAEF17502108EF2D9)


class StackCollector:
    """
    Numbers stacks, densely from 0, and writes what they consist of before the events that have them.

    A kernel's id stands for addresses only; what they mean depends on the process and on what it had mapped
    then. Stacks of equal frames are one, also those of processes that were forked from each other. The caller
    of an allocating function is always the frame that follows that function's: the kernel's walk by frame
    pointers misses it until the function has set up its own frame.

    Args:
        tracker: Knows what is mapped.
        writer: Takes stacks, frames and modules.
        look_up: Returns the value of the kernel's stack map for an id.
    """

    def __init__(
        self, tracker: AddressSpaces, writer: RecordingWriter, look_up: Callable[[int], bytes | None]
    ) -> None:
        self._tracker = tracker
        self._writer = writer
        self._look_up = look_up
        self._n_stacks = 0
        self._n_frames = 0
        self._n_modules = 0
        self._nowhere: dict[int, int] = {}
        self.counters = {"truncated_stacks": 0, "empty_stacks": 0}
        """Distinct stacks that were cut at `MAX_WALKED_FRAMES`, and that have no frame at all."""

    def number(
        self,
        pids: NDArray[Any],
        kernel_ids: NDArray[Any],
        callers: NDArray[Any],
        timestamps_ns: NDArray[Any],
        have_returned: NDArray[np.bool_],
    ) -> NDArray[np.int32]:
        """
        Return the number of each event's stack; `FAILED_STACK` where the kernel gave an error.

        Args:
            pids: Of the events.
            kernel_ids: Of their stacks; errors are negative numbers, as unsigned ones.
            callers: Return addresses of the calls; 0 where unknown.
            timestamps_ns: When, in ns since boot.
            have_returned: Whether it is the end of the call, whose function is no part of the stack then.
        """
        combined = pids.astype(np.uint64) << np.uint64(32) | kernel_ids.astype(np.uint64)
        # One number for the three, so that they are sorted once: equal ones by chance are one in 2^64 / n^2.
        mixed = combined ^ (callers.astype(np.uint64) * _ODD) ^ self._ages(pids, timestamps_ns)
        mixed ^= have_returned * _ODD_OF_RETURNS
        _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
        in_time = np.argsort(first)
        whole = pids, kernel_ids, callers, timestamps_ns, have_returned
        columns = (column[first[in_time]] for column in whole)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        numbers = np.empty(len(first), np.int32)
        numbers[in_time] = [self._number_of(*row) for row in rows]
        return numbers[inverse]

    def _number_of(self, pid: int, kernel_id: int, caller: int, timestamp_ns: int, has_returned: bool) -> int:
        if kernel_id >= _FIRST_BAD_ID:
            return FAILED_STACK
        space = self._tracker.space(pid)
        generated = space.generated_at(timestamp_ns)
        key = (kernel_id, caller, has_returned, 0 if generated is None else generated.timestamp_ns)
        number = space.stack_numbers.get(key)
        if number is None:
            found = with_caller(addresses(self._look_up(kernel_id)), caller)
            if has_returned and caller in found[1:2]:
                # Seen at an instruction by which it returns, of which an allocator has several.
                del found[0]
            n_before = self._n_stacks
            number = self._new_stack(space, found, timestamp_ns)
            space.stack_numbers[key] = number
            if self._n_stacks > n_before:
                self.counters["truncated_stacks"] += len(found) >= MAX_WALKED_FRAMES
                self.counters["empty_stacks"] += not found
        return number

    def _ages(self, pids: NDArray[Any], timestamps_ns: NDArray[Any]) -> NDArray[np.uint64]:
        """Return numbers that differ where equal addresses of a process may be of different code."""
        ages = np.zeros(len(pids), np.uint64)
        for pid in self._tracker.regenerated:
            is_of_process = pids == pid
            if not is_of_process.any():
                continue
            changes = [each.timestamp_ns for each in self._tracker.space(pid).generated[1:]]
            found = np.searchsorted(np.array(changes, np.uint64), timestamps_ns[is_of_process], side="right")
            ages[is_of_process] = found.astype(np.uint64) * _ODD_OF_AGES
        return ages

    def write(self, number: int, pid: int, timestamp_ns: int, found: list[int]) -> None:
        """Write the addresses *found*, leaf first, of *pid* at that time as the stack *number*."""
        space = self._tracker.space(pid)
        frame_ids = [self._frame(space, address, timestamp_ns) for address in found]
        self._writer.write_stacks([StackRow(number, frame_ids)])

    def number_of(self, pid: int, timestamp_ns: int, found: Sequence[int]) -> int:
        """Return the number of the stack *found*, leaf first, of *pid* at that time."""
        return self._new_stack(self._tracker.space(pid), found, timestamp_ns)

    def new_number(self) -> int:
        """Return the number of a stack whose frames are found later."""
        self._n_stacks += 1
        return self._n_stacks - 1

    def module_ids(self, mappings: Iterable[Mapping]) -> list[int]:
        """Return the numbers of *mappings* that are modules, having written what is new among them."""
        return [self._module_id(mapping) for mapping in mappings if mapping.is_module]

    def _new_stack(self, space: AddressSpace, found: Sequence[int], timestamp_ns: int) -> int:
        frame_ids = tuple(self._frame(space, address, timestamp_ns) for address in found)
        number = space.stacks.get(frame_ids)
        if number is None:
            number = space.stacks[frame_ids] = self.new_number()
            self._writer.write_stacks([StackRow(number, frame_ids)])
        return number

    def _frame(self, space: AddressSpace, address: int, timestamp_ns: int) -> int:
        mapping = space.find(address, timestamp_ns)
        if mapping is not None and not mapping.is_module:
            mapping = space.generated_at(timestamp_ns)
        known = self._nowhere if mapping is None else mapping.frame_ids
        if address not in known:
            known[address] = self._n_frames
            self._n_frames += 1
            self._writer.write_frames([self._frame_row(known[address], address, mapping)])
        return known[address]

    def _frame_row(self, frame_id: int, address: int, mapping: Mapping | None) -> FrameRow:
        if mapping is None:
            return FrameRow(frame_id, address, None, None)
        return FrameRow(frame_id, address, self._module_id(mapping), mapping.offset_bytes(address))

    def _module_id(self, mapping: Mapping) -> int:
        if mapping.module_id is None:
            mapping.module_id = self._n_modules
            self._n_modules += 1
            self._writer.write_modules([self._tracker.module(mapping)])
        return mapping.module_id


def no_stacks(count: int) -> NDArray[np.int32]:
    """Return the stack numbers of *count* events that have none."""
    return np.full(count, NO_STACK, np.int32)


def addresses(value: bytes | None) -> list[int]:
    """Return the addresses of one value of the stack map, leaf first; the rest of it is zero."""
    if value is None:
        return []
    words = struct.unpack(f"<{len(value) // 8}Q", value)
    return list(words[: words.index(0)] if 0 in words else words)
