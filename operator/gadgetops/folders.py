"""Folders of the user and of this package: the cache, and the project's folder in a checkout."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parent
_MARKS: Final = ("build.yaml", "gadget/program.bpf.c", "hatch_build.py")
"""What the project's folder holds."""


def cache_folder(name: str) -> Path:
    """Return our folder *name* under XDG_CACHE_HOME (by default `~/.cache`), whether it is there or not."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "gadgetops" / name


def keep_newest(folder: Path, n_kept: int) -> None:
    """Remove all but the *n_kept* entries of *folder*, one of the cache, that were changed last."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        by_age = sorted(entries, key=lambda entry: -entry.stat(follow_symlinks=False).st_mtime_ns)
        for entry in by_age[n_kept:]:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink()


def checkout() -> Path | None:
    """Return the project's folder if this package runs from it; None for an installed package."""
    folder = PACKAGE.parent.parent
    return folder if all((folder / mark).is_file() for mark in _MARKS) else None
