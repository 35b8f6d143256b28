"""
JSON lines at speed: what repeats from event to event is decoded once.

Of about 800 bytes of a line only address, size and time are new; the rest (`k8s`, `operation`, `proc`,
`runtime`, …) comes back in every event of a thread, and `ustack` with every event of a stack. So each line of
a block is split into the three numbers, all lines at a time, and two texts, which are looked up. Lines whose
members stand in another order, or apart, are split into them, a little slower; what does not give these parts
either is left to the decoder of whole lines.
"""

from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

_ADDRESS: Final = b'{"addr":'
_SIZE: Final = b',"size":'
_RARE: Final = _SIZE.index(b"z")
"""Few bytes of a line are a `z`: wherever one is, `_SIZE` may be."""
_TIME: Final = b',"timestamp":"'
_RAW_TIME: Final = b'","timestamp_raw":'
_IN_TIME: Final = np.isin(np.arange(256), np.frombuffer(b"0123456789TZ:.+-", np.uint8))
_LONGEST_TIME: Final = 40
_MOST_DIGITS: Final = 19
"""Numbers that have more do not all fit 64 bits."""
_POWERS: Final = np.array([10**place for place in range(_MOST_DIGITS + 1)], np.uint64)
_AFTER_NUMBER: Final = np.frombuffer(b",}", np.uint8)
_PADDING: Final = bytes(64)
"""Lets a window begin at any byte of a block."""


class Parts(NamedTuple):
    """
    The events of a block of lines, column by column.

    Attributes:
        address: As `uint64`; `size_bytes` and `timestamp_ns` (since 1970) likewise.
        contexts: What stands between address and size, with the comma before it.
        stacks: What follows the time, likewise; usually `,"ustack":{…}`.
    """

    address: NDArray[np.uint64]
    size_bytes: NDArray[np.uint64]
    timestamp_ns: NDArray[np.uint64]
    contexts: list[bytes]
    stacks: list[bytes]


def line_ends(block: bytes) -> NDArray[np.int64]:
    """Return where the newlines of *block* are; numpy finds them several times as fast as `bytes.count`."""
    return np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))


def split_lines(block: bytes, ends: NDArray[np.int64]) -> Parts | None:
    """
    Return the parts of *block*, lines of JSON that end at *ends*; None if a line is of another shape.

    The texts are not looked into: they have to be decoded, each behind a member, before the lines are valid.
    """
    if not len(ends) or ends[-1] != len(block) - 1:
        return None
    try:
        return _split(block, ends)
    except _OtherShape:
        return None


class _Members(msgspec.Struct):
    """The members of a line that are looked at; what stands for a missing one means the same."""

    addr: int
    timestamp_raw: int
    size: int = 0
    proc: msgspec.Raw = msgspec.Raw(b"null")
    operation: msgspec.Raw = msgspec.Raw(b"null")
    operation_raw: msgspec.Raw = msgspec.Raw(b"null")
    lost: msgspec.Raw = msgspec.Raw(b"null")
    k8s: msgspec.Raw = msgspec.Raw(b"{}")
    runtime: msgspec.Raw = msgspec.Raw(b"{}")
    ustack: msgspec.Raw = msgspec.Raw(b"null")


_CONTEXT: Final = ("proc", "operation", "operation_raw", "lost", "k8s", "runtime")
_context_of: Final = attrgetter(*_CONTEXT)
_AS_CONTEXT: Final = "".join(f',"{name}":%b' for name in _CONTEXT).encode()
_AS_STACK: Final = b',"ustack":%b'
_DECODER: Final = msgspec.json.Decoder(_Members)


def split_members(block: bytes) -> Parts | None:
    """
    Return the parts of *block*, lines of JSON in any order of members; None if a line is of another shape.

    The texts have to be decoded as those of `split_lines`; they are made of the members that matter.
    """
    try:
        lines = _DECODER.decode_lines(block)
        address, size, timestamp = (_column(lines, name) for name in ("addr", "size", "timestamp_raw"))
    except (msgspec.MsgspecError, ValueError, OverflowError):
        return None
    contexts = [_AS_CONTEXT % _context_of(line) for line in lines]
    stacks = [_AS_STACK % line.ustack for line in lines]
    return Parts(address, size, timestamp, contexts, stacks) if lines else None


def _column(lines: list[_Members], name: str) -> NDArray[np.uint64]:
    """Return a member of *lines*. Raises `OverflowError` if one does not fit."""
    return np.array([getattr(line, name) for line in lines], np.uint64)


class _OtherShape(Exception):
    """A line is not as `ig` prints it."""


def _split(block: bytes, ends: NDArray[np.int64]) -> Parts:
    text = _Text(block)
    address, context_starts = text.numbers(text.after(_ADDRESS, np.concatenate(([0], ends[:-1] + 1))))
    context_ends = text.places_of_size(context_starts, ends)
    size, at = text.numbers(context_ends + len(_SIZE))
    at = text.after_time(text.after(_TIME, at))
    timestamp, stack_starts = text.numbers(text.after(_RAW_TIME, at))
    text.after(b"}", ends - 1)
    contexts = text.texts(context_starts, context_ends)
    return Parts(address, size, timestamp, contexts, text.texts(stack_starts, ends - 1))


class _Text:
    """A block of lines; each method takes a place in every line, and raises `_OtherShape` if one is unfit."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._padded = block + _PADDING

    def after(self, literal: bytes, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places behind *literal*, which must be at *places*."""
        if self._windows(places, len(literal)).tobytes() != literal * len(places):
            raise _OtherShape
        return places + len(literal)

    def after_time(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places behind a formatted time."""
        return places + _lengths(_IN_TIME[self._windows(places, _LONGEST_TIME)])

    def numbers(self, places: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Return the numbers at *places*, and the places behind them."""
        digits = self._windows(places, _MOST_DIGITS + 1) - np.uint8(ord("0"))
        lengths = _lengths(digits <= 9)
        if not lengths.all() or ((digits[:, 0] == 0) & (lengths > 1)).any():
            raise _OtherShape
        ends = places + lengths
        if not np.isin(self._windows(ends, 1), _AFTER_NUMBER).all():
            raise _OtherShape
        digits[np.arange(_MOST_DIGITS + 1) >= lengths[:, None]] = 0
        values = (digits[:, :-1] * _POWERS[_MOST_DIGITS - 1 :: -1]).sum(1)
        return values // _POWERS[_MOST_DIGITS - lengths], ends

    def places_of_size(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where `_SIZE` is between *starts* and *ends*, which must be once in each line."""
        rare = np.flatnonzero(np.frombuffer(self._block, np.uint8) == _SIZE[_RARE]) - _RARE
        rare = rare[rare >= 0]
        windows = self._windows(rare, len(_SIZE)).view(np.uint64)[:, 0]
        places: NDArray[np.int64] = rare[windows == np.frombuffer(_SIZE, np.uint64)]
        if len(places) != len(ends) or (places < starts).any() or (places > ends).any():
            raise _OtherShape
        return places

    def texts(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> list[bytes]:
        """Return what is between *starts* and *ends*."""
        if (starts > ends).any():
            raise _OtherShape
        block = self._block
        return [block[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    def _windows(self, places: NDArray[np.int64], n_bytes: int) -> NDArray[Any]:
        """Return the *n_bytes* at each of *places*; as items of so many bytes numpy copies them fast."""
        n_places = len(self._padded) - n_bytes + 1
        items = np.ndarray((n_places,), f"V{n_bytes}", self._padded, strides=(1,))
        return items[places].view(np.uint8).reshape(-1, n_bytes)


def _lengths(fits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many bytes of each row fit before the first that does not; 0 if all do."""
    lengths: NDArray[np.int64] = fits.argmin(axis=1)
    return lengths
