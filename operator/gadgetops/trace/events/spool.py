"""
Room for records between the process that empties the ring buffer and the one that makes a recording of them.

Small amounts, which is what there is nearly always, pass through shared memory. What the recorder is late for
waits in a file without a name beside the recording: it takes disk in place of memory, and nobody has to clean
it up.
"""

import contextlib
import mmap
import os
import tempfile
from collections import deque
from pathlib import Path
from typing import Final, NamedTuple

MEMORY_BYTES: Final = 64 << 20
FILE_BYTES: Final = 4 << 30
_KEPT_BYTES: Final = 4 << 20
"""How much of the memory stays resident when nothing is in it."""
_MOST_OF_DISK: Final = 2
"""The file takes this part of what is free on the disk, at most."""


class Place(NamedTuple):
    """
    Where records lie in the spool.

    Attributes:
        is_in_file: They are in the file, not in memory.
        offset_bytes: Where they begin there.
        size_bytes: How much they are.
    """

    is_in_file: bool
    offset_bytes: int
    size_bytes: int


class Spool:
    """
    Shared by two processes, of which one calls `put` and `free_oldest` and the other `get`.

    Use as a context manager.

    Args:
        folder: Holds the file.
        memory_bytes: How much memory it may take.
        file_bytes: How much of the disk.
    """

    def __init__(
        self, folder: Path, *, memory_bytes: int = MEMORY_BYTES, file_bytes: int = FILE_BYTES
    ) -> None:
        self._memory = mmap.mmap(-1, memory_bytes)
        self._file = _nameless_file(folder)
        self._in_memory = _Circle(memory_bytes)
        self._in_file = _Circle(_disk_room(self._file, file_bytes))
        self._places: deque[Place] = deque()
        self._touched_bytes = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)

    def put(self, records: memoryview) -> Place | None:
        """Copy *records* and return where they are; None if there is no room before older ones go."""
        place = self._put_in_memory(records) or self._put_in_file(records)
        if place is not None:
            self._places.append(place)
        return place

    def get(self, place: Place) -> memoryview:
        """Return the records at *place*; they stay there until they are freed by the other process."""
        _, offset, size_bytes = place
        if not place.is_in_file:
            return memoryview(self._memory)[offset : offset + size_bytes]
        assert self._file is not None  # noqa: S101 - the other process put something there
        return memoryview(os.pread(self._file, size_bytes, offset))

    def free_oldest(self) -> None:
        """Give back the room of what was put first."""
        place = self._places.popleft()
        circle = self._in_file if place.is_in_file else self._in_memory
        circle.free_oldest()
        if not circle.is_empty:
            return
        if place.is_in_file and self._file is not None:
            os.ftruncate(self._file, 0)
        elif self._touched_bytes > _KEPT_BYTES:
            self._memory.madvise(mmap.MADV_REMOVE, _KEPT_BYTES, len(self._memory) - _KEPT_BYTES)
            self._touched_bytes = 0

    def _put_in_memory(self, records: memoryview) -> Place | None:
        size_bytes = len(records)
        offset = self._in_memory.take(size_bytes)
        if offset is None:
            return None
        self._memory[offset : offset + size_bytes] = records
        self._touched_bytes = max(self._touched_bytes, offset + size_bytes)
        return Place(is_in_file=False, offset_bytes=offset, size_bytes=size_bytes)

    def _put_in_file(self, records: memoryview) -> Place | None:
        """As `put`; a disk that is full is one without room."""
        size_bytes = len(records)
        offset = self._in_file.take(size_bytes)
        if offset is None or self._file is None:
            return None
        with contextlib.suppress(OSError):
            if os.pwrite(self._file, records, offset) == size_bytes:
                return Place(is_in_file=True, offset_bytes=offset, size_bytes=size_bytes)
        self._in_file.undo()
        return None


class _Circle:
    """Room of *size_bytes* of which contiguous pieces are taken, and freed in the same order."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._pieces: deque[tuple[int, int]] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it is taken."""
        return not self._pieces

    def take(self, size_bytes: int) -> int | None:
        """Return where a piece of *size_bytes* begins; None if there is no room for it."""
        start = self._room_for(size_bytes)
        if start is not None:
            self._pieces.append((start, start + size_bytes))
        return start

    def free_oldest(self) -> None:
        """Give the piece back that was taken first."""
        self._pieces.popleft()

    def undo(self) -> None:
        """Give the piece back that was taken last."""
        self._pieces.pop()

    def _room_for(self, size_bytes: int) -> int | None:
        if not self._pieces:
            # From the beginning, whose pages are there already.
            return 0 if size_bytes <= self._size_bytes else None
        first, last_end = self._pieces[0][0], self._pieces[-1][1]
        if last_end <= first:
            return last_end if last_end + size_bytes <= first else None
        if last_end + size_bytes <= self._size_bytes:
            return last_end
        return 0 if size_bytes <= first else None


def _nameless_file(folder: Path) -> int | None:
    """Return the descriptor of a file in *folder* that goes with its last user; None if there can be none."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            return os.dup(file.fileno())
    except OSError:
        return None


def _disk_room(file: int | None, at_most: int) -> int:
    if file is None:
        return 0
    try:
        found = os.fstatvfs(file)
    except OSError:
        return 0
    return min(at_most, found.f_bavail * found.f_frsize // _MOST_OF_DISK)
