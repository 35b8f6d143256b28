"""
What is paired of a recording, in files: extended as segments are added.

The folder, which `place` chooses, holds Parquet files, written once, and `pairs.json`, which names them and
what they were made from. It is replaced in one go, so that a reader sees one whole state or the one before.
It is valid for exactly the files it was made from, and made anew if one of them, or one of its own files, is
not what it was, or if it was not this user who made it.
"""

import contextlib
import fcntl
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from gadgetops.errors import StorageError
from gadgetops.pairing.lock_holders import is_stopped
from gadgetops.pairing.place import made_folder_of, read_sealed, write_sealed
from gadgetops.pairing.step import ADDED, REPLACED, Extent
from gadgetops.recording.files import Stamp, stamp

_MANIFEST: Final = "pairs.json"
_VERSION: Final = 5
"""Raised with every change of what pairing means or stores: older stores are made anew."""
_POLL_S: Final = 0.01


class Busy(StorageError):
    """Another process holds a lock longer than it is worth waiting for."""


@dataclass(frozen=True)
class State:
    """
    What is stored.

    Args:
        made_from: Segments of the recording, in the order in which they were paired.
        processes: Files of processes of these segments.
        files: Names of the files of each table, in order.
        extent: What the paired events come to.
        stamps: Of each file in `files`.
    """

    made_from: tuple[Stamp, ...] = ()
    processes: tuple[Stamp, ...] = ()
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extent: Extent = field(default_factory=Extent)
    stamps: Mapping[str, Stamp] = field(default_factory=dict)

    @property
    def n_steps(self) -> int:
        """How many steps made it."""
        return len(self.files.get(ADDED[0], ()))


class Store:
    """
    The stored pairs of one recording, in a folder that is there.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def state(self) -> State:
        """Return what is stored and whole; an empty state if nothing is, or it is damaged."""
        try:
            document = json.loads(read_sealed(self.folder / _MANIFEST))
            if document["version"] != _VERSION:
                return State()
            state = State(
                tuple(_stamp(row) for row in document["made_from"]),
                tuple(_stamp(row) for row in document["processes"]),
                {table: tuple(names) for table, names in document["files"].items()},
                Extent(**document["extent"]),
                {name: _stamp(row) for name, row in document["stamps"].items()},
            )
            is_whole = all(stamp(self.folder / name) == kept for name, kept in state.stamps.items())
            return state if is_whole else State()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return State()

    def paths(self, state: State) -> dict[str, list[Path]]:
        """Return the files of each table."""
        return {table: [self.folder / name for name in names] for table, names in state.files.items()}

    def new_files(self, state: State) -> dict[str, Path]:
        """Return where the next step after *state* is to write each table; no such file is in use."""
        tag = f"{state.n_steps:05d}-{os.getpid()}-{os.urandom(4).hex()}"
        return {table: self.folder / f"{table}-{tag}.parquet" for table in (*ADDED, *REPLACED)}

    def commit(
        self,
        state: State,
        files: Mapping[str, Path],
        made_from: Sequence[Path],
        processes: Sequence[Path],
        extent: Extent,
    ) -> State:
        """
        Make *files* of a step a part of the store, and return what is stored then.

        Args:
            state: What was stored before.
            files: Of each table.
            made_from: The segments of the step.
            processes: The files of processes that all segments so far have.
            extent: What is paired now.
        """
        kept = {table: (*state.files.get(table, ()), files[table].name) for table in ADDED}
        names = {**kept, **{table: (files[table].name,) for table in REPLACED}}
        stamps = {name: stamp(self.folder / name) for found in names.values() for name in found}
        added = (*state.made_from, *map(stamp, made_from))
        new = State(added, tuple(map(stamp, processes)), names, extent, stamps)
        document = {"version": _VERSION, **asdict(new)}
        write_sealed(self.folder / _MANIFEST, json.dumps(document).encode())
        self._clean(new)
        return new

    def drop(self) -> None:
        """Forget what is stored: the next question makes it anew."""
        with contextlib.suppress(OSError):
            (self.folder / _MANIFEST).unlink()

    @contextlib.contextmanager
    def extending(self, patience_s: float) -> Iterator[None]:
        """
        Hold the exclusive lock while extending the store.

        Args:
            patience_s: How long to wait for another process that makes no progress.

        Raises:
            Busy: It took longer, or the other process was stopped.
            OSError: The lock cannot be had here.
        """
        with self._locked("extending", fcntl.LOCK_EX, patience_s):
            yield

    @contextlib.contextmanager
    def reading(self, patience_s: float) -> Iterator[None]:
        """Keep the files that are in use now from being deleted; arguments and errors as of `extending`."""
        with self._locked("reading", fcntl.LOCK_SH, patience_s):
            yield

    @contextlib.contextmanager
    def _locked(self, name: str, kind: int, patience_s: float) -> Iterator[None]:
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        lock = os.open(self.folder / f"{name}.lock", flags, 0o644)
        try:
            if not stat.S_ISREG(os.fstat(lock).st_mode):
                raise OSError(None, "not a regular file", f"{name}.lock")
            self._wait_for(lock, kind, patience_s)
            yield
        finally:
            os.close(lock)

    def _wait_for(self, lock: int, kind: int, patience_s: float) -> None:
        until_s, seen = time.monotonic() + patience_s, self._seen()
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, kind | fcntl.LOCK_NB)
                return
            now_s = time.monotonic()
            if seen != (seen := self._seen()):
                until_s = now_s + patience_s
            if now_s >= until_s or is_stopped(lock):
                raise Busy(self.folder, "another process holds the lock on it")
            time.sleep(_POLL_S)

    def _seen(self) -> int:
        """Return what changes with each step that another process makes."""
        with contextlib.suppress(OSError):
            return (self.folder / _MANIFEST).lstat().st_ino
        return 0

    def _clean(self, state: State) -> None:
        """Delete files that *state* does not name, unless someone is reading."""
        with contextlib.suppress(OSError, Busy), self._locked("reading", fcntl.LOCK_EX, 0.0):
            for path in self.folder.glob("*-*.parquet"):
                if path.name not in state.stamps:
                    path.unlink()


def _stamp(row: Sequence[Any]) -> Stamp:
    name, *numbers = row
    return Stamp(str(name), *map(int, numbers))


@contextlib.contextmanager
def temporary_store() -> Iterator[Store]:
    """Give a store for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="gadgetops-pairs-") as folder:
        yield Store(Path(folder))


def store_of(recording_path: Path) -> Store | None:
    """Return the store for the pairs of a recording, which is made if need be; None if none can be."""
    folder = made_folder_of(recording_path)
    return None if folder is None else Store(folder)
