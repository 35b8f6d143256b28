"""The stack strings of ig, both ways in which its versions write them."""

import pytest

from gadgetops.recording.ig.stack import StackFrame, parse_stack

BUILD_ID = "0123456789abcdef0123456789abcdef01234567"


def frames(*addresses: int) -> tuple[StackFrame, ...]:
    return tuple(StackFrame(address, None, None, None) for address in addresses)


def test_frames_with_numbers_before_them_are_read():
    """Versions up to 0.48 number the frames."""
    assert frames(0x55D1, 0x7F36) == parse_stack("[0]0x00000000000055d1; [1]0x0000000000007f36; ", "", "")


def test_frames_without_numbers_are_read():
    """Version 0.55 does not number them."""
    assert frames(0x55D1, 0x7F36) == parse_stack("0x00000000000055d1; 0x0000000000007f36; ", "", "")


def test_no_strings_are_no_frames():
    """An event without a stack has three empty strings."""
    assert parse_stack("", "", "") == ()


@pytest.mark.parametrize("symbols", ["[0]inner; [1][unknown]; ", "inner; 0x7f36; "])
def test_functions_go_with_their_addresses(symbols: str):
    """What ig could not name, it writes as `[unknown]`, or as the address from 0.55 on."""
    found = parse_stack("[0]0x55d1; [1]0x7f36; ", "", symbols)
    assert [(frame.address, frame.function) for frame in found] == [(0x55D1, "inner"), (0x7F36, None)]


@pytest.mark.parametrize("index", ["[0]", ""])
def test_a_build_id_comes_with_its_offset(index: str):
    """A frame is then known by module and offset."""
    assert (StackFrame(0x55D1, BUILD_ID, 0x1D1, None),) == parse_stack(
        f"{index}0x55d1; ", f"{index}{BUILD_ID} +1d1; ", ""
    )


def test_a_build_id_needs_no_address():
    """Where ig has no addresses, module and offset are kept."""
    assert (StackFrame(0, BUILD_ID, 0x1D1, "f"),) == parse_stack("", f"{BUILD_ID} +1d1; ", "f; ")


def test_an_address_in_place_of_a_build_id_is_one():
    """The kernel falls back to the bare address where it finds no build id."""
    assert frames(0x7F36) == parse_stack("", "[0]7f36; ", "")


def test_functions_alone_are_frames():
    """A stack of names only keeps them."""
    assert [frame.function for frame in parse_stack("", "", "inner; main; ")] == ["inner", "main"]


def test_a_function_may_begin_with_a_bracket():
    """Brackets that are not the frames' own numbers belong to the name."""
    assert [frame.function for frame in parse_stack("", "", "[stack]; ")] == ["[stack]"]


@pytest.mark.parametrize("text", ["garbage; ", "0x; ", "0x11112222333344445; ", "[1]0x10; "])
def test_what_is_no_address_is_refused(text: str):
    """A frame is never guessed."""
    with pytest.raises(ValueError, match="expected an address"):
        parse_stack(text, "", "")
