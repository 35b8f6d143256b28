"""What Linux says of a process or thread in /proc/PID/stat, see proc(5)."""

from pathlib import Path
from typing import Final

STATE: Final = 0
PARENT: Final = 1
FLAGS: Final = 6
USER_TICKS: Final = 11
SYSTEM_TICKS: Final = 12
START_TIME: Final = 19
"""Indices of fields, as `read_stat` returns them."""

_STOPPED: Final = (b"T", b"t")


def read_stat(pid: int) -> list[bytes]:
    """Return the fields after the name, from the state on; an empty list if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def is_stopped(pid: int) -> bool:
    """Return whether a signal or a debugger has stopped process *pid*."""
    fields = read_stat(pid)
    return bool(fields) and fields[STATE] in _STOPPED
