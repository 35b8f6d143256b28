"""
Answers on a terminal: as wide as it is, in colour, and page by page where they are longer than it.

Where standard output is no terminal, text is printed as it is. NO_COLOR and TERM=dumb leave out colours. The
pager is chosen as git chooses its own: GADGETOPS_PAGER, PAGER, `less`; an empty one, or `cat`, is none.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from typing import Any, Final

import click

_STYLES: Final[dict[str, dict[str, Any]]] = {
    "good": {"fg": "green", "bold": True},
    "doubt": {"fg": "yellow"},
    "bad": {"fg": "red", "bold": True},
    "quiet": {"dim": True},
}
_LESS: Final = "FRX"
"""Leave at once what fits on a page, pass colours on, and keep the text on the screen."""


def show(text: str) -> None:
    """Print *text*, an answer of several lines."""
    if not sys.stdout.isatty():
        click.echo(text)
        return
    from gadgetops.report.layout import fitted, painted, with_paths_once

    size = shutil.get_terminal_size()
    lines = fitted(with_paths_once(text), size.columns)
    if has_colours():
        lines = painted(lines, lambda part, role: click.style(part, **_STYLES[role]))
    if lines.count("\n") + 1 < size.lines or not _paged(lines):
        click.echo(lines)


def has_colours() -> bool:
    """Return whether what is printed may be in colour."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _paged(text: str) -> bool:
    """Show *text* by the pager, and return whether there is one."""
    command = shlex.split(os.environ.get("GADGETOPS_PAGER", os.environ.get("PAGER", "less")))
    if not command or command == ["cat"] or shutil.which(command[0]) is None:
        return False
    environment = {"LESS": _LESS, "LV": "-c", **os.environ}
    pager = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    # Whoever leaves the pager early has seen enough; Ctrl-C is the pager's, too.
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        pager.communicate(f"{text}\n".encode(errors="replace"))
    while pager.poll() is None:
        with contextlib.suppress(KeyboardInterrupt):
            pager.wait()
    return True
