"""
Counting calls of a process for a moment, by a program that does nothing but count.

A uprobe costs what is called the time of a trap; no event is written and no stack is copied, so that this is
the least that a recording of the same calls would cost.
"""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gadgetops.errors import KernelRefused, MissingRequirement
from gadgetops.trace.kernel import features, perf_event, uprobe_multi
from gadgetops.trace.kernel.trial import Counter, Trial

_CALLS_TO_TIME: Final = 2000


class CallCount(NamedTuple):
    """
    Calls that were counted.

    Attributes:
        n_calls: How many.
        seconds: In how long.
    """

    n_calls: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Calls a second."""
        return self.n_calls / self.seconds


def count_calls(pid: int, places: Mapping[Path, Sequence[int]], seconds: float) -> CallCount:
    """
    Count what all threads of process *pid* call.

    Args:
        pid: The process.
        places: First instructions of functions, by file: offsets in bytes.
        seconds: How long.

    Raises:
        TraceError: The kernel has no links, or refuses.
    """
    way = features.attach_way().name
    if way == features.EVENTS:
        raise MissingRequirement(
            "links to probes", "calls cannot be counted: the kernel has no links to probes"
        )
    is_multi = way == features.MULTI_LINKS
    try:
        with contextlib.ExitStack() as stack:
            counter = stack.enter_context(Counter(uprobe_multi.ATTACH_TYPE if is_multi else 0))
            for path, offsets in places.items():
                for fd in _links(counter.program_fd, path, offsets, pid, is_multi=is_multi):
                    stack.callback(os.close, fd)
            began, before = time.monotonic(), counter.value()[0]
            time.sleep(seconds)
            return CallCount(counter.value()[0] - before, time.monotonic() - began)
    except OSError as error:
        raise KernelRefused("calls cannot be counted", error.strerror) from error


def _links(program_fd: int, path: Path, offsets: Sequence[int], pid: int, *, is_multi: bool) -> list[int]:
    if is_multi:
        return [uprobe_multi.create_link(program_fd, path, offsets, at_return=False, pid=pid)]
    fds = []
    for offset in offsets:
        event = perf_event.open_uprobe(path, offset, pid=pid)
        fds += [perf_event.create_link(program_fd, event, cookie=0), event]
    return fds


def trap_seconds() -> float:
    """
    Return what one probed call costs on this machine, its program included.

    Raises:
        TraceError: As of `count_calls`.
    """
    with Trial(attach_type=uprobe_multi.ATTACH_TYPE if _has_multi_links() else 0) as trial:
        bare = trial.seconds(_CALLS_TO_TIME)
        links = _links(trial.program_fd, trial.path, [0], os.getpid(), is_multi=_has_multi_links())
        try:
            return max(0.0, trial.seconds(_CALLS_TO_TIME) - bare) / _CALLS_TO_TIME
        finally:
            for fd in links:
                os.close(fd)


def _has_multi_links() -> bool:
    return features.attach_way().name == features.MULTI_LINKS
