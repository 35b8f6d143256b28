"""
Small pictures of characters: sparklines, bars and filled curves.

Written here: plotext takes 0.3 s to import, as long as two answers, and rich has no curve. Characters are
blocks and braille, or plain ASCII.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_ASCII_EIGHTHS: Final = " .:-=+*#@"
_LEFT_EIGHTHS: Final = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
_BRAILLE: Final = 0x2800
_DOTS: Final = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
"""Bits of the left and the right column of a braille character, from the bottom upwards."""
_ROWS: Final = 4


@dataclass(frozen=True)
class Drawing:
    """
    How pictures are drawn.

    Args:
        width: Columns of the terminal.
        is_ascii: Whether only ASCII may be used.
    """

    width: int = 80
    is_ascii: bool = False

    def sparkline(self, values: Sequence[int], width: int, highest: int | None = None) -> str:
        """
        Return *values* in one line of at most *width* characters; what is above 0 is seen.

        Args:
            values: Not negative; what is below 0 is drawn as 0. Of several in one column the last stands.
            width: Columns.
            highest: What reaches the top; by default the largest value.
        """
        shown = resampled(values, width)
        top = max(shown, default=0) if highest is None else highest
        symbols = _ASCII_EIGHTHS if self.is_ascii else _EIGHTHS
        return "".join(symbols[_level(value, top, 8)] for value in shown)

    def bar(self, value: int, highest: int, width: int) -> str:
        """Return a bar as long as *value* is of *highest*, which is *width* characters; 0 has none."""
        if self.is_ascii:
            return "#" * _level(value, highest, width)
        full, rest = divmod(_level(value, highest, 8 * width), 8)
        return "█" * full + _LEFT_EIGHTHS[rest]

    def span(self, marks: Sequence[int], bounds: tuple[int, int], width: int) -> str:
        """
        Return where *marks* lie between two bounds, each twice as large as one a fixed way before it.

        Args:
            marks: Not negative, ascending; the first stands out, a line leads to the last.
            bounds: The smallest and the largest value of all that are drawn alike.
            width: Columns.
        """
        places = [_place(mark, bounds, width) for mark in marks]
        dot, line, end = ("#", "-", "|") if self.is_ascii else ("█", "─", "┤")
        cells = [" "] * width
        cells[places[0] : places[-1] + 1] = line * (places[-1] + 1 - places[0])
        for place in places[1:]:
            cells[place] = end
        cells[places[0]] = dot
        return "".join(cells).rstrip()

    def area(self, values: Sequence[int], width: int, height: int) -> list[str]:
        """
        Return the area under *values* as *height* lines of *width* characters, the top one first.

        Args:
            values: Not negative, at equal distances; they are stretched, or of several in one column the
                highest stands.
            width: Columns.
            height: Lines.
        """
        top = max(values, default=0)
        if self.is_ascii:
            levels = [_level(value, top, height) for value in stretched(values, width)]
            return [
                "".join("#" if level > line else " " for level in levels).rstrip()
                for line in reversed(range(height))
            ]
        levels = [_level(value, top, _ROWS * height) for value in stretched(values, 2 * width)]
        pairs = [*zip(levels[::2], levels[1::2], strict=True)]
        return ["".join(_braille(pair, line) for pair in pairs).rstrip() for line in reversed(range(height))]


def resampled(values: Sequence[int], width: int) -> list[int]:
    """Return at most *width* of *values*, evenly chosen, the last among them."""
    if len(values) <= width:
        return [*values]
    return [values[(column + 1) * len(values) // width - 1] for column in range(width)]


def stretched(values: Sequence[int], width: int) -> list[int]:
    """Return *width* numbers for *values*: each as often as there is room, or the highest of several."""
    if not values:
        return [0] * width
    if len(values) <= width:
        return [values[column * len(values) // width] for column in range(width)]
    bounds = [column * len(values) // width for column in range(width + 1)]
    return [max(values[start:end]) for start, end in pairwise(bounds)]


def _place(value: int, bounds: tuple[int, int], width: int) -> int:
    """Return the column of *value* where a column is a factor, from 0."""
    lowest, value = max(bounds[0], 1), max(value, 1)
    whole = math.log(max(bounds[1], lowest) / lowest)
    return min(width - 1, max(0, round((width - 1) * math.log(value / lowest) / whole))) if whole else 0


def _level(value: int, highest: int, levels: int) -> int:
    """Return which of *levels* a value reaches, at least the first if it is above 0."""
    if value <= 0 or highest <= 0:
        return 0
    return min(levels, max(1, round(levels * value / highest)))


def _braille(levels: tuple[int, int], line: int) -> str:
    bits = sum(
        bit
        for level, column in zip(levels, _DOTS, strict=True)
        for bit in column[: max(0, min(_ROWS, level - _ROWS * line))]
    )
    return chr(_BRAILLE + bits) if bits else " "
