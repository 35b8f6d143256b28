"""
Keep a recording within a budget: probes are in the target for a part of the time alone, in windows.

A window counts from before its probes are put in until the last of them is out, as if the target stood still
meanwhile as far as its calls are traced. So the budget is kept whatever a call really costs.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gadgetops.process_stat import SYSTEM_TICKS, USER_TICKS, read_stat
from gadgetops.trace.cost.price import Price, said_slowdown

WINDOW_S: Final = 0.25
"""How long probes stay in, without the time that it takes to put them in and out."""
_MARGIN: Final = 0.8
"""What part of the budget is planned with."""
_WATCH_S: Final = 1.0
_CREDIT_S: Final = 0.5
"""How much tracing may take of a target that was quiet, in seconds, before its budget counts."""
_MOST_LOSS: Final = 0.99


@dataclass(frozen=True)
class Budget:
    """
    How much slower a target may become.

    Attributes:
        max_slowdown: At most so many times as slow, on average; 1.2 for 20 %.
        price: What recording everything costs.
    """

    max_slowdown: float
    price: Price

    @property
    def share(self) -> float:
        """What part of the target's time tracing may take."""
        return 1 - 1 / self.max_slowdown

    @property
    def needs_windows(self) -> bool:
        """Whether recording everything would cost more."""
        return self.price.slowdown > self.max_slowdown

    @property
    def duty(self) -> float:
        """What part of the time probes may be in, by what was foretold; 1 for all of it."""
        return _duty(self, _loss(self.price.slowdown)) if self.needs_windows else 1.0

    def to_json(self) -> dict[str, Any]:
        """Return it for the header of a recording."""
        return {
            "max_slowdown": self.max_slowdown,
            "in_windows": self.needs_windows,
            "price": self.price.to_json(),
        }


class Pausable(Protocol):
    """Probes that can be taken out for a while."""

    def pause(self) -> None:
        """Take them out."""

    def resume(self) -> None:
        """Put them in again."""


class Pace:
    """
    Opens and closes the windows of a recording.

    Args:
        budget: What is to be kept.
        probes: They are in when the recording begins.
        pids: Return the processes whose time counts; empty for all of the machine.
        say: Is told when windows become necessary.
        clock: Seconds.

    Attributes:
        windows: When probes were in, from and to, in nanoseconds since boot; the last one may be open (None).
        is_in_windows: Whether probes were ever out.
    """

    def __init__(
        self,
        budget: Budget,
        probes: Pausable,
        pids: Callable[[], Sequence[int]],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget = budget
        self._probes = probes
        self._pids = pids
        self._say = say
        self._clock = clock
        self._loss = _loss(budget.price.slowdown)
        self.is_in_windows = budget.needs_windows
        self.windows: list[tuple[int, int | None]] = []
        self._is_on = False
        self._since_s = 0.0
        self._open_at_s = 0.0
        self._n_events = 0
        self._credit_s = 0.0 if self.is_in_windows else _CREDIT_S
        self._watched = (0.0, 0, 0.0)

    def begin(self) -> None:
        """Count from now: probes are about to be put in."""
        self._mark_open()
        self._watched = (self._since_s, 0, self._cpu_s())

    def step(self, n_events: int) -> None:
        """
        Take probes out, or put them in, where it is time to; to be called often.

        Args:
            n_events: Events so far.

        Raises:
            TraceError: The kernel refuses.
        """
        now_s = self._clock()
        if not self.is_in_windows:
            self._watch(n_events, now_s)
        elif self._is_on and now_s - self._since_s >= WINDOW_S:
            self._close_window(n_events)
        elif not self._is_on and now_s >= self._open_at_s:
            self._mark_open()
            self._n_events = n_events
            self._probes.resume()

    def facts(self) -> dict[str, Any]:
        """Return what a recording says of its windows; nothing if there was but one."""
        if not self.is_in_windows:
            return {}
        now_ns = _now_ns()
        return {"windows": [[start, now_ns if end is None else end] for start, end in self.windows]}

    def _mark_open(self) -> None:
        self._is_on, self._since_s = True, self._clock()
        self.windows.append((_now_ns(), None))

    def _close_window(self, n_events: int) -> None:
        self._probes.pause()
        self.windows[-1] = (self.windows[-1][0], _now_ns())
        self._is_on = False
        on_s = self._clock() - self._since_s
        seen = (n_events - self._n_events) * self._budget.price.call_s / on_s
        duty = _duty(self._budget, max(self._loss, min(_MOST_LOSS, seen)))
        self._open_at_s = self._clock() + on_s * (1 / duty - 1)

    def _watch(self, n_events: int, now_s: float) -> None:
        """Go over to windows as soon as tracing takes more than the budget, for longer than a moment."""
        then_s, n_before, cpu_before_s = self._watched
        passed_s = now_s - then_s
        if passed_s < _WATCH_S:
            return
        cpu_s = self._cpu_s()
        self._watched = now_s, n_events, cpu_s
        taken_s = (n_events - n_before) * self._budget.price.call_s
        loss = min(_MOST_LOSS, taken_s / max(passed_s, cpu_s - cpu_before_s))
        self._credit_s = min(_CREDIT_S, self._credit_s + (self._budget.share - loss) * passed_s)
        if self._credit_s >= 0:
            return
        self._loss, self.is_in_windows = loss, True
        # What came before was within the credit.
        self._since_s, self._n_events = now_s, n_events
        allowed = said_slowdown(self._budget.max_slowdown)
        self._say(
            f"tracing slows the target by about {said_slowdown(1 / (1 - loss))} now:"
            f" recording in windows to keep it below {allowed}"
        )

    def _cpu_s(self) -> float:
        pids = self._pids()
        if not pids:
            return self._clock() * (os.cpu_count() or 1)
        return sum(map(_process_cpu_s, pids))


def _loss(slowdown: float) -> float:
    """Return what part of a target's time tracing takes that makes it so many times as slow."""
    return min(_MOST_LOSS, 1 - 1 / slowdown)


def _duty(budget: Budget, loss: float) -> float:
    return min(1.0, _MARGIN * budget.share / loss)


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _process_cpu_s(pid: int) -> float:
    """Return how long process *pid* ran; 0 if it is gone."""
    fields = read_stat(pid)
    ticks = int(fields[USER_TICKS]) + int(fields[SYSTEM_TICKS]) if fields else 0
    return ticks / os.sysconf("SC_CLK_TCK")
