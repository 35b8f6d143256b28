"""
Text for a terminal: no wider than it, and with colours where it has some.

Answers are made as plain lines, the same for a file and a terminal. What is here is done afterwards, to lines
that are whole: prose and frames are broken between words, tables and charts are left as they are.
"""

import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Final

MIN_WIDTH: Final = 40
"""A narrower terminal gets lines of this width: words would stand alone."""

Paint = Callable[[str, str], str]
"""Gives a text in the colour for one of `ROLES`."""

ROLES: Final = ("good", "doubt", "bad", "quiet")

_COLUMNS: Final = re.compile(r"\S {2,}\S|[|│▁▂▃▄▅▆▇█]")
_COLOURED: Final = (
    (re.compile(r"^(certain|ok)\b"), "good"),
    (re.compile(r"^(possible|possibly exceeded)\b"), "doubt"),
    (re.compile(r"^(inconclusive|exceeded for certain|exceeded)\b"), "bad"),
    (re.compile(r"^ +(likely a leak)\b"), "bad"),
    (re.compile(r"^ +(grows ever more slowly)\b"), "doubt"),
    (re.compile(r"^ +(note:.*)$"), "doubt"),
    (re.compile(r"^ +\S.* (\S*[/.]\S*:\d+)$"), "quiet"),
)
"""What of a line is coloured, as the first group, and in which role."""

_PLACE: Final = re.compile(r"^(  +\S(?:.*\S)? )(\S*/[^\s:]+)((?::\d+)?)$", re.MULTILINE)
"""A frame: its function, the path of its file, and the line."""


def fitted(text: str, width: int) -> str:
    """Return *text* with lines of at most *width* characters, but for longer words, tables and charts."""
    return "\n".join(part for line in text.split("\n") for part in _fitted(line, max(width, MIN_WIDTH)))


def with_paths_once(text: str) -> str:
    """Return *text* with each source file or library whole once, and then by its own name."""
    seen: set[str] = set()

    def shortened(match: re.Match[str]) -> str:
        path = match[2]
        if path not in seen:
            seen.add(path)
            return match[0]
        return f"{match[1]}{path.rpartition('/')[2]}{match[3]}"

    return _PLACE.sub(shortened, text)


def painted(text: str, paint: Paint) -> str:
    """Return *text* with its verdicts, doubts and places in colour."""
    return "\n".join(_painted(line, paint) for line in text.split("\n"))


def _fitted(line: str, width: int) -> Iterator[str]:
    indent = line[: len(line) - len(line.lstrip())]
    if len(line) <= width or _COLUMNS.search(line.strip()):
        yield line
        return
    yield from textwrap.wrap(
        line.strip(),
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _painted(line: str, paint: Paint) -> str:
    for expression, role in _COLOURED:
        match = expression.search(line)
        if match is not None:
            return line[: match.start(1)] + paint(match[1], role) + line[match.end(1) :]
    return line
