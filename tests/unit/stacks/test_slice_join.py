"""Slices of one stack are joined where they agree, and only there."""

import struct

import numpy as np
import pytest

from gadgetops.recording.schema import SLICE_PART_BYTES
from gadgetops.stacks.slice_join import Joiner, code_in

CODE = range(0x400000, 0x500000)
TOP = 0x7FFF_0000_0000
N_WORDS = SLICE_PART_BYTES // 8


def joiner() -> Joiner:
    return Joiner(code_in([(CODE.start, CODE.stop)]))


def stack(n_words: int, seed: int = 0) -> bytes:
    """Words up to the stack's end, every fifth of which points into code."""
    words = [CODE.start + seed + n if n % 5 == 0 else n for n in range(n_words)]
    return struct.pack(f"<{n_words}Q", *reversed(words))


def start_of(memory: bytes) -> int:
    return TOP - len(memory)


def cut(memory: bytes) -> bytes:
    return memory[:SLICE_PART_BYTES]


@pytest.fixture
def deep() -> bytes:
    return stack(3 * N_WORDS + 7)


def test_a_slice_goes_on_in_one_that_begins_further_up(deep: bytes) -> None:
    """Through as many as it takes."""
    found = joiner()
    for skipped in (2 * N_WORDS, N_WORDS + 100, N_WORDS // 2, 0):
        part = deep[8 * skipped :]
        taken = part if skipped == 2 * N_WORDS else cut(part)
        whole = found.whole(1, start_of(part), skipped, taken)
    assert whole == deep
    assert found.n_joined == 3


def test_data_may_differ(deep: bytes) -> None:
    """What points into code makes the stack."""
    found, outer = joiner(), bytearray(deep[8 * N_WORDS // 2 :])
    words = np.frombuffer(outer, "<u8")
    words[words < CODE.start] += 1
    found.whole(1, start_of(bytes(outer)), 0, bytes(outer))
    assert found.whole(1, start_of(deep), 1, cut(deep)) == cut(deep) + outer[SLICE_PART_BYTES // 2 :]


def test_another_stack_at_the_same_place_is_not_joined(deep: bytes) -> None:
    """Its return addresses are others."""
    found, other = joiner(), stack(3 * N_WORDS, seed=1)
    found.whole(1, start_of(other), 0, other)
    assert found.whole(1, start_of(deep), 1, cut(deep)) == cut(deep)
    assert found.n_joined == 0


def test_without_return_addresses_to_compare_nothing_is_joined() -> None:
    """Two copies of zeros agree about nothing."""
    found, outer = joiner(), bytes(3 * SLICE_PART_BYTES)
    found.whole(1, TOP, 0, outer)
    assert found.whole(1, TOP - 8, 1, bytes(SLICE_PART_BYTES)) == bytes(SLICE_PART_BYTES)


def test_of_several_that_agree_the_nearest_in_time_counts(deep: bytes) -> None:
    """Above the part that is compared they may differ."""
    found, outer = joiner(), deep[800:]
    for timestamp, last in ((10, b"early..."), (20, b"late...."), (90, b"later...")):
        found.whole(1, start_of(outer), timestamp, outer[:-8] + last)
    assert found.whole(1, start_of(deep), 30, cut(deep)) == deep[:-8] + b"late...."


def test_processes_are_not_mixed(deep: bytes) -> None:
    """Their addresses may be equal."""
    found = joiner()
    found.whole(1, start_of(deep[800:]), 0, deep[800:])
    assert found.whole(2, start_of(deep), 0, cut(deep)) == cut(deep)


def test_a_slice_that_is_whole_stays_as_it_is(deep: bytes) -> None:
    """It ends where the stack does, not at the end of a part."""
    found, outer = joiner(), deep[:-16]
    found.whole(1, TOP - len(deep) + 800, 0, deep[800:] + bytes(800))
    assert found.whole(1, TOP - len(deep), 0, outer) == outer


def test_words_in_no_range_are_no_code() -> None:
    """At the edges, between ranges, and where there are none."""
    words = np.array([0, 9, 10, 19, 20, 30, 39, 40], np.uint64)
    assert code_in([(30, 40), (10, 20)])(words).tolist() == [
        False,
        False,
        True,
        True,
        False,
        True,
        True,
        False,
    ]
    assert not code_in([])(words).any()


def test_addresses_of_the_upper_half_are_negative_numbers() -> None:
    """As that of `[vsyscall]` is in a recording."""
    words = np.array([15, 2**64 - 10, 2**64 - 5], np.uint64)
    assert code_in([(-10, -6), (10, 20)])(words).tolist() == [True, True, False]
