"""The signals that end a recording, which then still completes what it has."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Final

from gadgetops.trace.machine import end_with_parent

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REPORT_S: Final = 0.3
"""How long the witness may take to report a SIGINT that it got with us: a busy machine runs it late."""


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect the signals that end a recording for the length of the block instead of dying of them."""
    caught: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        caught.append(number)

    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number, handler in before.items():
        # What nohup or a shell's background job had ignored stays ignored.
        if handler is not signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class GroupWitness:
    """
    Process that reports each SIGINT sent to our whole process group. Use as a context manager.

    A terminal sends Ctrl-C to every process of its foreground group, so a command that we started has it too.
    `kill -INT` of the recorder reaches nobody else. A signal does not say which it was; a second process of
    the group does.
    """

    def __enter__(self) -> "GroupWitness":
        self._reports, write = os.pipe()
        # Blocked before the fork, so that no signal comes between.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        parent, self._pid = os.getpid(), os.fork()
        if self._pid == 0:
            self._run(parent, write)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(write)
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._reports)

    def has_report(self) -> bool:
        """Return whether a SIGINT to the whole group was reported, ever."""
        return bool(select.select([self._reports], [], [], 0)[0])

    def _run(self, parent: int, write: int) -> None:
        """Run the process. Never returns."""
        try:
            end_with_parent(parent)
            for number in set(STOP_SIGNALS) - {signal.SIGINT}:
                signal.signal(number, signal.SIG_IGN)
            while True:
                signal.sigwait({signal.SIGINT})
                os.write(write, b"!")
        finally:
            os._exit(0)


class StopRequest:
    """
    Decides from the signals that came whether the user wants the recording to end.

    The first Ctrl-C on a terminal is the command's: the recording goes on until it has ended, so that what it
    releases in its handler is recorded. Any other signal ends the recording.

    Args:
        signals: Grows as signals come.
        witness: Tells a Ctrl-C from a SIGINT to the recorder alone; None if there is no command of ours.
        reaches_command: Says whether a command of ours gets the terminal's Ctrl-C, and still runs.
        on_excused: Called when the first Ctrl-C was the command's.
    """

    def __init__(
        self,
        signals: Sequence[int],
        witness: GroupWitness | None,
        reaches_command: Callable[[], bool],
        on_excused: Callable[[], None],
    ) -> None:
        self._signals = signals
        self._witness = witness
        self._reaches_command = reaches_command
        self._on_excused = on_excused
        self._n_excused = 0
        self._n_to_end = 1
        self._judge_until: float | None = None

    def is_made(self) -> bool:
        """Return whether the recording is to end now."""
        if self._is_open():
            return False
        is_made = len(self._signals) > self._n_excused
        if is_made:
            self._n_to_end = 1 + self._n_excused
        return is_made

    @property
    def is_hurried(self) -> bool:
        """Whether a further signal came after the one that ended the recording, or after the command's."""
        return len(self._signals) > self._n_to_end

    def _is_open(self) -> bool:
        """Return whether it is not known yet whose the only signal was that came."""
        if self._n_excused or self._witness is None or [*self._signals] != [signal.SIGINT]:
            return False
        if self._judge_until is None:
            self._judge_until = time.monotonic() + (_REPORT_S if self._reaches_command() else 0)
        if time.monotonic() >= self._judge_until:
            return False
        if self._witness.has_report():
            self._n_excused = 1
            self._on_excused()
            return False
        return True
