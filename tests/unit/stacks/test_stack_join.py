"""Stacks that were cut are completed by those that have their outermost frame, and only by those."""

from gadgetops.stacks.unwinding.libdw import Unwound
from gadgetops.stacks.unwinding.stack_join import Joiner

TOP = 0x7FFF_0000_0000
FRAME_BYTES = 64
CODE = 0x400000


def stack(depths: range, end: str = "complete", code: int = CODE) -> Unwound:
    """Frames at some depths below `TOP`, the innermost first."""
    inwards = [*reversed(depths)]
    return Unwound([code + depth for depth in inwards], end, [TOP - FRAME_BYTES * depth for depth in inwards])


def joined(joiner: Joiner) -> dict[int, tuple[list[int], str, bool]]:
    return {number: (found.addresses, found.end, is_joined) for number, found, is_joined in joiner.joined()}


def test_a_stack_goes_on_in_one_that_was_copied_further_up() -> None:
    """Through as many as it takes, in whatever order they come."""
    parts = {1: range(80, 100), 2: range(60, 90), 3: range(30, 70), 4: range(40)}
    for order in ((1, 2, 3, 4), (4, 3, 2, 1), (2, 4, 1, 3)):
        joiner = Joiner()
        waits = {number: joiner.add(number, 7, number, stack(parts[number], end(number))) for number in order}
        assert waits == {1: True, 2: True, 3: True, 4: False}
        expected = {n: (stack(range(parts[n].stop)).addresses, "complete", True) for n in (1, 2, 3)}
        assert joined(joiner) == expected


def end(number: int) -> str:
    return "complete" if number == 4 else "cut"


def test_what_completes_a_stack_may_itself_be_cut() -> None:
    joiner = Joiner()
    joiner.add(1, 7, 1, stack(range(50, 60), "cut"))
    joiner.add(2, 7, 2, stack(range(40, 55), "cut"))
    assert joined(joiner)[1] == (stack(range(40, 60)).addresses, "cut", True)


def test_another_stack_at_the_same_place_completes_nothing() -> None:
    """Of other return addresses, another process, or without a frame above."""
    for pid, other in (
        (7, stack(range(60), code=0x500000)),
        (8, stack(range(60))),
        (7, stack(range(50, 70))),
    ):
        joiner = Joiner()
        joiner.add(1, 7, 1, stack(range(50, 90), "cut"))
        joiner.add(2, pid, 2, other)
        assert joined(joiner) == {1: (stack(range(50, 90)).addresses, "cut", False)}


def test_of_several_the_likest_counts_and_of_these_the_nearest_in_time() -> None:
    joiner, outer = Joiner(), range(20, 50)
    joiner.add(1, 7, 30, stack(range(45, 90), "cut"))
    for timestamp_ns, first in ((10, 3), (20, 2), (90, 1)):
        joiner.add(timestamp_ns, 7, timestamp_ns, above(stack(outer), first))
    unlike = stack(outer)
    joiner.add(31, 7, 31, above(unlike._replace(addresses=[0x500000, *unlike.addresses[1:]]), 4))
    assert joined(joiner)[1][0] == above(stack(range(20, 90)), 2).addresses


def above(found: Unwound, first: int) -> Unwound:
    """A stack that begins with another frame above."""
    return found._replace(addresses=[*found.addresses, first], pointers=[*found.pointers, TOP])


def test_where_there_is_no_room_stacks_stay_as_they_are() -> None:
    joiner = Joiner(most_bytes=100)
    assert not joiner.add(1, 7, 1, stack(range(80, 100), "cut"))
    joiner.add(2, 7, 2, stack(range(90)))
    assert joined(joiner) == {}


def test_stacks_whose_places_are_unknown_are_not_joined() -> None:
    joiner = Joiner()
    assert not joiner.add(1, 7, 1, stack(range(80, 100), "cut")._replace(pointers=[]))
