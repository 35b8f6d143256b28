"""
Helper process that publishes executable pages to the gadget.

Until the gadget knows what is code it sends every stack, and gives up after thousands. A thread would share
the interpreter with those that read all that, and be late by a tenth of a second just when much comes.
"""

import contextlib
import json
import os
import select
import time
from typing import Final

from gadgetops.trace.events.code_pages import CodePages
from gadgetops.trace.helper import HelperProcess

_INTERVAL_S: Final = 0.005
_SHARE_OF_TIME: Final = 10
"""Code that changes all the time, as that of just-in-time compilers, is not looked at more than this part."""
_LONGEST_PAUSE_S: Final = 0.05
"""
Not longer, on a slow machine either: until it is looked at, the gadget sends some thousand stacks and then no
more.
"""


class CodeWatcher:
    """
    Publishes what is code until it is stopped. Use as a context manager, before there are other threads.

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
        self._helper: HelperProcess | None = None

    def __enter__(self) -> "CodeWatcher":
        self._helper = HelperProcess(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> dict[int, str]:
        """
        Stop publishing, and return how processes got their stacks, `fp` or `dwarf`, by pid.

        Empty if that is not known: the second time, and after it was killed.
        """
        helper, self._helper = self._helper, None
        if helper is None:
            return {}
        with contextlib.suppress(BrokenPipeError):
            os.write(helper.orders, b"\n")
        with os.fdopen(os.dup(helper.answers)) as answers:
            text = answers.read()
        helper.close()
        return {int(pid): way for pid, way in json.loads(text or "{}").items()}

    def _run(self, orders: int, answers: int) -> None:
        self._follow(orders)
        with os.fdopen(answers, "w") as file:
            json.dump(self._unwound, file)

    def _follow(self, orders: int) -> None:
        with select.epoll() as waker:
            waker.register(orders, select.EPOLLIN)
            # Once for each record that is to wake: else it would wake as long as anything is there.
            waker.register(self._ring_fd, select.EPOLLIN | select.EPOLLET)
            while not any(fd == orders for fd, _ in waker.poll(_INTERVAL_S)):
                for pid in {*self._code.unsettled(), *self._code.rules.outdated()}:
                    self._settle(pid)
                self._code.rules.answer()

    def _settle(self, pid: int) -> None:
        if time.monotonic() < self._not_before_s.get(pid, 0):
            return
        began_s = time.thread_time()
        paths = self._code.update(pid)
        took_s = time.thread_time() - began_s
        self._not_before_s[pid] = time.monotonic() + min(_SHARE_OF_TIME * took_s, _LONGEST_PAUSE_S)
        if paths is not None:
            self._unwound[pid] = "fp" if self._code.decide(pid, paths) else "dwarf"
