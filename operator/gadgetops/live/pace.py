"""How often to look: never so often that it takes more than a few percent of a processor."""

import time
from typing import Final

SHARE: Final = 0.04
"""What part of one processor this process may take."""
_SHORTEST_S: Final = 0.5
_FIRST_S: Final = 2.0
"""The longest wait after the first look, which imports, and names what it shows."""


class Pace:
    """When to look again: the longer, the more this process has taken since the look before."""

    def __init__(self) -> None:
        self._cpu_s = time.process_time()
        self._next_s = time.monotonic()
        self._longest_s = _FIRST_S

    @property
    def is_due(self) -> bool:
        """Whether it is time to look."""
        return time.monotonic() >= self._next_s

    def looked(self) -> None:
        """Take note that it was done now, and of what this process took since the last time."""
        cpu_s = time.process_time()
        wait_s = min(self._longest_s, (cpu_s - self._cpu_s) / SHARE)
        self._next_s = time.monotonic() + max(_SHORTEST_S, wait_s)
        self._cpu_s, self._longest_s = cpu_s, float("inf")
