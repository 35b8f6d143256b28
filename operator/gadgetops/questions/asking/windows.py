"""Recordings in windows: probes were in for a part of the time alone, to slow their target little."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gadgetops.units import plural

UNSEEN_RELEASES = "releases between windows were not seen"


class Windows(NamedTuple):
    """
    When probes were in.

    Args:
        n_windows: How often; 0 where the recording does not say, as it was not ended.
        seconds: How long, all together.
        share: Which part of the time that was, from the first to the last.
    """

    n_windows: int
    seconds: float
    share: float

    @property
    def sentence(self) -> str:
        """That in words."""
        if not self.n_windows:
            return f"recorded in windows: {UNSEEN_RELEASES}, nor allocations"
        where = f"{plural(self.n_windows, 'window')}, {self.share:.0%} of the time"
        return f"recorded in {where}: {UNSEEN_RELEASES}, nor allocations"


def windows_of(header: Mapping[str, Any]) -> Windows | None:
    """Return the windows that a recording's *header* tells of; None if it was recorded as a whole."""
    found, budget = header.get("windows"), header.get("budget")
    if not isinstance(found, list):
        is_planned = isinstance(budget, Mapping) and budget.get("in_windows") is True
        return Windows(0, 0.0, 0.0) if is_planned else None
    spans = [each for each in found if isinstance(each, list) and len(each) == 2 and all(map(_is_time, each))]
    if not spans:
        return Windows(0, 0.0, 0.0)
    on_ns = sum(end - start for start, end in spans)
    return Windows(len(spans), on_ns / 1e9, min(1.0, on_ns / max(1, spans[-1][1] - spans[0][0])))


def _is_time(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
