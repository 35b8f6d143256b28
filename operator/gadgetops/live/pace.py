"""How often to look: never so often that it takes more than a few percent of a processor."""

import time
from typing import Final

SHARE: Final = 0.04
"""What part of one processor this process may take on average."""
_SHORTEST_S: Final = 0.5
_ALLOWANCE_S: Final = 1.0
"""Processor time that is not counted: the first look imports, and names what it shows."""


class Pace:
    """When to look again, by what this process has taken since it began to look."""

    def __init__(self) -> None:
        self._began_s = self._last_s = time.monotonic()
        self._cpu_s = time.process_time()

    @property
    def is_due(self) -> bool:
        """Whether it is time to look."""
        now_s, taken_s = time.monotonic(), time.process_time() - self._cpu_s
        is_affordable = taken_s - _ALLOWANCE_S <= SHARE * (now_s - self._began_s)
        return is_affordable and now_s >= self._last_s + _SHORTEST_S

    def looked(self) -> None:
        """Take note that it was done now."""
        self._last_s = time.monotonic()
