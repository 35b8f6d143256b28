"""
Probes of processes by perf events, which belong to a thread.

All threads of a process come to a probe that one of them has, but only as long as that one lives: its memory
is what the kernel compares. So probes move on to another thread when theirs ends before the process.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gadgetops.trace.processes import is_running, memory_holder


class Probe(NamedTuple):
    """
    A program at an instruction.

    Args:
        program: Its name.
        path: The instruction's file.
        offset_bytes: Of the instruction, in the file.
        at_return: To the returns of the function that begins there.
        cookie: What the program gets; 0 for none.
    """

    program: str
    path: Path
    offset_bytes: int
    at_return: bool
    cookie: int


class ProcessProbes:
    """
    Attaches probes to threads.

    Args:
        attach: Attaches a probe to a thread.
    """

    def __init__(self, attach: Callable[[Probe, int], None]) -> None:
        self._attach = attach
        self._threads: dict[int, int] = {}
        """By process."""
        self._probes: dict[int, list[Probe]] = {}
        self._files: dict[Path, int] = {}
        """Descriptors: a path by way of a thread ends with that thread."""

    def add(self, pid: int, probe: Probe) -> None:
        """
        Attach *probe* to process *pid*.

        Raises:
            TraceError: The kernel refuses.
            FileNotFoundError: The file is gone.
        """
        thread = self._threads.setdefault(pid, memory_holder(pid))
        self._attach(probe, thread)
        self._probes.setdefault(pid, []).append(probe._replace(path=self._kept(probe.path)))

    def renew(self) -> None:
        """
        Attach the probes of threads that have ended to another thread of their process, if it has one.

        Raises:
            TraceError: The kernel refuses.
        """
        for pid, thread in [*self._threads.items()]:
            if is_running(thread):
                continue
            self._threads[pid] = memory_holder(pid)
            if is_running(self._threads[pid]):
                for probe in self._probes.get(pid, ()):
                    self._attach(probe, self._threads[pid])
            else:
                self._forget(pid)

    def close(self) -> None:
        """Forget all, and close their files; what is attached stays so."""
        for pid in [*self._threads]:
            self._forget(pid)
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()

    def _forget(self, pid: int) -> None:
        del self._threads[pid]
        self._probes.pop(pid, None)

    def _kept(self, path: Path) -> Path:
        """Return a way to the file at *path* that is good as long as we run."""
        if path not in self._files:
            with contextlib.suppress(PermissionError):
                self._files[path] = os.open(path, os.O_PATH | os.O_CLOEXEC)
        return Path(f"/proc/self/fd/{self._files[path]}") if path in self._files else path
