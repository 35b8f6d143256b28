"""
Build products: what a wheel carries besides modules, made by `hatch_build.py` when the wheel is built.

Each product is a folder of its own. An installed package has it under `bundled/`; a checkout makes it when it
is first asked for and keeps it in the user's cache until one of its sources changes.
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from gadgetops import __version__
from gadgetops.errors import NotFound, StorageError
from gadgetops.folders import PACKAGE, cache_folder, checkout

BUNDLED: Final = "bundled"
"""Folder of the package that holds a wheel's products."""
_INCOMPLETE: Final = "this installation is incomplete: install gadgetops again, from a wheel"


def product_folder(name: str, sources: Iterable[str], make: Callable[[Path, Path], None]) -> Path:
    """
    Return the folder of the product *name*: the wheel's, or one made from the checkout's sources.

    Args:
        name: Of the product, as in `hatch_build.PRODUCTS`.
        sources: Patterns of the files that it is made from, relative to the project's folder.
        make: Called with the project's folder and a new, empty folder, to fill it; only in a checkout whose
            sources have changed since the last call.

    Raises:
        NotFound: The package has been installed without its products.
        StorageError: The user's cache cannot be written.
    """
    project = checkout()
    folder = _place(name, sources, project)
    if folder.is_dir():
        return folder
    if project is None:
        raise NotFound(
            name, where=str(PACKAGE), hint="this installation is incomplete: install gadgetops again"
        )
    _make(folder, lambda new: make(project, new))
    return folder


def existing_product(name: str, sources: Iterable[str]) -> Path | None:
    """Return the folder of the product *name*; None where it would have to be made first."""
    folder = _place(name, sources, checkout())
    return folder if folder.is_dir() else None


def _place(name: str, sources: Iterable[str], project: Path | None) -> Path:
    carried = PACKAGE / BUNDLED / name
    if carried.is_dir() or project is None:
        return carried
    # Checkouts beside each other do not remove each other's products.
    of_checkout = hashlib.sha256(os.fsencode(project)).hexdigest()[:16]
    return cache_folder("products") / name / of_checkout / _digest(project, sources)


def _digest(project: Path, sources: Iterable[str]) -> str:
    """Return a name for the content of the files that match *sources*."""
    digest = hashlib.sha256(f"{__version__} {os.environ.get('SOURCE_DATE_EPOCH')}".encode())
    for path in sorted({path for pattern in sources for path in project.glob(pattern) if path.is_file()}):
        digest.update(f"\0{path.relative_to(project)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _make(kept: Path, make: Callable[[Path], None]) -> None:
    """Make the folder *kept*, whole or not at all; another process may do so at the same time."""
    unfinished = kept.with_name(f".{kept.name}_{secrets.token_hex(8)}")
    try:
        unfinished.mkdir(parents=True)
        make(unfinished)
        with suppress(FileExistsError):
            _remove_others(kept)
            unfinished.rename(kept)
    except OSError as error:
        if not kept.is_dir():
            raise StorageError.from_os_error(error, kept) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _remove_others(kept: Path) -> None:
    """Remove what was made from earlier sources, so that the cache does not grow with each edit."""
    for other in kept.parent.iterdir():
        if not other.name.startswith("."):
            shutil.rmtree(other, ignore_errors=True)
