"""The line on a terminal that says how a recording goes, rewritten in place."""

import shutil
import sys
from typing import TYPE_CHECKING

from gadgetops.commands import messages
from gadgetops.units import format_bytes, format_count, plural

if TYPE_CHECKING:
    from gadgetops.trace.recorder import Progress

_ERASE_LINE = "\r\x1b[K"


class ProgressLine:
    """
    Says on standard error how a recording goes: sentences always, progress only on a terminal.

    Use as a context manager: the line is gone afterwards.
    """

    def __init__(self) -> None:
        self.wants_progress = sys.stderr.isatty() and not messages.settings.quiet
        self._is_shown = False

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *_: object) -> None:
        self._erase()

    def say(self, sentence: str) -> None:
        """Write a sentence of its own line."""
        self._erase()
        messages.say(sentence)

    def progress(self, progress: "Progress") -> None:
        """Write how it goes over how it went."""
        self.stage(_line(progress))

    def stage(self, what: str) -> None:
        """Write what is done over what was, on a terminal."""
        if not self.wants_progress:
            return
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(_ERASE_LINE + what[:width])
        sys.stderr.flush()
        self._is_shown = True

    def _erase(self) -> None:
        if self._is_shown:
            sys.stderr.write(_ERASE_LINE)
            sys.stderr.flush()
            self._is_shown = False


def _line(progress: "Progress") -> str:
    parts = [
        plural(progress.n_events, "event"),
        f"{format_count(round(progress.events_per_s))}/s",
        f"about {format_bytes(progress.live_bytes)} live",
        f"{format_count(progress.n_lost)} lost",
        "target alive" if progress.is_alive else "target ended",
    ]
    return ", ".join(parts)
