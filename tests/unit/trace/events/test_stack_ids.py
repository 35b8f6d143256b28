"""Stacks are numbered by what they mean; errors of the kernel are no stacks."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from gadgetops.recording.schema import (
    FAILED_STACK,
    MAX_WALKED_FRAMES,
    NO_STACK,
    FrameRow,
    ModuleRow,
    StackRow,
)
from gadgetops.trace import address_spaces
from gadgetops.trace.address_spaces import AddressSpace
from gadgetops.trace.events.stack_ids import StackCollector, addresses, no_stacks


class Tracker:
    """Knows the address spaces that it is given."""

    def __init__(self, spaces: Mapping[int, AddressSpace]) -> None:
        self._spaces = spaces
        self.regenerated: set[int] = set()

    def space(self, pid: int) -> AddressSpace:
        return self._spaces[pid]

    def module(self, mapping: address_spaces.Mapping) -> ModuleRow:
        return ModuleRow(
            mapping.module_id or 0, mapping.pid, mapping.path, None, 0, 0, 0, mapping.timestamp_ns
        )


class Writer:
    """Keeps the rows."""

    def __init__(self) -> None:
        self.stacks: list[StackRow] = []
        self.frames: list[FrameRow] = []
        self.modules: list[ModuleRow] = []

    def write_stacks(self, rows: Iterable[StackRow]) -> None:
        self.stacks += rows

    def write_frames(self, rows: Iterable[FrameRow]) -> None:
        self.frames += rows

    def write_modules(self, rows: Iterable[ModuleRow]) -> None:
        self.modules += rows


def space(path: str, timestamp_ns: int = 0) -> AddressSpace:
    """Return a process with one file at 0x1000."""
    made = AddressSpace()
    made.add(address_spaces.Mapping(1, timestamp_ns, 0x1000, 0x2000, 0x400, path, None))
    return made


class Collected:
    """A collector over processes and stacks of the kernel, by id."""

    def __init__(self, spaces: Mapping[int, AddressSpace], stacks: Mapping[int, list[int]]) -> None:
        self.writer, self.tracker = Writer(), Tracker(spaces)
        self.collector = StackCollector(
            self.tracker,  # type: ignore[arg-type]
            self.writer,  # type: ignore[arg-type]
            lambda kernel_id: struct.pack(f"<{len(stacks[kernel_id])}Q", *stacks[kernel_id]) + bytes(16),
        )

    def number(
        self,
        *events: tuple[int, int],
        callers: Sequence[int] = (),
        times: Sequence[int] = (),
        returned: Sequence[bool] = (),
    ) -> list[int]:
        pids, kernel_ids = (np.array(column, "u4") for column in zip(*events, strict=True))
        zeros, fives = np.zeros(len(events), "u8"), np.full(len(events), 5, "u8")
        columns = np.array(callers or zeros, "u8"), np.array(times or fives, "u8")
        numbers: Any = self.collector.number(pids, kernel_ids, *columns, np.array(returned or zeros, bool))
        return list(numbers)

    def addresses_of(self, number: int) -> list[int]:
        by_id = {row.frame_id: row.address for row in self.writer.frames}
        return [by_id[frame_id] for frame_id in self.writer.stacks[number].frame_ids]


def test_one_kernel_id_in_two_processes_is_two_stacks() -> None:
    collected = Collected({1: space("/a"), 2: space("/b")}, {7: [0x1010]})
    assert collected.number((1, 7), (2, 7), (1, 7)) == [0, 1, 0]
    assert [row.path for row in collected.writer.modules] == ["/a", "/b"]
    assert [row.module_offset for row in collected.writer.frames] == [0x410, 0x410]


def test_a_forked_process_has_its_parents_stacks() -> None:
    """Nothing is stored again."""
    parent = space("/a")
    collected = Collected({1: parent, 2: parent.forked()}, {7: [0x1010, 0x1020]})
    assert collected.number((1, 7), (2, 7)) == [0, 0]
    assert collected.writer.stacks == [(0, (0, 1))]


def test_a_caller_that_the_walk_missed_follows_the_leaf() -> None:
    """One walk of the kernel with two callers is two stacks."""
    collected = Collected({1: space("/a")}, {7: [0x1010, 0x1020, 0x1030]})
    assert collected.number((1, 7), (1, 7), (1, 7), callers=[0x1050, 0x1060, 0x1050]) == [0, 1, 0]
    assert collected.addresses_of(0) == [0x1010, 0x1050, 0x1020, 0x1030]
    assert collected.addresses_of(1) == [0x1010, 0x1060, 0x1020, 0x1030]


@pytest.mark.parametrize("caller", [0x1010, 0x1020, 0])
def test_a_caller_that_the_walk_has_is_not_added(caller: int) -> None:
    """At a return probe it is the leaf; 0 is unknown."""
    collected = Collected({1: space("/a")}, {7: [0x1010, 0x1020]})
    assert collected.number((1, 7), callers=[caller]) == [0]
    assert collected.addresses_of(0) == [0x1010, 0x1020]


def test_a_function_that_returns_is_no_part_of_the_stack() -> None:
    """At whichever of its return instructions it is seen; where it has returned to it is not there."""
    stacks = {7: [0x1010, 0x1030], 8: [0x1018, 0x1030], 9: [0x1050, 0x1030]}
    collected = Collected({1: space("/a")}, stacks)
    events = (1, 7), (1, 8), (1, 9), (1, 7)
    assert collected.number(*events, callers=[0x1050] * 4, returned=[True] * 3 + [False]) == [0, 0, 0, 1]
    assert collected.addresses_of(0) == [0x1050, 0x1030]
    assert collected.addresses_of(1) == [0x1010, 0x1050, 0x1030]


def test_a_number_stays_over_batches() -> None:
    collected = Collected({1: space("/a")}, {7: [0x1010], 8: [0x1020], 9: [0x1030]})
    assert collected.number((1, 7), (1, 8)) == [0, 1]
    assert collected.number((1, 8), (1, 9), (1, 7)) == [1, 2, 0]


def test_after_exec_the_kernels_ids_mean_something_else() -> None:
    process = space("/a")
    collected = Collected({1: process}, {7: [0x1010]})
    assert collected.number((1, 7)) == [0]
    process.exec(3)
    process.add(address_spaces.Mapping(1, 4, 0x1000, 0x2000, 0, "/b", None))
    assert collected.number((1, 7)) == [1]
    assert [row.path for row in collected.writer.modules] == ["/a", "/b"]


def test_generated_code_is_a_module_of_the_process_and_unknown_addresses_are_in_none() -> None:
    """Offsets into generated code are addresses."""
    collected = Collected({1: space("//anon")}, {7: [0x1010, 0x9000]})
    collected.number((1, 7))
    assert collected.writer.frames == [(0, 0x1010, 0, 0x1010), (1, 0x9000, None, None)]
    assert [row.path for row in collected.writer.modules] == ["[jit]"]


def test_where_code_takes_the_place_of_other_code_stacks_are_others() -> None:
    """By the time of the event, in whatever order it is learned; one stack of a file's code stays one."""
    process = space("//anon")
    collected = Collected({1: process}, {7: [0x1010]})
    process.add_generated(1, 100)
    collected.tracker.regenerated.add(1)
    assert collected.number(*[(1, 7)] * 4, times=[99, 100, 101, 50]) == [0, 1, 1, 0]
    assert [row.timestamp_ns for row in collected.writer.modules] == [0, 100]


@pytest.mark.parametrize(("depth", "is_cut"), [(MAX_WALKED_FRAMES - 1, 0), (MAX_WALKED_FRAMES, 1)])
def test_a_stack_as_deep_as_the_kernel_goes_counts_as_cut(depth: int, is_cut: int) -> None:
    collected = Collected({1: space("/a")}, {7: [*range(0x1000, 0x1000 + depth)]})
    collected.number((1, 7))
    assert collected.collector.counters == {"truncated_stacks": is_cut, "empty_stacks": 0}


def test_a_stack_without_frames_is_counted() -> None:
    collected = Collected({1: space("/a")}, {7: []})
    assert collected.number((1, 7)) == [0]
    assert collected.collector.counters["empty_stacks"] == 1


def test_a_negative_id_is_a_failed_stack() -> None:
    collected = Collected({1: space("/a")}, {3: [0x1010]})
    assert collected.number((1, 2**32 - 17), (1, 3)) == [FAILED_STACK, 0]


def test_the_zeros_that_end_a_stack_are_no_addresses() -> None:
    assert addresses(struct.pack("<4Q", 1, 2, 0, 0)) == [1, 2]
    assert addresses(struct.pack("<2Q", 1, 2)) == [1, 2]
    assert addresses(None) == []


def test_no_stack_is_told_apart_from_a_failed_one() -> None:
    assert no_stacks(2).tolist() == [NO_STACK, NO_STACK]
    assert NO_STACK != FAILED_STACK
