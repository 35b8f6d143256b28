"""
The log lines of `ig`: what they say about lost events, and that they are no events.

`ig` logs to standard error; `ig run … 2>&1` puts its lines between the events.
"""

import re
from dataclasses import dataclass
from typing import Final

_LEVELS: Final = {
    "TRAC": "trace",
    "DEBU": "debug",
    "INFO": "info",
    "WARN": "warning",
    "ERRO": "error",
    "FATA": "fatal",
    "PANI": "panic",
}
_PLAIN: Final = re.compile(r'time="?[^" ]*"? level=(\w+) msg=(.*)')
_COLOURED: Final = re.compile(rf"(?:\x1b\[\d+m)?({'|'.join(_LEVELS)})(?:\x1b\[0m)?\[[^\]]*\]\s*(.*)")
_OTHER: Final = re.compile(r"(Warning|Error): (.*)", re.IGNORECASE)
_KERNEL_LOSS: Final = re.compile(r"\blost (\d+) samples\b", re.IGNORECASE)
_DROPPED: Final = re.compile(r"\b(\d+) messages dropped\b")


@dataclass(frozen=True)
class LogLine:
    """
    One line that `ig` logged.

    Attributes:
        level: `warning`, `error`, …, lower case.
        message: Its text.
    """

    level: str
    message: str

    @property
    def lost_in_kernel(self) -> int:
        """How many events it says a buffer of the kernel had no room for."""
        return _number(_KERNEL_LOSS, self.message)

    @property
    def dropped(self) -> int:
        """How many events it says were lost between a remote `ig` and this one."""
        return _number(_DROPPED, self.message)


def parse_log_line(line: bytes) -> LogLine | None:
    """Return what *line* logs, as text and as terminals show it; None if it is no log line."""
    if line.startswith(b"{"):
        # Most are events, which are not worth three searches.
        return None
    text = line.decode(errors="replace").strip()
    if plain := _PLAIN.fullmatch(text):
        return LogLine(plain[1].lower(), _unquoted(plain[2]))
    if coloured := _COLOURED.fullmatch(text):
        return LogLine(_LEVELS[coloured[1]], coloured[2])
    if other := _OTHER.fullmatch(text):
        return LogLine(other[1].lower(), other[2])
    return None


def _unquoted(text: str) -> str:
    quoted = re.match(r'"((?:[^"\\]|\\.)*)"', text)
    return re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text


def _number(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.search(text)
    return int(found[1][:18]) if found else 0
