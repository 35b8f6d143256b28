"""What every format is asked for: which recording, which of its allocations, and how."""

from collections.abc import Callable
from dataclasses import dataclass

from gadgetops.questions.asking.filters import ALL, Filters
from gadgetops.questions.top import Measure
from gadgetops.recording.reader import Recording


def _nothing(_what: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Export:
    """
    A request for a file.

    Args:
        recording: What is exported.
        filters: Which of its allocations.
        by: What a file that has one value a stack counts.
        is_compressed: Whether formats that may be compressed are, as the file's name says.
        on_progress: Called now and then with what is being done.
    """

    recording: Recording
    filters: Filters = ALL
    by: Measure = "live"
    is_compressed: bool = False
    on_progress: Callable[[str], None] = _nothing
