"""Rules for the gadget: packed as it reads them, kept as long as they are right."""

import pytest

from gadgetops.stacks.unwinding.cfi_instructions import Rule
from gadgetops.trace.events.caller_rules import (
    BEGINNING,
    BY_FRAME,
    UNKNOWN,
    KnownCode,
    is_still_there,
    packed,
)
from gadgetops.trace.processes import Range

STACK_POINTER, FRAME_POINTER, OTHER = 7, 6, 10


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(STACK_POINTER, 8, -8, {}), 1 | 1 << 16),
        (Rule(STACK_POINTER, 8 * 0xFFFF, -8, {FRAME_POINTER: -16, 3: -24}), 1 | 2 << 2 | 0xFFFF << 16),
        (Rule(FRAME_POINTER, 16, -8, {FRAME_POINTER: -16}), BY_FRAME),
        (Rule(STACK_POINTER, 8, None, {}), BEGINNING),
        # What 32 bits do not hold is left to those who unwind copies.
        (Rule(STACK_POINTER, 8 * 0x10000, -8, {}), UNKNOWN),
        (Rule(STACK_POINTER, 12, -8, {}), UNKNOWN),
        (Rule(STACK_POINTER, -8, -8, {}), UNKNOWN),
        (Rule(STACK_POINTER, 8, -16, {}), UNKNOWN),
        (Rule(STACK_POINTER, 8, -8, {FRAME_POINTER: 0}), UNKNOWN),
        (Rule(STACK_POINTER, 8, -8, {FRAME_POINTER: 16}), UNKNOWN),
        (Rule(STACK_POINTER, 8, -8, {FRAME_POINTER: -8 * (1 << 14)}), UNKNOWN),
        (Rule(OTHER, 8, -8, {}), UNKNOWN),
    ],
)
def test_a_rule_is_packed_if_the_gadget_can_follow_it(rule: Rule, expected: int) -> None:
    assert packed(rule) == expected


def mapped(start: int, end: int, offset: int = 0, path: str | None = "/lib/a.so") -> Range:
    return Range(start, end, True, offset, ("08:01", "12"), path, False)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (mapped(0x1000, 0x2000), [mapped(0x1000, 0x2000), mapped(0x5000, 0x6000)], True),
        (mapped(0x1000, 0x2000, path=None), [mapped(0x0, 0x9000, path=None)], True),
        (mapped(0x2000, 0x3000, 0x1000), [mapped(0x1000, 0x3000)], True),
        (mapped(0x1000, 0x2000), [], False),
        (mapped(0x1000, 0x2000), [mapped(0x1000, 0x2000, path="/lib/b.so")], False),
        (mapped(0x1000, 0x2000), [mapped(0x1000, 0x2000, 0x1000)], False),
        (mapped(0x1000, 0x2000), [mapped(0x1000, 0x1800)], False),
        (mapped(0x1000, 0x2000), [mapped(0x2000, 0x3000)], False),
    ],
)
def test_rules_are_right_as_long_as_nothing_is_unmapped(
    before: Range, now: list[Range], *, expected: bool
) -> None:
    """What grows, as the code of a just-in-time compiler, keeps its rules."""
    assert is_still_there(before, now) == expected


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        # Made at run time, it is written to, thrown away, or made elsewhere.
        ([mapped(0x1000, 0x2000)], True),
        ([mapped(0x1000, 0x2000), mapped(0x7000, 0x8000, path=None)], True),
        ([mapped(0x1000, 0x2000), mapped(0x8000, 0x9000, path="/lib/b.so")], True),
        # A file is where something was made, or gone.
        ([mapped(0x1000, 0x2000), mapped(0x5000, 0x6000, path="/lib/b.so")], False),
        ([mapped(0x4000, 0x6000, path=None)], False),
    ],
)
def test_code_that_is_made_at_run_time_comes_and_goes(then: list[Range], *, expected: bool) -> None:
    """Its rules are the same anywhere: others are asked for again only where files were exchanged."""
    code = KnownCode()
    assert code.take([mapped(0x1000, 0x2000), mapped(0x4000, 0x6000, path=None)])
    assert code.take([mapped(0x1000, 0x2000)])
    assert code.take(then) == expected


def test_code_of_which_nothing_told_is_looked_for_once() -> None:
    """What is asked for may be writable code, which the kernel does not count, or no code at all."""
    code, now = KnownCode(), [mapped(0x1000, 0x2000)]
    code.take(now)
    assert code.find(0x1800) == now[0]
    assert not code.is_outdated
    assert code.find(0x4800) is code.find(0x9000) is None
    assert code.is_outdated
    assert code.take([*now, mapped(0x4000, 0x5000, path=None)])
    assert code.find(0x4800) is not None
    assert code.find(0x9000) is None
    assert not code.is_outdated
