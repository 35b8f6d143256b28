"""
The stack strings of `ig`: `addresses`, `buildid` and `symbols` of an event's `ustack`.

Up to 0.48 each frame has its number before it, `[0]0x00007f…; [1]0x…; `, from 0.55 on not; both end with the
separator. Frames stand leaf first.
"""

import re
from itertools import zip_longest
from typing import Final, NamedTuple

_SEPARATOR: Final = "; "
_INDEX: Final = re.compile(r"\[(\d+)\]")
_ADDRESS: Final = re.compile(r"(?:0x)?([0-9a-fA-F]{1,16})")
_BUILD_ID: Final = re.compile(r"([0-9a-f]{2,128}) \+(?:0x)?([0-9a-f]{1,16})")
_UNKNOWN: Final = re.compile(r"\[unknown\]|0x[0-9a-fA-F]+|")


class StackFrame(NamedTuple):
    """
    One frame of a stack as `ig` prints it.

    Attributes:
        address: Return address in the process; 0 where only other things are known.
        build_id: Of the module it lies in, hex; None where unknown.
        module_offset: Offset in bytes into that module's file; None where unknown.
        function: Name; None where unknown.
    """

    address: int
    build_id: str | None
    module_offset: int | None
    function: str | None


def parse_stack(addresses: str, build_ids: str, symbols: str) -> tuple[StackFrame, ...]:
    """
    Return the frames that the three strings of an event describe, leaf first; empty strings say nothing.

    Raises:
        ValueError: A frame is neither an address nor a build id with an offset.
    """
    parts = zip_longest(_frames(addresses), _frames(build_ids), _frames(symbols))
    return tuple(_frame(*part) for part in parts)


def _frames(text: str) -> list[str]:
    """Return the text of each frame, without its number."""
    frames = text.removesuffix(_SEPARATOR).removesuffix(";").split(_SEPARATOR) if text.strip() else []
    indices = [_INDEX.match(frame) for frame in frames]
    if all(index and int(index[1][:9]) == position for position, index in enumerate(indices)):
        return [frame[index.end() :] for frame, index in zip(frames, indices, strict=True) if index]
    return frames


def _frame(address: str | None, build_id: str | None, symbol: str | None) -> StackFrame:
    known = _BUILD_ID.fullmatch(build_id or "")
    number = _address(address)
    if build_id and not known:
        number = number or _address(build_id)
    function = None if symbol is None or _UNKNOWN.fullmatch(symbol) else symbol
    return StackFrame(number, known and known[1], known and int(known[2], 16), function)


def _address(text: str | None) -> int:
    if text is None:
        return 0
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise ValueError(f"ustack: expected an address, got {text[:40]!r}")
    return int(found[1], 16)
