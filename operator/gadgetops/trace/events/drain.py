"""
Emptying the ring buffer beside the work with what it held: a thread that does nothing else.

Turning events into a recording goes in bursts: new stacks, and segments that are written. The program that is
recorded does not wait for it, and what does not fit into the ring buffer is lost.
"""

import threading
import time
from collections import deque
from typing import Final

from gadgetops.trace.events.priority import go_first
from gadgetops.trace.events.ring import Batch, RingBuffer

_IDLE_SLEEP_S: Final = 0.002
_NEARLY_EMPTY_BYTES: Final = 1 << 20
_FILLING: Final = 8
"""The part of the ring buffer that is in use then."""
_GIVEN_WAY_S: Final = 0.001
_MOST_GIVEN_WAY_S: Final = 0.1
MAX_BACKLOG_BYTES: Final = 256 << 20
"""
What is kept in memory at most while events come; then the ring buffer fills, and what is lost is counted. In
the end what the ring buffer has comes on top.
"""


class Drain:
    """
    Reads *ring* in a thread of its own until it is stopped.

    Use as a context manager.

    Args:
        ring: Read by nobody else meanwhile.
    """

    def __init__(self, ring: RingBuffer) -> None:
        self._ring = ring
        self._batches: deque[Batch] = deque()
        self._backlog_bytes = 0
        self._lock = threading.Lock()
        self._is_stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)

    def __enter__(self) -> "Drain":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Read what is left in the ring buffer, to which nothing is added any more, and end."""
        self._is_stopping.set()
        self._thread.join()

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to."""
        return self._is_stopping.is_set()

    def take(self) -> Batch | None:
        """
        Return the oldest batch that was read; None if there is none now.

        Where the ring buffer fills, it waits a little: while both want the interpreter each has half of it,
        and what was read can wait, but not what is lost.

        Raises:
            BaseException: What went wrong in the thread.
        """
        deadline_s = time.monotonic() + _MOST_GIVEN_WAY_S
        while self._needs_all() and time.monotonic() < deadline_s:
            time.sleep(_GIVEN_WAY_S)
        with self._lock:
            if self._batches:
                batch = self._batches.popleft()
                self._backlog_bytes -= batch.size_bytes
                return batch
        if self._error is not None:
            raise self._error
        return None

    def _needs_all(self) -> bool:
        """Return whether the ring buffer fills, and there is room for what is in it."""
        is_filling = self._ring.size_bytes > self._ring.room_bytes // _FILLING
        return is_filling and not self.is_stopping and self._backlog_bytes < MAX_BACKLOG_BYTES

    def _run(self) -> None:
        go_first()
        try:
            while self._has_read() or not self.is_stopping:
                if self._ring.size_bytes < _NEARLY_EMPTY_BYTES and not self.is_stopping:
                    time.sleep(_IDLE_SLEEP_S)
        except BaseException as error:
            # Raised again by `take`, where it can be handled.
            self._error = error

    def _has_read(self) -> bool:
        """Read once, if there is room; return whether there was anything."""
        if self._backlog_bytes >= MAX_BACKLOG_BYTES and not self.is_stopping:
            time.sleep(_IDLE_SLEEP_S)
            return True
        batch = self._ring.read()
        if batch.size_bytes == 0:
            return False
        with self._lock:
            self._batches.append(batch)
            self._backlog_bytes += batch.size_bytes
        return True
