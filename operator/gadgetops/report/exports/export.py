"""What every format is asked for: which recording, which of its allocations, and how."""

from dataclasses import dataclass

from gadgetops.questions.asking.filters import ALL, Filters
from gadgetops.questions.top import Measure
from gadgetops.recording.reader import Recording


@dataclass(frozen=True)
class Export:
    """
    A request for a file.

    Args:
        recording: What is exported.
        filters: Which of its allocations.
        by: What a file that has one value a stack counts.
        is_compressed: Whether formats that may be compressed are, as the file's name says.
    """

    recording: Recording
    filters: Filters = ALL
    by: Measure = "live"
    is_compressed: bool = False
