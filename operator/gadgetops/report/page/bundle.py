"""
The page's program and style, which scripts/build_report.sh makes of `web/`, and their libraries' licences.

A wheel carries them. In a checkout they are made when they are first asked for, with npm.
"""

from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from gadgetops import process
from gadgetops.products import product_folder

PRODUCT: Final = "report"
SOURCES: Final = (
    "scripts/build_report.sh",
    "web/*.json",
    "web/*.mjs",
    "web/src/*",
)


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


@cache
def bundle() -> Bundle:
    """
    Return the page's program.

    Raises:
        NotFound: The package has been installed without it.
        StorageError: The user's cache cannot be written.
        ToolError: It had to be made, and could not be.
    """
    folder = product_folder(PRODUCT, SOURCES, make_bundle)
    names = ("report.js", "report.css", "licences.txt")
    return Bundle(*((folder / name).read_text(encoding="utf-8") for name in names))


def make_bundle(project: Path, folder: Path) -> None:
    """
    Fill *folder* with the page's program, from the checkout *project*.

    Raises:
        ToolError: npm is missing, or one of its packages is not what it was.
    """
    script = project / "scripts" / "build_report.sh"
    process.run([str(script), str(folder)], hint="making the report's page needs npm: apt-get install npm")
