"""
Mappings and what unmaps them, page by page: a pure function of the calls, in their order.

`munmap()` may take any pages, of one mapping or of several, and `mmap()` at a fixed address takes what is
there; so this is no pairing of two events at an address, and no SQL.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

USUAL_PAGE_BYTES: Final = 4096
"""What mappings are made of where a recording does not say; arm64 may have 16 or 64 KiB."""

_ADDRESSES: Final = 1 << 64


class Call(NamedTuple):
    """One successful mmap() or munmap(): the columns of an event, and `life_ns`, of which program it is."""

    seq: int
    timestamp_ns: int
    pid: int
    life_ns: int
    tid: int
    operation: str
    address: int
    size_bytes: int


class Range(NamedTuple):
    """Pages that are still mapped of the mapping *seq*, which began at *address* with *size_bytes*."""

    seq: int
    timestamp_ns: int
    pid: int
    life_ns: int
    address: int
    size_bytes: int
    start_address: int
    end_address: int

    @property
    def live_bytes(self) -> int:
        """How many of the bytes that were asked for lie in these pages."""
        return _size_bytes(self, self.start_address, self.end_address)


class End(NamedTuple):
    """What unmapped the last page of the mapping *seq*."""

    seq: int
    call: Call


class Part(NamedTuple):
    """How many bytes of the mapping *seq* a call unmapped that left others."""

    seq: int
    call: Call
    released_bytes: int


@dataclass
class MappingPairs:
    """
    What became of mappings.

    Args:
        ends: Of those that are gone.
        parts: Releases of parts, before the end if there is one.
        idle: munmap() calls that unmapped nothing that is known.
        open: What is left, in no order.
    """

    ends: list[End] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    idle: list[Call] = field(default_factory=list)
    open: list[Range] = field(default_factory=list)


def pair_mappings(
    calls: Iterable[Call],
    before: Iterable[Range] = (),
    page_bytes: int = USUAL_PAGE_BYTES,
    since_ns: int = 0,
) -> MappingPairs:
    """
    Return what *calls*, in their order, do to the ranges that are open *before* them and to one another.

    All of them are made of pages of *page_bytes*. What began before *since_ns* may concern mappings that are
    not known any more: it is never idle.

    Addresses are the signed numbers of the recording, or unsigned ones. A munmap() of length 0, as recordings
    of other gadgets have it, takes the mapping at that address; one that is not at a page is refused by the
    kernel.
    """
    found = MappingPairs()
    spaces: dict[tuple[int, int], _Space] = {}
    for piece in before:
        spaces.setdefault((piece.pid, piece.life_ns), _Space(page_bytes, since_ns)).insert(piece)
    for call in calls:
        spaces.setdefault((call.pid, call.life_ns), _Space(page_bytes, since_ns)).apply(call, found)
    found.open.extend(piece for space in spaces.values() for piece in space.pieces.values())
    return found


class _Space:
    """The mapped ranges of one process, which never overlap."""

    def __init__(self, page_bytes: int, since_ns: int) -> None:
        self.pieces: dict[int, Range] = {}
        self._page_bytes = page_bytes
        self._since_ns = since_ns
        self._starts: list[int] = []
        self._n_pieces: dict[int, int] = {}
        self._taken_over: dict[int, tuple[int, int]] = {}
        """Ranges that another mapping was put over, by their start: their end, and when that was."""
        self._last_taken_over_ns = 0

    def insert(self, piece: Range) -> None:
        """Add a range where none is."""
        self.pieces[piece.start_address] = piece
        insort(self._starts, piece.start_address)
        self._n_pieces[piece.seq] = self._n_pieces.get(piece.seq, 0) + 1

    def apply(self, call: Call, found: MappingPairs) -> None:
        """Map or unmap, and note in *found* what that did to others."""
        start, end = self._range(call)
        pieces = self._overlapping(start, end)
        if call.operation == "munmap":
            # mremap() is reported when it returns, with the time of its entry: what others mapped since then,
            # where it had unmapped, stays.
            pieces = [piece for piece in pieces if piece.timestamp_ns <= call.timestamp_ns]
        released = self._take(pieces, start, end)
        for seq, size_bytes in released.items():
            if seq in self._n_pieces:
                found.parts.append(Part(seq, call, size_bytes))
            else:
                found.ends.append(End(seq, call))
        if call.operation == "mmap":
            for piece in pieces:
                self._taken_over[piece.start_address] = piece.end_address, call.timestamp_ns
                self._last_taken_over_ns = max(self._last_taken_over_ns, call.timestamp_ns)
            address = call.address % _ADDRESSES
            whose = (call.seq, call.timestamp_ns, call.pid, call.life_ns)
            self.insert(Range(*whose, address, call.size_bytes, start, end))
        elif not released and not self._overlapping(start, end) and not self._is_late(call, start, end):
            found.idle.append(call)

    def _is_late(self, call: Call, start: int, end: int) -> bool:
        """Return whether *call* unmapped what was mapped anew before its report, and may be gone again."""
        return call.timestamp_ns < self._since_ns or (
            call.timestamp_ns < self._last_taken_over_ns
            and any(
                begin < end and start < stop and call.timestamp_ns < at_ns
                for begin, (stop, at_ns) in self._taken_over.items()
            )
        )

    def _range(self, call: Call) -> tuple[int, int]:
        """Return the pages that *call* names; none where the kernel refuses it."""
        start = call.address % _ADDRESSES
        if call.operation == "mmap":
            start -= start % self._page_bytes
            return start, start + max(self._page_bytes, self._whole_pages(call.size_bytes))
        if start % self._page_bytes:
            return start, start
        if call.size_bytes == 0:
            return start, self.pieces[start].end_address if start in self.pieces else start
        return start, start + self._whole_pages(call.size_bytes)

    def _whole_pages(self, size_bytes: int) -> int:
        return -(-size_bytes // self._page_bytes) * self._page_bytes

    def _take(self, pieces: Iterable[Range], start: int, end: int) -> dict[int, int]:
        """Unmap *pieces* from *start* to *end* and return how many bytes of each mapping that is."""
        released: dict[int, int] = {}
        for piece in pieces:
            self._remove(piece)
            low, high = max(start, piece.start_address), min(end, piece.end_address)
            released[piece.seq] = released.get(piece.seq, 0) + _size_bytes(piece, low, high)
            if piece.start_address < low:
                self.insert(piece._replace(end_address=low))
            if high < piece.end_address:
                self.insert(piece._replace(start_address=high))
        return released

    def _overlapping(self, start: int, end: int) -> list[Range]:
        if start == end:
            return []
        first = bisect_left(self._starts, start)
        if first and self.pieces[self._starts[first - 1]].end_address > start:
            first -= 1
        return [self.pieces[begin] for begin in self._starts[first : bisect_left(self._starts, end)]]

    def _remove(self, piece: Range) -> None:
        del self.pieces[piece.start_address]
        del self._starts[bisect_left(self._starts, piece.start_address)]
        self._n_pieces[piece.seq] -= 1
        if not self._n_pieces[piece.seq]:
            del self._n_pieces[piece.seq]


def _size_bytes(piece: Range, low: int, high: int) -> int:
    """Return how many of the bytes that were asked for lie between two addresses; the last page has fewer."""
    end = piece.address + piece.size_bytes
    return min(high, end) - min(low, end)
