"""Folders of the user and of this package: the cache, and the project's folder in a checkout."""

import os
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parent
_MARKS: Final = ("build.yaml", "gadget/program.bpf.c", "hatch_build.py")
"""What the project's folder holds."""


def cache_folder(name: str) -> Path:
    """Return our folder *name* under XDG_CACHE_HOME (by default `~/.cache`), whether it is there or not."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "gadgetops" / name


def checkout() -> Path | None:
    """Return the project's folder if this package runs from it; None for an installed package."""
    folder = PACKAGE.parent.parent
    return folder if all((folder / mark).is_file() for mark in _MARKS) else None
