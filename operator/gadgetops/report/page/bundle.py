"""
The page's program and style, which scripts/build_report.sh makes of `web/`, and their libraries' licences.

They are part of the installed package; a checkout makes them the first time they are asked for.
"""

from pathlib import Path
from typing import Final, NamedTuple

from gadgetops.errors import StorageError
from gadgetops.process import run

_FOLDER: Final = Path(__file__).parent / "built"
_CHECKOUT: Final = Path(__file__).parents[4]
_SCRIPT: Final = _CHECKOUT / "scripts" / "build_report.sh"


class Bundle(NamedTuple):
    """
    What the page runs.

    Args:
        script: The program, in JavaScript.
        style: Its style sheet.
        licences: Of the libraries in it.
    """

    script: str
    style: str
    licences: str


def bundle() -> Bundle:
    """
    Return the page's program.

    Raises:
        ToolError: It had to be made, and could not be.
        StorageError: It is not there, and neither is what it is made of.
    """
    if not (_FOLDER / "report.js").is_file():
        _build()
    names = ("report.js", "report.css", "licences.txt")
    return Bundle(*((_FOLDER / name).read_text(encoding="utf-8") for name in names))


def _build() -> None:
    if not _SCRIPT.is_file():
        raise StorageError(_FOLDER, "the report's page is missing", hint="install gadgetops again")
    run([str(_SCRIPT)])
