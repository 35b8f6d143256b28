"""
Who holds a lock (flock(2)), and whether that process goes on.

Linux says it in /proc/locks. In a container whose /proc does not show the holder nothing is known of it.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from gadgetops import process_stat

_LOCKS: Final = Path("/proc/locks")


def is_stopped(descriptor: int) -> bool:
    """Return whether a process that was stopped holds a lock on the file of *descriptor*."""
    status = os.fstat(descriptor)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError):
        rows = [line.split() for line in _LOCKS.read_text(encoding="ascii", errors="replace").splitlines()]
        # `->` marks who waits.
        holders = [row[4] for row in rows if len(row) > 5 and row[1] == "FLOCK" and row[5] == place]
        return any(process_stat.is_stopped(int(pid)) for pid in holders)
    return False
