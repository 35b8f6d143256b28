"""The line on a terminal that says how something goes that takes its time, rewritten in place."""

import shutil
import sys
import time
from typing import TYPE_CHECKING, Final

from gadgetops.commands.common import messages
from gadgetops.units import format_bytes, format_count, plural

if TYPE_CHECKING:
    from gadgetops.trace.recorder import Progress

_ERASE_LINE = "\r\x1b[K"
_INTERVAL_S: Final = 0.1
_BAR_WIDTH: Final = 24


class ProgressLine:
    """
    Says on standard error how it goes: sentences always, progress only on a terminal.

    Use as a context manager: the line is gone afterwards.
    """

    def __init__(self) -> None:
        self._is_shown = False
        self._shown_s = 0.0
        self._subject = ""

    @property
    def wants_progress(self) -> bool:
        """Whether somebody watches a terminal."""
        return sys.stderr.isatty() and not messages.settings.quiet

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

    def stage(self, what: str, done: int = 0, of: int = 0) -> None:
        """
        Write what is done over what was, on a terminal, a few times a second at most.

        Args:
            what: What is being done; up to the first comma it is the same while that is.
            done: How much of it.
            of: Of how much; with 0, which stands for unknown, there is no bar.
        """
        subject = what.partition(",")[0]
        is_soon = subject == self._subject and time.monotonic() - self._shown_s < _INTERVAL_S
        if is_soon or not self.wants_progress:
            return
        self._subject, self._shown_s = subject, time.monotonic()
        text = f"{what} {_bar(done, of)} {done:,} of {of:,}" if of else what
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(_ERASE_LINE + text[:width])
        sys.stderr.flush()
        self._is_shown = True

    def paired(self, done: int, of: int) -> None:
        """Write how many segments of a recording are paired; nothing is left of it when all are."""
        self._part("pairing allocations with releases", done, of)

    def queried(self, done: int, of: int) -> None:
        """Write how many tasks of a cluster's query have run; nothing is left of it when all have."""
        self._part("asking Spark, tasks", done, of)

    def _part(self, what: str, done: int, of: int) -> None:
        if done == of:
            self._erase()
        else:
            self._shown_s = 0.0
            self.stage(what, done, of)

    def _erase(self) -> None:
        if self._is_shown:
            sys.stderr.write(_ERASE_LINE)
            sys.stderr.flush()
            self._is_shown = False


def _bar(done: int, of: int) -> str:
    n_full = _BAR_WIDTH * min(done, of) // of
    return f"[{'#' * n_full}{'.' * (_BAR_WIDTH - n_full)}]"


def _line(progress: "Progress") -> str:
    parts = [
        plural(progress.n_events, "event"),
        f"{format_count(round(progress.events_per_s))}/s",
        f"about {format_bytes(progress.live_bytes)} live",
        f"{format_count(progress.n_lost)} lost",
        "target alive" if progress.is_alive else "target ended",
    ]
    return ", ".join(parts)
