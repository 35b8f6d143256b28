"""Looking after something at once, beside all other work: in a thread that does nothing else."""

import threading
from collections.abc import Callable
from typing import Final

from gadgetops.trace.priority import go_first

_INTERVAL_S: Final = 0.005


class Watch:
    """
    Calls *look* again and again in a thread of its own. Use as a context manager.

    Args:
        wait: Sleeps for so many seconds, or until there is a reason not to.
        look: Called after each wait.
    """

    def __init__(self, wait: Callable[[float], None], look: Callable[[], None]) -> None:
        self._wait = wait
        self._look = look
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopping.set()
        self._thread.join()

    def _run(self) -> None:
        go_first()
        while not self._is_stopping.is_set():
            self._wait(_INTERVAL_S)
            self._look()
