"""
Room for records between the process that empties the ring buffer and the one that makes a recording of them.

Small amounts, which is what there is nearly always, pass through the same few pages of memory. What the
recorder is late for takes more memory, and then a file without a name beside the recording: nobody has to
clean it up. Memory takes new records five times as fast as a file does.
"""

import contextlib
import os
import tempfile
from collections import deque
from pathlib import Path
from typing import Final, NamedTuple

MEMORY_BYTES: Final = 384 << 20
FILE_BYTES: Final = 4 << 30
_KEPT_BYTES: Final = 4 << 20
"""How much stays allocated when nothing is in it."""
_MOST_OF_MEMORY: Final = 4
_MOST_OF_DISK: Final = 2
"""The parts of what is free, in memory and on disk, that are taken at most."""


class Place(NamedTuple):
    """
    Where records lie in the spool.

    Attributes:
        store: Number of the store that has them.
        offset_bytes: Where they begin there.
        size_bytes: How much they are.
    """

    store: int
    offset_bytes: int
    size_bytes: int


class Spool:
    """
    Shared by two processes, of which one calls `put` and `free_oldest` and the other `get`.

    Use as a context manager.

    Args:
        folder: Holds the file.
        memory_bytes: How much memory it may take; a part of what is free by default.
        file_bytes: How much of the disk; the same.
    """

    def __init__(
        self, folder: Path, *, memory_bytes: int | None = None, file_bytes: int | None = None
    ) -> None:
        self._stores = [
            _Store(os.memfd_create("spool"), _memory_room() if memory_bytes is None else memory_bytes)
        ]
        file = _nameless_file(folder)
        if file is not None:
            self._stores.append(_Store(file, _disk_room(file) if file_bytes is None else file_bytes))
        self._order: deque[_Store] = deque()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        for store in self._stores:
            store.close()

    def put(self, records: memoryview) -> Place | None:
        """Copy *records* and return where they are; None if there is no room before older ones go."""
        for number, store in enumerate(self._stores):
            offset = store.put(records)
            if offset is not None:
                self._order.append(store)
                return Place(number, offset, len(records))
        return None

    def get(self, place: Place) -> memoryview:
        """Return a copy of the records at *place*."""
        return self._stores[place.store].get(place.offset_bytes, place.size_bytes)

    def free_oldest(self) -> None:
        """Give back the room of what was put first."""
        self._order.popleft().free_oldest()


class _Store:
    """A file of *size_bytes* of which contiguous pieces are taken, and freed in the same order."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        self._fd = fd
        self._size_bytes = size_bytes
        self._pieces: deque[tuple[int, int]] = deque()
        self._touched_bytes = 0

    def close(self) -> None:
        os.close(self._fd)

    def put(self, records: memoryview) -> int | None:
        """As `Spool.put`; a disk that is full is one without room."""
        start = self._room_for(len(records))
        if start is None:
            return None
        end = start + len(records)
        self._touched_bytes = max(self._touched_bytes, end)
        with contextlib.suppress(OSError):
            if os.pwrite(self._fd, records, start) == len(records):
                self._pieces.append((start, end))
                return start
        return None

    def get(self, offset_bytes: int, size_bytes: int) -> memoryview:
        return memoryview(os.pread(self._fd, size_bytes, offset_bytes))

    def free_oldest(self) -> None:
        self._pieces.popleft()
        if not self._pieces and self._touched_bytes > _KEPT_BYTES:
            os.ftruncate(self._fd, _KEPT_BYTES)
            self._touched_bytes = 0

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


def _memory_room() -> int:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        return min(MEMORY_BYTES, int(available.split()[1]) * 1024 // _MOST_OF_MEMORY)
    return MEMORY_BYTES


def _disk_room(file: int) -> int:
    found = os.fstatvfs(file)
    return min(FILE_BYTES, found.f_bavail * found.f_frsize // _MOST_OF_DISK)
