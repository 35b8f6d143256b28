"""Doing several things at once, and stopping all of them when one fails or a person wants to stop."""

import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue

Task = Callable[[], None]

_FAREWELL_S = 1.0


class Stopped(Exception):
    """Raised in a task that is to end because another one failed."""


class Parallel:
    """
    Threads for tasks that wait for the network; a task calls `check` now and then.

    The threads do not keep the process alive: whoever presses Ctrl-C does not wait for a silent registry.
    """

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._stop = threading.Event()

    def check(self) -> None:
        """Raise `Stopped` if the tasks are to end."""
        if self._stop.is_set():
            raise Stopped

    def run(self, tasks: Iterable[Task]) -> None:
        """Run *tasks*, each once, in any order; the first exception of any ends all and is raised."""
        queue: SimpleQueue[Task] = SimpleQueue()
        failures: list[BaseException] = []
        for task in tasks:
            queue.put(task)
        n_threads = min(self._n_threads, queue.qsize())
        threads = [
            threading.Thread(target=self._work, args=(queue, failures), daemon=True) for _ in range(n_threads)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:
            self._stop.set()
            for thread in threads:
                thread.join(_FAREWELL_S / n_threads)
            raise
        if failures:
            raise failures[0]

    def _work(self, queue: SimpleQueue[Task], failures: list[BaseException]) -> None:
        while not self._stop.is_set():
            try:
                queue.get_nowait()()
            except Empty:
                return
            except Stopped:
                pass
            except BaseException as failure:  # whatever it is, it is raised where `run` was called
                failures.append(failure)
                self._stop.set()
