"""Rules for the gadget: packed as it reads them, kept as long as they are right."""

import pytest

from gadgetops.stacks.unwinding.cfi_instructions import Rule
from gadgetops.trace.events.caller_rules import BEGINNING, BY_FRAME, UNKNOWN, is_still_there, packed
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
