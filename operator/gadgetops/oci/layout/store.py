"""
The local store: which folder it is.

As root on a machine with ig it is ig's own store, so that what is built here can be run there without a
registry; otherwise it is the user's. What was chosen at first stays: a store that changed because somebody
ran `ig` in between would look as if images had got lost.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from gadgetops.errors import UsageError
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.layout.store_choice import AUTO, STORE_VARIABLE, listener
from gadgetops.whole_files import storage_errors

IG_STORE: Final = Path("/var/lib/ig/oci-store")
"""ig's store for root; the path is compiled into ig."""

_IG, _USER = "ig", "user"


def store_path(choice: str = AUTO) -> Path:
    """
    Return the folder that *choice* means.

    Args:
        choice: `"ig"`, `"user"`, a folder, or `"auto"`: what was chosen at first; ig's where it is ours, else
            the user's. ig's is root's, or, by an ig after 0.55.1, the user's own in `~/.ig`. The variable
            GADGETOPS_STORE, if set, takes the place of any of these.
    """
    return _path_of(_chosen(os.environ.get(STORE_VARIABLE) or choice))


def open_store(choice: str = AUTO, *, create: bool = True) -> Layout:
    """
    Return the store that *choice* means (`store_path`); errors as of `Layout.open`.

    The first use of `"auto"` is remembered, and told to `store_choice.listener`.

    Args:
        choice: As for `store_path`.
        create: Make it if it is not there; readers do not, and get `NotFound`.
    """
    wanted = os.environ.get(STORE_VARIABLE) or choice
    chosen = _chosen(wanted)
    path = _path_of(chosen)
    if wanted == AUTO:
        _remember(chosen, path)
    if create and path == _ig_store():
        with storage_errors(path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Layout.open(path, create=create)


def _path_of(choice: str) -> Path:
    if choice == _IG:
        return _ig_store()
    return _user_store() if choice == _USER else Path(choice)


def _chosen(choice: str) -> str:
    if choice != AUTO:
        return choice
    return _remembered() or (_IG if _is_ig_store_ours() else _USER)


def _ig_store() -> Path:
    return IG_STORE if os.geteuid() == 0 else _home() / ".ig/oci-store"


def _is_ig_store_ours() -> bool:
    return _ig_store().exists() or (os.geteuid() == 0 and shutil.which("ig") is not None)


def _memory() -> Path:
    """Return the file that keeps the choice: one for each user, as `sudo` may keep the home folder."""
    return _user_store().parent / f"store-of-user-{os.geteuid()}"


def _remembered() -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        text = _memory().read_text().strip()
        return text if text in (_IG, _USER) else None
    return None


def _remember(choice: str, path: Path) -> None:
    """Keep *choice*, unless it is kept already or nothing can be kept here; say so the first time."""
    memory = _memory()
    if memory.exists():
        return
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(f"{choice}\n")
        listener.on_choice(path)


def _user_store() -> Path:
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else _home() / ".local/share") / "gadgetops/store"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise UsageError("this user has no home folder", hint=f"set {STORE_VARIABLE}") from error
