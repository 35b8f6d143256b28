"""`--ascii`, and how pictures are drawn on this terminal."""

import locale
import shutil
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gadgetops.report.drawing import Drawing

ascii_option = click.option(
    "--ascii", "is_ascii", is_flag=True, help="Draw with ASCII alone; the default where text is not UTF-8."
)
"""The option of verbs that draw."""


def drawing(is_ascii: bool) -> "Drawing":
    """Return how to draw: as wide as the terminal, or 80 columns where there is none."""
    from gadgetops.report.drawing import Drawing

    return Drawing(shutil.get_terminal_size((80, 24)).columns, is_ascii or not _is_utf8())


def _is_utf8() -> bool:
    encoding = sys.stdout.encoding or locale.getpreferredencoding(do_setlocale=False)
    # Python writes UTF-8 in the locale "C", too, where it was asked for by name.
    is_plain = locale.setlocale(locale.LC_CTYPE) in ("C", "POSIX")
    return encoding.lower().replace("-", "") == "utf8" and not is_plain
