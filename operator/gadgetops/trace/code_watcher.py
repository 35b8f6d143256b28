"""
Telling the gadget what is code as soon as it does not know, in a process of its own.

Until it is told the gadget sends every stack, and gives up after thousands. A thread would share the
interpreter with those that read all that, and be late by a tenth of a second just when much comes.
"""

import json
import os
import select
import signal
import time
from typing import Final

from gadgetops.trace.events.code_pages import CodePages
from gadgetops.trace.events.priority import FIRST_OF_ALL, go_first
from gadgetops.trace.machine import end_with_parent
from gadgetops.trace.signals import STOP_SIGNALS

_INTERVAL_S: Final = 0.005
_SHARE_OF_TIME: Final = 10
"""Code that changes all the time, as that of just-in-time compilers, is not looked at more than this part."""


class Settler:
    """
    Looks after *code* until it is stopped. Use as a context manager, before there are other threads.

    Args:
        code: The gadget's tables.
        ring_fd: The ring buffer, which wakes whoever waits for it with the first stack that was sent for
            want of knowledge.
    """

    def __init__(self, code: CodePages, ring_fd: int) -> None:
        self._code = code
        self._ring_fd = ring_fd
        self._unwound: dict[int, str] = {}
        self._not_before_s: dict[int, float] = {}
        self._pid: int | None = None
        self._ends: tuple[int, int]

    def __enter__(self) -> "Settler":
        stop_read, stop_write = os.pipe()
        answer_read, answer_write = os.pipe()
        parent, self._pid = os.getpid(), os.fork()
        if self._pid == 0:
            os.close(stop_write)
            self._run(parent, stop_read, answer_write)
        os.close(stop_read)
        os.close(answer_write)
        self._ends = stop_write, answer_read
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> dict[int, str]:
        """
        End, and return by which way processes have their stacks, `fp` or `dwarf`, by pid.

        Empty if that is not known: the second time, and after it was killed.
        """
        if self._pid is None:
            return {}
        stop, answer_fd = self._ends
        os.close(stop)
        with os.fdopen(answer_fd) as answer:
            text = answer.read()
        os.waitpid(self._pid, 0)
        self._pid = None
        return {int(pid): way for pid, way in json.loads(text or "{}").items()}

    def _run(self, parent: int, stop: int, answer: int) -> None:
        """Be the process. Never returns."""
        try:
            end_with_parent(parent)
            # The terminal's Ctrl-C is for the recorder.
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            go_first(FIRST_OF_ALL)
            self._follow(stop)
            with os.fdopen(answer, "w") as file:
                json.dump(self._unwound, file)
        finally:
            os._exit(0)

    def _follow(self, stop: int) -> None:
        with select.epoll() as waker:
            waker.register(stop, select.EPOLLIN)
            # Once for each record that is to wake: else it would wake as long as anything is there.
            waker.register(self._ring_fd, select.EPOLLIN | select.EPOLLET)
            while not any(fd == stop for fd, _ in waker.poll(_INTERVAL_S)):
                for pid in self._code.unsettled():
                    self._settle(pid)

    def _settle(self, pid: int) -> None:
        if time.monotonic() < self._not_before_s.get(pid, 0):
            return
        began_s = time.thread_time()
        paths = self._code.update(pid)
        took_s = time.thread_time() - began_s
        self._not_before_s[pid] = time.monotonic() + _SHARE_OF_TIME * took_s
        if paths is not None:
            self._unwound[pid] = "fp" if self._code.decide(pid, paths) else "dwarf"
