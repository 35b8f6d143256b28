"""
Complete stacks that were cut, by stacks of the same thread that were copied further up.

Frames stay where they are while what they called comes and goes. So a stack that has the outermost known
frame of another one, the same return address at the same place, shows what called that frame.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gadgetops.stacks.unwinding.libdw import MAX_FRAMES, Unwound

MOST_KEPT_BYTES: Final = 128 << 20
"""Memory for stacks that may complete others; those that come when it is full complete nothing."""
_MOST_COMPARED: Final = 64
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)

_Words = NDArray[np.uint64]


class _Kept(NamedTuple):
    pid: int
    timestamp_ns: int
    addresses: _Words
    pointers: _Words

    @property
    def outermost(self) -> tuple[int, int, int]:
        return self.pid, int(self.addresses[-1]), int(self.pointers[-1])


class Joiner:
    """
    Collects stacks, and completes those that were cut.

    Args:
        most_bytes: Memory for stacks.
    """

    def __init__(self, most_bytes: int = MOST_KEPT_BYTES) -> None:
        self._room_bytes = most_bytes
        self._kept: list[_Kept] = []
        self._numbers: dict[tuple[int, bytes, bytes], int] = {}
        self._cut: dict[int, tuple[int, Unwound]] = {}
        """By the stack's number: where it is kept, and what it is without others."""

    @property
    def cut_pids(self) -> frozenset[int]:
        """Processes of which a stack waits to be completed."""
        return frozenset(self._kept[number].pid for number, _ in self._cut.values())

    def add(self, stack_id: int, pid: int, timestamp_ns: int, stack: Unwound) -> bool:
        """Take a stack; return whether it was cut, and waits for `joined`."""
        if not len(stack.pointers) == len(stack.addresses) < MAX_FRAMES:
            return False
        new = _Kept(
            pid, timestamp_ns, np.array(stack.addresses, np.uint64), np.array(stack.pointers, np.uint64)
        )
        key = (pid, new.addresses.tobytes(), new.pointers.tobytes())
        if key not in self._numbers:
            n_bytes = 4 * new.addresses.nbytes
            if n_bytes > self._room_bytes:
                return False
            self._room_bytes -= n_bytes
            self._numbers[key] = len(self._kept)
            self._kept.append(new)
        if stack.end == "cut":
            self._cut[stack_id] = self._numbers[key], stack
        return stack.end == "cut"

    def joined(self) -> Iterable[tuple[int, Unwound, bool]]:
        """
        Yield each stack that was cut, as far as others show what lies above it.

        Yields:
            Number, stack, and whether others completed or extended it.
        """
        ends = {number: stack.end for number, stack in self._cut.values()}
        places = self._places_of({self._kept[number].outermost for number in ends})
        # The outermost end first: what shows more of a stack reaches further up, and is completed before it.
        for number in sorted(ends, key=lambda number: -self._kept[number].outermost[2]):
            of = self._kept[number]
            best = max(places[of.outermost], key=lambda place: self._likeness(of, *place), default=None)
            if best is not None:
                other, position = best
                self._kept[number] = _longer(of, self._kept[other], position)
                ends[number] = ends.get(other, "complete")
        for stack_id, (number, stack) in self._cut.items():
            whole = self._kept[number]
            is_longer = len(whole.addresses) > len(stack.addresses)
            pointers = whole.pointers.tolist()
            yield stack_id, Unwound(whole.addresses.tolist(), ends[number], pointers), is_longer

    def _places_of(
        self, frames: set[tuple[int, int, int]]
    ) -> dict[tuple[int, int, int], list[tuple[int, int]]]:
        """Return the stacks that go on above each of *frames* (process, address, pointer), and where."""
        found: dict[tuple[int, int, int], list[tuple[int, int]]] = defaultdict(list)
        mixed = {_mixed(np.array([[address], [pointer]], np.uint64)).item() for _, address, pointer in frames}
        wanted = np.array(sorted(mixed), np.uint64)
        for number, kept in enumerate(self._kept if frames else ()):
            hits = np.flatnonzero(np.isin(_mixed(np.stack([kept.addresses, kept.pointers]))[:-1], wanted))
            for position in hits.tolist():
                frame = kept.pid, int(kept.addresses[position]), int(kept.pointers[position])
                if frame in frames:
                    found[frame].append((number, position))
        return found

    def _likeness(self, of: _Kept, number: int, position: int) -> tuple[int, int]:
        """Return how many frames below the common one are the same, and how near in time they were seen."""
        other = self._kept[number]
        size = min(len(of.addresses), position + 1, _MOST_COMPARED)
        same = (of.addresses[-size:] == other.addresses[position + 1 - size : position + 1]) & (
            of.pointers[-size:] == other.pointers[position + 1 - size : position + 1]
        )
        n_same = size if same.all() else int(np.argmin(same[::-1]))
        return n_same, -abs(other.timestamp_ns - of.timestamp_ns)


def _mixed(frames: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return one number for the address and the pointer of each frame."""
    mixed: NDArray[np.uint64] = frames[0] * _ODD ^ frames[1]
    return mixed


def _longer(of: _Kept, other: _Kept, position: int) -> _Kept:
    """Return *of* with what *other* has above *position*."""
    addresses = np.concatenate([of.addresses, other.addresses[position + 1 :]])[:MAX_FRAMES]
    pointers = np.concatenate([of.pointers, other.pointers[position + 1 :]])[:MAX_FRAMES]
    return _Kept(of.pid, of.timestamp_ns, addresses, pointers)
