"""
The local store: which folder it is.

As root on a machine with ig it is ig's own store, so that what is built here can be run there without a
registry; otherwise it is the user's.
"""

import os
import shutil
from pathlib import Path
from typing import Final

from gadgetops.errors import UsageError
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.layout.store_choice import AUTO, STORE_VARIABLE
from gadgetops.whole_files import storage_errors

IG_STORE: Final = Path("/var/lib/ig/oci-store")
"""ig's store; the path is compiled into ig."""


def store_path(choice: str = AUTO) -> Path:
    """
    Return the folder that *choice* means.

    Args:
        choice: `"ig"`, `"user"`, a folder, or `"auto"`: ig's for root on a machine that has ig, else the
            user's. The variable GADGETOPS_STORE, if set, takes the place of any of these.
    """
    choice = os.environ.get(STORE_VARIABLE) or choice
    if choice == AUTO:
        choice = "ig" if _is_ig_store_ours() else "user"
    if choice == "ig":
        return IG_STORE
    return _user_store() if choice == "user" else Path(choice)


def open_store(choice: str = AUTO, *, create: bool = True) -> Layout:
    """
    Return the store that *choice* means (`store_path`); errors as of `Layout.open`.

    Args:
        choice: As for `store_path`.
        create: Make it if it is not there; readers do not, and get `NotFound`.
    """
    path = store_path(choice)
    if create and path == IG_STORE:
        with storage_errors(path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Layout.open(path, create=create)


def _is_ig_store_ours() -> bool:
    return os.geteuid() == 0 and (IG_STORE.exists() or shutil.which("ig") is not None)


def _user_store() -> Path:
    data = os.environ.get("XDG_DATA_HOME")
    try:
        return (Path(data) if data else Path.home() / ".local/share") / "gadgetops/store"
    except RuntimeError as error:
        raise UsageError("this user has no home folder", hint=f"set {STORE_VARIABLE}") from error
