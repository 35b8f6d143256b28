"""
Stacks that were unwound before, found again by the words that decided.

What libdw finds depends on the registers and on the words that it reads. So a slice with the same words in
the same places has the same stack. The same are words that point to one place in the code, or equally far
into their slices. All others are data: memory that a rule finds by them would lie outside of the slice, where
none is, and a stack that was unwound to its beginning did not depend on it.
"""

import bisect
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Final

_WORD_BYTES: Final = 8
_ADDRESS: Final = (1 << 64) - 1
_DATA: Final = 0
_MOST_KNOWN: Final = 100_000
"""Frames that are kept: some 0.1 GB. Then all are forgotten, since those that come next are others."""

_Meanings = tuple[int, ...]


class _Frame:
    """
    What was read to find a frame, as far as all before it was the same.

    Attributes:
        last: The last word of the slice that was.
        words: Takes all of them from a slice.
        callers: What was read next, by what the words there meant; or the whole stack.
    """

    __slots__ = ("callers", "last", "words")

    def __init__(self, places: Sequence[int]) -> None:
        self.last = max(places, default=0)
        self.words: Callable[[Sequence[int]], Sequence[int]] = _taker(places)
        self.callers: dict[_Meanings, _Frame | list[int]] = {}


class UnwoundBefore:
    """
    Remembers stacks of processes that had the same code mapped.

    Args:
        code: Where that was: first addresses and those after the last ones, none within another.
        stack_pointer: Which register that is.
    """

    def __init__(self, code: Iterable[tuple[int, int]], stack_pointer: int) -> None:
        # Addresses are signed, as recordings have them.
        self._code = sorted(address & _ADDRESS for mapped in code for address in mapped)
        self._stack_pointer = stack_pointer
        self._first: dict[_Meanings, _Frame | list[int]] = {}
        self._n_frames = 0

    def find(self, registers: Sequence[int], memory: bytes) -> list[int] | None:
        """
        Return the addresses of the stack, leaf first, if one like it is known.

        Args:
            registers: By DWARF's numbers, the last one is the program counter.
            memory: From the stack pointer upwards.
        """
        meanings = self._meanings(registers, memory)
        words = _words(memory)
        found = self._first.get(_root(registers, meanings))
        while isinstance(found, _Frame):
            if found.last >= len(words):
                return None
            found = found.callers.get(meanings(found.words(words)))
        return found

    def keep(
        self, registers: Sequence[int], memory: bytes, reads: Sequence[Sequence[int]], addresses: list[int]
    ) -> None:
        """
        Remember a stack that was unwound to its beginning.

        Args:
            registers: As of `find`.
            memory: As of `find`.
            reads: For each frame where in *memory* its words were read, in bytes.
            addresses: The stack, leaf first.
        """
        if self._n_frames > _MOST_KNOWN:
            self._first, self._n_frames = {}, 0
        meanings = self._meanings(registers, memory)
        words = _words(memory)
        siblings: dict[_Meanings, _Frame | list[int]] = self._first
        key = _root(registers, meanings)
        for offsets_bytes in reads:
            frame = siblings.get(key)
            if frame is None:
                if any(offset % _WORD_BYTES for offset in offsets_bytes):
                    return
                frame = siblings[key] = _Frame([offset // _WORD_BYTES for offset in offsets_bytes])
                self._n_frames += 1
            assert isinstance(frame, _Frame)  # noqa: S101 - what is read next follows from what was read
            siblings, key = frame.callers, meanings(frame.words(words))
        siblings[key] = addresses

    def _meanings(self, registers: Sequence[int], memory: bytes) -> Callable[[Sequence[int]], _Meanings]:
        """Return what tells what words mean: an address of code, a place in the slice (below 0), or data."""
        start, size_bytes, code = registers[self._stack_pointer], len(memory), self._code

        def meanings(words: Sequence[int]) -> _Meanings:
            # In one piece: this is done some hundred times for each slice.
            return tuple(
                [
                    ~(word - start)
                    if 0 <= word - start < size_bytes
                    else (word if bisect.bisect_right(code, word) % 2 else _DATA)
                    for word in words
                ]
            )

        return meanings


def _root(registers: Sequence[int], meanings: Callable[[Sequence[int]], _Meanings]) -> _Meanings:
    return (registers[-1], *meanings(registers))


def _words(memory: bytes) -> Sequence[int]:
    return memoryview(memory)[: len(memory) // _WORD_BYTES * _WORD_BYTES].cast("Q")


def _taker(places: Sequence[int]) -> Callable[[Sequence[int]], Sequence[int]]:
    """Return what takes the words at *places*."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda words: [words[place] for place in places]
