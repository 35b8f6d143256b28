"""
Where pairs are kept: a folder beside a recording's own files, extended as segments are added.

The folder holds Parquet files, written once, and `pairs.json`, which names them and what they were made from.
It is replaced in one go, so that a reader sees one whole state or the one before. It is valid for exactly the
segments it was made from, and made anew if one of them, or one of its own files, is not what it was.
"""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from gadgetops.pairing.step import ADDED, REPLACED, Extent

FOLDER: Final = "pairs"
"""Name of the folder in that of the recording."""

_MANIFEST: Final = "pairs.json"
_VERSION: Final = 5
"""Raised with every change of what pairing means or stores: older stores are made anew."""


@dataclass(frozen=True)
class State:
    """
    What is stored.

    Args:
        made_from: Files of the recording, as `stamp` gives them, in the order in which they were paired.
        files: Names of the files of each table, in order.
        extent: What the paired events come to.
        stamps: Of each file in `files`.
    """

    made_from: tuple[tuple[str, int, int], ...] = ()
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extent: Extent = field(default_factory=Extent)
    stamps: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)

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
            document = json.loads((self.folder / _MANIFEST).read_bytes())
            if document["version"] != _VERSION:
                return State()
            state = State(
                tuple(_stamp(row) for row in document["made_from"]),
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
        self, state: State, files: Mapping[str, Path], made_from: Sequence[Path], extent: Extent
    ) -> State:
        """Make *files* of a step a part of the store, and return what is stored then."""
        kept = {table: (*state.files.get(table, ()), files[table].name) for table in ADDED}
        names = {**kept, **{table: (files[table].name,) for table in REPLACED}}
        stamps = {name: stamp(self.folder / name) for found in names.values() for name in found}
        added = tuple(stamp(path) for path in made_from)
        new = State((*state.made_from, *added), names, extent, stamps)
        document = {"version": _VERSION, **asdict(new)}
        temporary = self.folder / f"{_MANIFEST}.{os.getpid()}"
        temporary.write_text(json.dumps(document), encoding="utf-8")
        temporary.replace(self.folder / _MANIFEST)
        self._clean(new)
        return new

    def drop(self) -> None:
        """Forget what is stored: the next question makes it anew."""
        with contextlib.suppress(OSError):
            (self.folder / _MANIFEST).unlink()

    @contextlib.contextmanager
    def extending(self) -> Iterator[None]:
        """Be the only one that extends the store, for the length of the block."""
        with self._locked("extending", fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Keep the files that are in use now from being deleted, for the length of the block."""
        with self._locked("reading", fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def _locked(self, name: str, kind: int) -> Iterator[None]:
        # Opened to be read: a store that someone else made can be locked so, too.
        lock = os.open(self.folder / f"{name}.lock", os.O_RDONLY | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, kind)
            yield
        finally:
            os.close(lock)

    def _clean(self, state: State) -> None:
        """Delete files that *state* does not name, unless someone is reading."""
        with contextlib.suppress(OSError), self._locked("reading", fcntl.LOCK_EX | fcntl.LOCK_NB):
            for path in self.folder.glob("*-*.parquet"):
                if path.name not in state.stamps:
                    path.unlink()


def stamp(path: Path) -> tuple[str, int, int]:
    """Return name, size in bytes and time of change of a file, by which a change of it is noticed."""
    status = path.stat()
    return path.name, status.st_size, status.st_mtime_ns


def _stamp(row: Sequence[Any]) -> tuple[str, int, int]:
    name, size_bytes, changed_ns = row
    return str(name), int(size_bytes), int(changed_ns)


@contextlib.contextmanager
def store_of(recording_path: Path) -> Iterator[Store]:
    """Give the store of a recording; where its folder cannot be written, one for the length of the block."""
    folder = recording_path / FOLDER
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gadgetops-pairs-")))
        yield Store(folder)
