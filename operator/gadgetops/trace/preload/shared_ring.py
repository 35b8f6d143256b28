"""
The ring buffer that programs write and the recorder reads: a file that all of them map.

Programs reach it by its path when they begin, and need neither the path nor a descriptor afterwards.
"""

import contextlib
import mmap
import os
import secrets
import shutil
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gadgetops.errors import StorageError
from gadgetops.process_stat import is_stopped
from gadgetops.trace.events.ring import ALIGNMENT_BYTES, BUSY, DISCARDED, FLAGS, WINDOW_BYTES, RingBuffer
from gadgetops.trace.preload.layout import MAGIC, PATH_BYTES, READER_FIELDS, VERSION, WRITER_FIELDS
from gadgetops.trace.processes import is_alive, start_time

WAIT_NS: Final = 2_000_000_000
"""How long programs wait for a recorder that does not read, once."""
_FREE_PROCESS: Final = 0xFFFFFFFF
_FOLDER: Final = "gadgetops-ring-"
"""Begins the name of a folder with a ring; its recorder's process and when that began follow."""
_LOOKS: Final = 20
_LOOK_S: Final = 0.001
"""How long a record that is being written is waited for, before its writer is looked at."""
_ABANDONED_S: Final = 10.0
"""A writer that lives does not take so long: it jumped out of the library."""


def free_word(lap: int) -> bytes:
    """Return what stands in each word that is free in a *lap*, so that no other lap's writers take it."""
    return struct.pack("<II", BUSY | (lap & (DISCARDED - 1)), _FREE_PROCESS)


def _write_all(fd: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, offset)
        rest, offset = rest[written:], offset + written


class SharedRing:
    """
    A new ring of *size_bytes* in a file, gone with the recorder. Use as a context manager.

    Args:
        size_bytes: A power of two, and pages.
        library: What programs are to preload.
        settings: Further members of the recorder's page.

    Attributes:
        fd: The file.
        path: Its path.
        size_bytes: Of the records.

    Raises:
        StorageError: There is no room for it.
    """

    def __init__(self, size_bytes: int, library: Path, settings: dict[str, int]) -> None:
        self.size_bytes = size_bytes
        self._library = library
        self._settings = settings
        self._folder: Path
        self._pages: mmap.mmap
        self.fd: int
        self.path: Path

    def __enter__(self) -> "SharedRing":
        total = 2 * mmap.PAGESIZE + self.size_bytes
        self._folder, self.path, self.fd = _new_file(total)
        _write_all(self.fd, free_word(0) * (self.size_bytes // ALIGNMENT_BYTES), 2 * mmap.PAGESIZE)
        self._pages = mmap.mmap(self.fd, 2 * mmap.PAGESIZE)
        paths = {"ring_path": self.path, "library_path": self._library}
        for name, path in paths.items():
            struct.pack_into(f"<{PATH_BYTES}s", self._pages, READER_FIELDS[name][0], os.fsencode(path))
        values = {"ring_bytes": self.size_bytes, "wait_ns": WAIT_NS, **self._settings}
        for name, value in {**values, "is_recording": 1, "version": VERSION, "magic": MAGIC}.items():
            self.set(name, value)
        return self

    def __exit__(self, *_: object) -> None:
        self.set("is_recording", 0)
        self._pages.close()
        os.close(self.fd)
        shutil.rmtree(self._folder, ignore_errors=True)

    def set(self, name: str, value: int) -> None:
        """Set a member of the recorder's page."""
        offset, kind = READER_FIELDS[name]
        struct.pack_into(f"={kind}", self._pages, offset, value)

    def counter(self, name: str) -> int:
        """Return what a member of the library's page is now; 0 if it has none of that name."""
        if name not in WRITER_FIELDS:
            return 0
        offset, kind = WRITER_FIELDS[name]
        (value,) = struct.unpack_from(f"={kind}", self._pages, mmap.PAGESIZE + offset)
        return int(value)

    def lose(self, count: int) -> None:
        """Count events as lost that a program could not finish writing."""
        offset, kind = WRITER_FIELDS["lost_events"]
        place = mmap.PAGESIZE + offset
        (value,) = struct.unpack_from(f"={kind}", self._pages, place)
        struct.pack_into(f"={kind}", self._pages, place, value + count)


class SharedRingReader(RingBuffer):
    """
    Reader of a `SharedRing`: marks what it gives back as free, which the kernel has no need of.

    Args:
        fd: The ring's file.
        size_bytes: Of its records.
        event_bytes: Length of an event without header.
        window_bytes: As for other rings.
        on_lost: Told of how many events could not be read, because their writers were killed.
    """

    protection = mmap.PROT_READ | mmap.PROT_WRITE
    on_lost: Callable[[int], None] = staticmethod(lambda _count: None)

    def read(self) -> memoryview:
        """Return finished records, as other rings do; a record of a process that is gone is skipped."""
        for _ in range(_LOOKS):
            records = super().read()
            if records or not self.size_bytes:
                return records
            time.sleep(_LOOK_S)
        self._skip_abandoned()
        return super().read()

    def free(self, size_bytes: int) -> None:
        """Mark the room as free for the next lap, then give it back."""
        position = self._consumer[0]
        start = position % self._window_bytes
        word = free_word(position // self.room_bytes + 1)
        self._window[start : start + size_bytes] = word * (size_bytes // len(word))
        _fence()
        super().free(size_bytes)

    def _skip_abandoned(self) -> None:
        """Mark the record that is in the way as one to skip, if nobody will finish it."""
        position = self._consumer[0]
        start = position % self._window_bytes
        self._map_window((position - start) % self.room_bytes)
        header, pid = struct.unpack_from("<II", self._window, start)
        if pid == _FREE_PROCESS or not header & BUSY or not self._is_abandoned(position, pid):
            return
        struct.pack_into("<I", self._window, start, DISCARDED | (header & ~FLAGS))
        if header & ~FLAGS == self._event_bytes:
            self.on_lost(1)

    def _is_abandoned(self, position: int, pid: int) -> bool:
        if not is_alive(pid):
            return True
        now = time.monotonic()
        if getattr(self, "_stuck_at", None) != position or is_stopped(pid):
            self._stuck_at, self._stuck_s = position, now
        return now - self._stuck_s > _ABANDONED_S


_lock: Final = threading.Lock()


def _fence() -> None:
    """Have what was written be seen before what is written next: a lock that is taken twice does that."""
    for _ in range(2):
        with _lock:
            pass


def _new_file(size_bytes: int) -> tuple[Path, Path, int]:
    """Return a folder, a file of *size_bytes* in it, and the file's descriptor."""
    error: OSError | None = None
    for place in _places():
        _remove_those_of_the_dead(place)
        try:
            return _file_in(place, size_bytes)
        except OSError as found:
            error = error or found
    raise StorageError(
        Path(tempfile.gettempdir()),
        f"no room for a ring buffer: {error.strerror if error else 'no folder'}",
        hint="use a smaller --buffer-size",
    )


def _file_in(place: Path, size_bytes: int) -> tuple[Path, Path, int]:
    prefix = f"{_FOLDER}{os.getpid()}-{start_time(os.getpid())}-"
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    # What root starts may be another user's by and by; the name is not to be guessed.
    is_for_all = os.geteuid() == 0
    folder.chmod(0o711 if is_for_all else 0o700)
    path = folder / secrets.token_hex(16)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o666 if is_for_all else 0o600)
        # All of it now: else a program would get a signal where there is no room any more.
        os.posix_fallocate(fd, 0, size_bytes)
        # A reader's last window reaches beyond the end, where no record is.
        os.ftruncate(fd, size_bytes + WINDOW_BYTES)
    except OSError:
        os.close(fd)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder, path, fd


def _places() -> Iterator[Path]:
    """Yield folders, those in memory first."""
    for place in ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/var/tmp"):  # noqa: S108
        if place and os.access(place, os.W_OK | os.X_OK):
            yield Path(place)


def _remove_those_of_the_dead(place: Path) -> None:
    with contextlib.suppress(OSError):
        for each in place.glob(f"{_FOLDER}*-*-*"):
            pid, began, _ = each.name.removeprefix(_FOLDER).split("-", 2)
            if not (pid.isdecimal() and start_time(int(pid)) == began):
                shutil.rmtree(each, ignore_errors=True)
