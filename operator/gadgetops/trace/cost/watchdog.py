"""Watchdog: ends a recording whose recorder stands still, so that no target is slowed for nothing."""

import contextlib
import mmap
import os
import signal
import struct
import sys
import time
from typing import Final

from gadgetops.errors import KernelRefused
from gadgetops.process_stat import read_stat
from gadgetops.trace.machine import end_with_parent
from gadgetops.trace.signals import STOP_SIGNALS

STOPPED_S: Final = 5.0
"""How long the recorder may be stopped, as by Ctrl-Z."""
STALLED_S: Final = 60.0
"""How long one round of its loop may take, which is some milliseconds; a busy machine makes it wait."""
_GRACE_S: Final = 5.0
"""How long it may take to detach once it is asked to."""
_POLL_S: Final = 0.25
_PULSE: Final = struct.Struct("d")
_STOPPED: Final = [b"T"]
"""State of a process that a signal has stopped; a debugger makes it another."""


class Watchdog:
    """
    Process that ends the recorder when it stands still while probes are attached. Use as a context manager.

    It asks by SIGTERM, and SIGCONT, so that the recording is ended as a whole; then it kills. The kernel
    detaches the probes of a process that has ended. Fork it before probes are attached: it has copies of all
    descriptors, which would keep them.

    Raises:
        TraceError: There are no processes left.
    """

    def __enter__(self) -> "Watchdog":
        self._shared = mmap.mmap(-1, _PULSE.size)
        recorder = os.getpid()
        try:
            self._pid = os.fork()
        except OSError as error:
            raise KernelRefused("the recorder cannot start its watchdog", error.strerror) from error
        if self._pid == 0:
            _run(recorder, self._shared)
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._shared.close()

    def pulse(self) -> None:
        """Say that the recorder is at work; to be called in each round while probes are attached."""
        _PULSE.pack_into(self._shared, 0, time.monotonic())

    def rest(self) -> None:
        """Say that no probe is attached any more: it may take as long as it wants."""
        _PULSE.pack_into(self._shared, 0, 0.0)


def _run(recorder: int, shared: mmap.mmap) -> None:
    """Run the watchdog's process. Never returns."""
    try:
        end_with_parent(recorder)
        # Out of the terminal's group: Ctrl-Z is for the recorder.
        os.setsid()
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        _watch(recorder, shared)
    finally:
        os._exit(0)


def _watch(recorder: int, shared: mmap.mmap) -> None:
    stopped_s = 0.0
    while True:
        time.sleep(_POLL_S)
        (pulse_s,) = _PULSE.unpack_from(shared)
        stopped_s = stopped_s + _POLL_S if pulse_s and read_stat(recorder)[:1] == _STOPPED else 0.0
        if stopped_s >= STOPPED_S:
            _end(recorder, shared, f"was stopped for {STOPPED_S:.0f} s")
            return
        if pulse_s and time.monotonic() - pulse_s > STALLED_S:
            _end(recorder, shared, f"did nothing for {STALLED_S:.0f} s")
            return


def _end(recorder: int, shared: mmap.mmap, why: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"gadgetops: the recorder {why}: its recording ends, to slow nothing any more\n")
        sys.stderr.flush()
    os.kill(recorder, signal.SIGTERM)
    os.kill(recorder, signal.SIGCONT)
    until_s = time.monotonic() + _GRACE_S
    while time.monotonic() < until_s:
        time.sleep(_POLL_S)
        if not _PULSE.unpack_from(shared)[0]:
            return
    os.kill(recorder, signal.SIGKILL)
