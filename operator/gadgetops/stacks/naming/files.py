"""
The files that a target maps, kept at hand: a file that is deleted, replaced, or in a container that is gone
by the end can still be read.

What is kept is a handle (O_PATH), nothing is read. `symbols` reads the files when the recording ends.
"""

import contextlib
import os
import resource
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from elftools.common.exceptions import ELFError

from gadgetops.elf import NOTE_GNU_BUILD_ID, Elf
from gadgetops.errors import ObjectError

_SHARE_OF_DESCRIPTORS: Final = 2
DAMAGED: Final = (OSError, ELFError, ValueError, KeyError, struct.error, AssertionError, OverflowError)
"""What reading a file that is gone, damaged or no ELF file raises: pyelftools checks little."""
_HANDLE: Final = os.O_PATH | os.O_CLOEXEC


class File:
    """A handle on one file, closed when nobody refers to it any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    @property
    def path(self) -> Path:
        """Where this process can open it, whatever its name is now."""
        return Path(f"/proc/self/fd/{self._descriptor}")


@dataclass(frozen=True)
class Root:
    """
    The root folder of a process: from there, paths lead to what the process saw.

    Attributes:
        folder: The folder.
        namespace: The mount namespace that the folder is seen in. Its mounts would go with its last process,
            and with them the files that a path leads to.
    """

    folder: File
    namespace: File

    def __truediv__(self, path: str) -> Path:
        return Path(f"{self.folder.path}{path}")


class Files:
    """Handles of files, one each, as many as this process may have open beside its other work."""

    def __init__(self) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit = soft // _SHARE_OF_DESCRIPTORS
        self._known: WeakValueDictionary[tuple[int, ...], File] = WeakValueDictionary()

    def mapped(
        self, pid: int, path: str, start_address: int, end_address: int, root: Root | None
    ) -> File | None:
        """
        Return the file *path* that *pid* maps at these addresses; None where it cannot be reached.

        Args:
            pid: The process, alive or not.
            path: As the process sees it; a deleted one ends with ` (deleted)`.
            start_address: Of the mapping.
            end_address: Of the mapping.
            root: The root folder that the process had when it was last seen.
        """
        if not path.startswith("/") or len(self._known) >= self._limit:
            return None
        places = [f"/proc/{pid}/map_files/{start_address:x}-{end_address:x}", f"/proc/{pid}/root{path}"]
        places += [] if root is None else [str(root / path)]
        return next(filter(None, map(self._opened, places)), None)

    def root_of(self, pid: int) -> Root | None:
        """Return the root folder of *pid*; None if it is gone."""
        namespace = self._opened(f"/proc/{pid}/ns/mnt")
        if namespace is None:
            return None
        # One folder is the root in several namespaces, and leads to other files in each.
        folder = self._opened(f"/proc/{pid}/root", within=namespace.path.stat().st_ino)
        return None if folder is None else Root(folder, namespace)

    def _opened(self, place: str, *, within: int = 0) -> File | None:
        """Return a handle on *place*, the same for one file of one mount namespace *within*."""
        try:
            descriptor = os.open(place, _HANDLE)
        except OSError:
            return None
        status = os.fstat(descriptor)
        key = (within, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        known = self._known.get(key)
        if known is not None:
            os.close(descriptor)
            return known
        found = self._known[key] = File(descriptor)
        return found


def build_id_of(path: Path) -> str | None:
    """Return the GNU build id of the ELF file *path*, in hex; None if it has none or is none."""
    try:
        found = next(Elf.from_file(path).notes(b"GNU", NOTE_GNU_BUILD_ID), None)
    except (OSError, ObjectError):
        return None
    return None if found is None else found.hex()
