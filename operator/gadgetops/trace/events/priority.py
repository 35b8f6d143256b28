"""Going before others while events come: what the recorder does not read in time is lost."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Final

FIRST: Final = -10
FIRST_OF_ALL: Final = -20
BACK: Final = 5
"""Of a recorder that loses nothing by coming later: what it takes in the meantime, its target has not."""


def go_first(nice: int = FIRST) -> None:
    """Let this thread go before others from now on, where that is allowed; see setpriority(2)."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


@contextlib.contextmanager
def going_first(nice: int = FIRST) -> Iterator[None]:
    """
    Let this thread go before others in the block, or stand back; what it starts meanwhile goes with it.

    Without the right to go first one that has stood back stays there.
    """
    thread = threading.get_native_id()
    before = os.getpriority(os.PRIO_PROCESS, thread)
    go_first(nice)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, before)
