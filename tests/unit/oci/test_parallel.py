"""Tasks at once: all are done, or all end with the first failure."""

import threading

import pytest

from gadgetops.oci.parallel import Parallel


def test_each_task_is_done_once() -> None:
    done: list[int] = []
    Parallel(3).run([lambda i=i: done.append(i) for i in range(20)])  # type: ignore[misc]
    assert sorted(done) == list(range(20))


def test_no_task_is_no_work() -> None:
    Parallel(3).run([])


def test_the_first_failure_ends_the_others() -> None:
    """Those that run learn of it at their next check; those that wait never begin."""
    parallel, begun = Parallel(2), []
    is_running, may_end = threading.Event(), threading.Event()

    def fail() -> None:
        is_running.wait(20)
        raise ValueError("first")

    def go_on() -> None:
        begun.append(1)
        is_running.set()
        while not may_end.wait(0.001):
            parallel.check()

    with pytest.raises(ValueError, match="first"):
        parallel.run([fail, go_on, *[go_on] * 5])
    assert begun == [1]


def test_an_interruption_ends_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one that waits for somebody who says nothing: nobody waits for it."""
    parallel, says_nothing = Parallel(1), threading.Event()
    monkeypatch.setattr("gadgetops.oci.parallel._FAREWELL_S", 0.01)
    right, n_joined = threading.Thread.join, []

    def join(thread: threading.Thread, timeout: float | None = None) -> None:
        n_joined.append(timeout)
        if timeout is None:
            raise KeyboardInterrupt
        right(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", join)
    with pytest.raises(KeyboardInterrupt):
        parallel.run([lambda: says_nothing.wait(20) and None])
    says_nothing.set()
    assert n_joined == [None, 0.01]
