"""
Who holds a lock (flock(2)), and whether that process goes on.

Linux says it in /proc/locks. In a container whose /proc does not show the holder nothing is known of it.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

_LOCKS: Final = Path("/proc/locks")
_STOPPED: Final = "Tt"
"""States of a process that was stopped, by a signal or by a debugger."""


def is_stopped(descriptor: int) -> bool:
    """Return whether a process that was stopped holds a lock on the file of *descriptor*."""
    status = os.fstat(descriptor)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError):
        rows = [line.split() for line in _LOCKS.read_text(encoding="ascii", errors="replace").splitlines()]
        # `->` marks who waits.
        holders = [row[4] for row in rows if len(row) > 5 and row[1] == "FLOCK" and row[5] == place]
        return any(_state(pid) in _STOPPED for pid in holders)
    return False


def _state(pid: str) -> str:
    with contextlib.suppress(OSError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[0]
    return "?"
