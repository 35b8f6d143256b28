"""The line on a terminal that says how a recording goes, rewritten in place."""

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


class ProgressLine:
    """
    Says on standard error how a recording goes: sentences always, progress only on a terminal.

    Use as a context manager: the line is gone afterwards.
    """

    def __init__(self) -> None:
        self._is_shown = False
        self._shown_s = 0.0

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
        self._shown_s = 0.0
        self.stage(_line(progress))

    def stage(self, what: str) -> None:
        """Write what is done over what was, on a terminal, a few times a second at most."""
        if not self.wants_progress or time.monotonic() - self._shown_s < _INTERVAL_S:
            return
        self._shown_s = time.monotonic()
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(_ERASE_LINE + what[:width])
        sys.stderr.flush()
        self._is_shown = True

    def paired(self, done: int, of: int) -> None:
        """Write how many segments of a recording are paired; nothing is left of it when all are."""
        if done == of:
            self._erase()
        else:
            self._shown_s = 0.0
            self.stage(f"pairing allocations with releases, {done:,} of {plural(of, 'segment')}")

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
