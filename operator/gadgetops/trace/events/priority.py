"""Going before others while events come: what the recorder does not read in time is lost."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Final

FIRST: Final = -10
FIRST_OF_ALL: Final = -20


def go_first(nice: int = FIRST) -> None:
    """Let this thread go before others from now on, where that is allowed; see setpriority(2)."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


@contextlib.contextmanager
def going_first() -> Iterator[None]:
    """Let this thread go before others in the block; what it starts meanwhile goes with it."""
    thread = threading.get_native_id()
    before = os.getpriority(os.PRIO_PROCESS, thread)
    go_first()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, before)
