"""
Objects kept from earlier builds, so that unchanged input is not compiled again.

One entry for each source file and architecture, replaced when the input changes: the cache does not grow with
the number of edits. An entry is believed only if every file the compiler read has the bytes it had then, and
none has appeared that it would have found first.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gadgetops.errors import StorageError
from gadgetops.folders import cache_folder
from gadgetops.whole_files import replacing_file


@dataclass(frozen=True)
class Entry:
    """
    An object and all that it was made from. Paths are relative to the folder it was compiled in.

    Attributes:
        command: What compiled it: options and versions.
        inputs: SHA-256, in hexadecimal, of each file that was read.
        absent: Files that were not there, and would have been read in place of one that was.
        content: The object.
        warnings: What the compiler said of a source that it compiled nevertheless.
    """

    command: str
    inputs: Mapping[str, str]
    absent: tuple[str, ...]
    content: bytes
    warnings: str = ""

    @classmethod
    def of(
        cls,
        folder: Path,
        *,
        command: str,
        inputs: Iterable[str],
        absent: Iterable[str],
        content: bytes,
        warnings: str = "",
    ) -> "Entry":
        """
        Return the entry for *content*, which was just compiled in *folder*.

        Raises:
            StorageError: An input has gone since.
        """
        digests = {name: _digest_of(folder / name) for name in inputs}
        return cls(command, digests, tuple(absent), content, warnings)

    def holds(self, folder: Path, command: str) -> bool:
        """Return whether compiling in *folder* with *command* would make the same object again."""
        try:
            return (
                self.command == command
                and not any((folder / name).exists() for name in self.absent)
                and all(_digest_of(folder / name) == digest for name, digest in self.inputs.items())
            )
        except (StorageError, OSError):
            return False

    @classmethod
    def from_bytes(cls, data: bytes) -> "Entry | None":
        """Return the entry that `to_bytes` wrote; None if *data* is none, or damaged."""
        header, _, content = data.partition(b"\n")
        try:
            fields: dict[str, Any] = json.loads(header)
            if fields.pop("sha256") != hashlib.sha256(content).hexdigest():
                return None
            return cls(
                command=str(fields["command"]),
                inputs={str(name): str(digest) for name, digest in fields["inputs"].items()},
                absent=tuple(map(str, fields["absent"])),
                content=content,
                warnings=str(fields["warnings"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def to_bytes(self) -> bytes:
        """Return a line of JSON and the object."""
        fields = asdict(self)
        content: bytes = fields.pop("content")
        fields["sha256"] = hashlib.sha256(content).hexdigest()
        return json.dumps(fields).encode() + b"\n" + content


class ObjectCache:
    """Entries in a folder, which is made when the first one is stored."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of_user(cls) -> "ObjectCache":
        """Return the cache in the user's `cache_folder`."""
        return cls(cache_folder("objects"))

    def get(self, name: str) -> Entry | None:
        """Return the entry *name*; None if there is none that can be read."""
        try:
            return Entry.from_bytes(self._path(name).read_bytes())
        except OSError:
            return None

    def put(self, name: str, entry: Entry) -> None:
        """Store *entry* as *name*, whole or not at all; a cache that cannot be written only costs time."""
        path = self._path(name)
        with suppress(StorageError, OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing_file(path) as temporary:
                temporary.write_bytes(entry.to_bytes())

    def _path(self, name: str) -> Path:
        return self._folder / hashlib.sha256(name.encode()).hexdigest()


def _digest_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error
