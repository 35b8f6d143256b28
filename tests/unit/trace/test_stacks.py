"""Stacks are numbered by process and kernel id; errors of the kernel are no stacks."""

import struct

import numpy as np

from gadgetops.recording.schema import FAILED_STACK, NO_STACK
from gadgetops.trace.stacks import StackNumbers, addresses, no_stacks


def number(numbers: StackNumbers, pids: list[int], kernel_ids: list[int]) -> list[int]:
    return numbers.number(
        np.array(pids, "u4"), np.array(kernel_ids, "u4"), np.arange(len(pids), dtype="u8")
    ).tolist()


def test_one_kernel_id_in_two_processes_is_two_stacks() -> None:
    numbers = StackNumbers()
    assert len(set(number(numbers, [1, 2, 1], [7, 7, 7]))) == 2
    assert [(pid, kernel_id) for pid, kernel_id, _ in numbers.keys] == [(1, 7), (2, 7)]


def test_a_number_stays_over_batches() -> None:
    numbers = StackNumbers()
    first = number(numbers, [1, 1], [7, 8])
    assert number(numbers, [1, 1, 1], [8, 9, 7])[::2] == first[::-1]


def test_a_negative_id_is_a_failed_stack() -> None:
    numbers = StackNumbers()
    assert number(numbers, [1, 1], [2**32 - 17, 3]) == [FAILED_STACK, 0]
    assert len(numbers.keys) == 1


def test_the_zeros_that_end_a_stack_are_no_addresses() -> None:
    assert addresses(struct.pack("<4Q", 1, 2, 0, 0)) == [1, 2]
    assert addresses(struct.pack("<2Q", 1, 2)) == [1, 2]
    assert addresses(None) == []


def test_no_stack_is_told_apart_from_a_failed_one() -> None:
    assert no_stacks(2).tolist() == [NO_STACK, NO_STACK]
    assert NO_STACK != FAILED_STACK
