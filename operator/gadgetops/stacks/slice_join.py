"""
What a slice lacks of a deep stack, from slices of the same stack that begin further up.

Frames stay where they are while what they called comes and goes. So a slice taken in an outer function shows
what lies above one taken further down, provided that where they overlap they agree: in the words that point
into code, which make the stack; the rest is data that may have changed meanwhile.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gadgetops.recording.schema import SLICE_PART_BYTES

_COMPARED_BYTES: Final = 2048
"""So much is compared, directly below where the one slice ends."""
_MOST_BYTES: Final = 1 << 20
"""A slice is not extended beyond that."""
_MOST_KEPT: Final = 512
_WORD_BYTES: Final = 8

IsCode = Callable[[NDArray[np.uint64]], NDArray[np.bool_]]


class _Kept(NamedTuple):
    start: int
    timestamp_ns: int
    memory: bytes

    @property
    def end(self) -> int:
        return self.start + len(self.memory)


class Joiner:
    """
    Extends slices by those that were shown before them.

    Args:
        is_code: Tells of words whether they point into code.
    """

    def __init__(self, is_code: IsCode) -> None:
        self._is_code = is_code
        self._pid = -1
        self._kept: deque[_Kept] = deque(maxlen=_MOST_KEPT)
        self.n_joined = 0

    def whole(self, pid: int, start: int, timestamp_ns: int, memory: bytes) -> bytes:
        """
        Return *memory* with what others show to lie above it, as far as they agree with it.

        To be called process by process, and in each from the outermost slice to the innermost.

        Args:
            pid: The process.
            start: Of the slice: its stack pointer.
            timestamp_ns: When it was taken; of several that agree, the nearest counts.
            memory: The slice.
        """
        if pid != self._pid:
            self._pid = pid
            self._kept.clear()
        above = b"" if len(memory) % SLICE_PART_BYTES else self._above(start, timestamp_ns, memory)
        self.n_joined += bool(above)
        self._kept.append(_Kept(start, timestamp_ns, (memory + above)[:_MOST_BYTES]))
        return self._kept[-1].memory

    def _above(self, start: int, timestamp_ns: int, memory: bytes) -> bytes:
        end = start + len(memory)
        reaching = (each for each in self._kept if start < each.start < end < each.end)
        for other in sorted(reaching, key=lambda each: abs(each.timestamp_ns - timestamp_ns)):
            if self._agree(memory, other.memory[: end - other.start]):
                return other.memory[end - other.start :]
        return b""

    def _agree(self, one: bytes, other: bytes) -> bool:
        """Return whether two copies that end at the same address show the same stack there."""
        size = min(len(one), len(other), _COMPARED_BYTES) // _WORD_BYTES * _WORD_BYTES
        code = self._code(one, size)
        return bool(code.any()) and np.array_equal(code, self._code(other, size))

    def _code(self, memory: bytes, size_bytes: int) -> NDArray[np.uint64]:
        """Return the last words of *memory*, 0 for those that do not point into code."""
        words = np.frombuffer(memory[len(memory) - size_bytes :], "<u8")
        return np.where(self._is_code(words), words, np.uint64(0))


def code_in(ranges: list[tuple[int, int]]) -> IsCode:
    """
    Return what tells whether words lie in *ranges*, each its first address and the one after its last.

    Addresses are signed, as recordings have them; that of `[vsyscall]` is negative.
    """
    ordered = np.array(ranges, np.int64).reshape(-1, 2).astype(np.uint64)
    ordered = ordered[np.argsort(ordered[:, 0])]
    starts, ends = ordered[:, 0], np.concatenate([np.zeros(1, np.uint64), ordered[:, 1]])

    def is_code(words: NDArray[Any]) -> NDArray[np.bool_]:
        return words < ends[np.searchsorted(starts, words, side="right")]

    return is_code
