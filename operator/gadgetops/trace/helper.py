"""Helper processes of the recorder: forked from it, and working beside it until told to stop."""

import gc
import os
import signal
from collections.abc import Callable
from typing import Final

from gadgetops.errors import KernelRefused
from gadgetops.trace.events.priority import FIRST_OF_ALL, go_first
from gadgetops.trace.machine import end_with_parent
from gadgetops.trace.signals import STOP_SIGNALS

Work = Callable[[int, int], None]
"""What a helper does, given where it reads its orders and where it writes its answers."""

_FAILED: Final = 1


class HelperProcess:
    """
    Forked process that runs *work* at the highest priority.

    Fork it while there are no other threads and before probes are attached: it has copies of all descriptors.
    It ignores the signals that end a recording, and is killed when the recorder ends.

    Args:
        work: Runs in the helper; ends when its orders end.

    Attributes:
        orders: Descriptor to write orders to.
        answers: Descriptor to read answers from; they end when the helper does.

    Raises:
        TraceError: There are no processes or descriptors left.
    """

    def __init__(self, work: Work) -> None:
        recorder = os.getpid()
        try:
            orders_read, self.orders = os.pipe()
            self.answers, answers_write = os.pipe()
            self._pid: int | None = os.fork()
        except OSError as error:
            raise KernelRefused(
                "the recorder cannot start a helper process",
                error.strerror,
                hint="`ulimit -a` shows the limits",
            ) from error
        if self._pid == 0:
            os.close(self.orders)
            os.close(self.answers)
            _run(work, recorder, orders_read, answers_write)
        os.close(orders_read)
        os.close(answers_write)

    def close(self) -> None:
        """End its orders and answers, and wait until it has ended; once is enough."""
        if self._pid is None:
            return
        os.close(self.orders)
        os.close(self.answers)
        os.waitpid(self._pid, 0)
        self._pid = None


def _run(work: Work, recorder: int, orders: int, answers: int) -> None:
    """Run *work* as the helper process. Never returns."""
    status = _FAILED
    try:
        end_with_parent(recorder)
        # The terminal's Ctrl-C is for the recorder.
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        # What the recorder has imported stays shared: looking through it for garbage would copy it.
        gc.freeze()
        go_first(FIRST_OF_ALL)
        work(orders, answers)
        status = 0
    finally:
        os._exit(status)
