"""
Writing a recording: segments that are durable once closed, symbols and the header's end when it ends.

Every file appears whole or not at all (temporary file, fsync, rename), and what an event refers to before the
event: a crash loses at most what was not yet in a segment, and nothing half-written looks complete.
"""

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gadgetops import __version__
from gadgetops.errors import AlreadyExists, RecordingError, StorageError
from gadgetops.recording.event_columns import Columns, checked, joined
from gadgetops.recording.manifest import MANIFEST_NAME, ManifestWriter, add_to
from gadgetops.recording.schema import (
    FORMAT_VERSION,
    FRAME_COLUMNS,
    HEADER_NAME,
    SEGMENT_TABLES,
    STACK_COLUMNS,
    SYMBOL_COLUMNS,
    SYMBOLS_NAME,
    FrameRow,
    JitCodeRow,
    ModuleRow,
    ProcessRow,
    ResidentRow,
    SliceRow,
    StackRow,
    SymbolRow,
    check_path,
    parse_segment_name,
    segment_name,
)
from gadgetops.whole_files import replacing_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gadgetops.recording.parquet import ParquetWriter

SEGMENT_EVENTS: Final = 1_000_000
"""How many events a segment holds at most."""
SEGMENT_SECONDS: Final = 10.0
"""How long after its first event a segment is closed at the latest."""
SEGMENT_ROWS: Final = 250_000
"""How many rows of other tables are kept in memory at most, where processes come and go without events."""
SEGMENT_SLICE_BYTES: Final = 64 << 20
"""How much memory of slices is kept at most."""

_SMALL_TABLES: Final = {name: columns for name, columns in SEGMENT_TABLES.items() if name != "events"}


class RecordingWriter:
    """
    A recording being written; made by `create`, ended by `close`. For one thread.

    Rows that events refer to are given before those events. Memory is bounded by one segment. A write that
    fails leaves what was closed before; its events are gone, and `close` can still be called.
    """

    def __init__(self, path: Path, header: dict[str, Any], manifest: ManifestWriter) -> None:
        self.path = path
        self._manifest = manifest
        self.n_events = 0
        """Events in closed segments."""
        self._header = header
        self._segments = 0
        self._events: list[Columns] = []
        self._n_buffered = 0
        self._first_event_s = 0.0
        self._segment_s: float | None = None
        self._rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _SMALL_TABLES}
        self._n_rows = dict.fromkeys(_SMALL_TABLES, 0)
        self._slice_bytes = 0
        self._symbols: list[SymbolRow] = []
        self._operations: tuple[str, ...] = ()
        self._closed = False
        self._parquet: ParquetWriter | None = None

    @classmethod
    def create(
        cls, path: Path, header: Mapping[str, Any], *, segment_s: float | None = None
    ) -> "RecordingWriter":
        """
        Create the folder *path* with a recording.json that says it is not complete.

        Args:
            path: What must not exist yet; its parent must.
            header: `image`, `host`, `target`, `parameters`, `started_at_ns` and whatever else JSON can hold.
            segment_s: In place of `SEGMENT_SECONDS`.

        Raises:
            AlreadyExists: Something is at *path*.
            StorageError: It cannot be written.
            RecordingError: *header* is not JSON, or *path* is no UTF-8.
        """
        check_path(path)
        full = {
            "started_at_ns": time.time_ns(),
            **header,
            "format_version": FORMAT_VERSION,
            "manifest": MANIFEST_NAME,
            "tool": f"gadgetops {__version__}",
            "ended_at_ns": None,
            "counters": None,
            "rows": None,
            "end": None,
        }
        text = _header_text(path, full)
        try:
            path.mkdir()
        except FileExistsError as error:
            raise AlreadyExists(str(path), hint="choose another name, or remove it first") from error
        except OSError as error:
            raise StorageError.from_os_error(error, path) from error
        try:
            manifest = ManifestWriter(path)
            _write_text(path / HEADER_NAME, text, manifest)
        except BaseException:
            with contextlib.suppress(OSError):
                (path / MANIFEST_NAME).unlink(missing_ok=True)
                path.rmdir()
            raise
        writer = cls(path, full, manifest)
        writer._segment_s = segment_s
        return writer

    @property
    def has_frames(self) -> bool:
        """Whether closed segments hold return addresses."""
        return self._n_rows["frames"] > 0

    def write_modules(self, rows: Iterable[ModuleRow]) -> None:
        """Append modules; they become durable with the segment."""
        self._take("modules", rows)

    def write_frames(self, rows: Iterable[FrameRow]) -> None:
        """Append return addresses; they become durable with the segment."""
        self._take("frames", rows)

    def write_stacks(self, rows: Iterable[StackRow]) -> None:
        """Append stacks; they become durable with the segment."""
        self._take("stacks", rows)

    def write_slices(self, rows: Iterable[SliceRow]) -> None:
        """Append slices; they become durable with the segment, in a file that nobody else may read."""
        known = len(self._rows["slices"])
        self._take("slices", rows)
        self._slice_bytes += sum(len(row[4]) for row in self._rows["slices"][known:])

    def write_processes(self, rows: Iterable[ProcessRow]) -> None:
        """Append what befell processes; they become durable with the segment."""
        self._take("processes", rows)

    def write_resident(self, rows: Iterable[ResidentRow]) -> None:
        """Append how much memory processes had in RAM; it becomes durable with the segment."""
        self._take("resident", rows)

    def write_jit_code(self, rows: Iterable[JitCodeRow]) -> None:
        """Append what processes say about code that they generated; it becomes durable with the segment."""
        self._take("jit_code", rows)

    def write_symbols(self, rows: Iterable[SymbolRow]) -> None:
        """Append symbols; they are kept in memory and written when the recording ends."""
        self._check_open()
        self._symbols.extend(rows)

    def write_events(self, columns: "Mapping[str, NDArray[Any]]", operations: Sequence[str]) -> None:
        """
        Append events, in their order; a full segment is written at once, the rest kept in memory.

        Args:
            columns: `timestamp_ns`, `pid`, `tid`, `operation` (index into *operations*), `address`,
                `size_bytes`, `stack_id`, `lost`; of one length. They are copied. Unsigned
                sizes and times beyond 2^63-1 become 2^63-1, addresses keep their bits.
            operations: Names of operations.

        Raises:
            RecordingError: Columns are missing or differ in length, an operation has no name, or the
                recording is closed.
            StorageError: A segment cannot be written.
        """
        self._check_open()
        events = checked(self.path, columns, len(operations))
        if tuple(operations) != self._operations:
            if self._n_buffered:
                self.close_segment()
            self._operations = tuple(operations)
        self._append(events)

    def tick(self) -> None:
        """
        Close the segment if its first event is old enough; to be called now and then.

        Raises:
            StorageError: The segment cannot be written.
        """
        segment_s = SEGMENT_SECONDS if self._segment_s is None else self._segment_s
        is_due = bool(self._n_buffered) and time.monotonic() - self._first_event_s >= segment_s
        is_large = self._slice_bytes >= SEGMENT_SLICE_BYTES
        if is_due or is_large or sum(map(len, self._rows.values())) >= SEGMENT_ROWS:
            self.close_segment()

    def close_segment(self) -> None:
        """
        Make everything durable that was given so far, symbols excepted; nothing happens if that is nothing.

        Raises:
            RecordingError: A value does not fit its column.
            StorageError: A file cannot be written.
        """
        parts, n_events = self._events, self._n_buffered
        self._events, self._n_buffered = [], 0
        if not n_events and not any(self._rows.values()):
            return
        number, first_seq = self._segments, self.n_events
        self._segments += 1
        self.n_events += n_events
        for table, columns in _SMALL_TABLES.items():
            self._write_small(table, columns, number)
        self._slice_bytes = 0
        # Also without events: where numbers have no gap, nothing is missing.
        self._write_segment(parts, number, first_seq)

    def close(
        self, *, counters: Mapping[str, int | None], end: str, facts: Mapping[str, Any] | None = None
    ) -> None:
        """
        Write what is left, then recording.json, which makes the recording complete.

        Args:
            counters: `lost` (None where nobody knows), `failed_stacks` and others; `events` is counted here.
            end: `"complete"`, `"interrupted"`, or another word for how it ended.
            facts: Further members of recording.json that were not known in the beginning.

        Raises:
            RecordingError: It is closed already, or a value does not fit its column.
            StorageError: A file cannot be written; recording.json then still says that it is not complete.
        """
        self._check_open()
        self._closed = True
        try:
            self.close_segment()
            if self._symbols:
                self._files().write_rows(self.path / SYMBOLS_NAME, SYMBOL_COLUMNS, self._symbols)
        finally:
            if self._parquet is not None:
                self._parquet.close()
        # Slices are dropped once stacks are made of them: it is stacks that would be missing.
        self._n_rows.pop("slices")
        counted = {"lost": 0, "failed_stacks": 0, **counters, "events": self.n_events}
        ended = {"ended_at_ns": time.time_ns(), "counters": counted, "rows": self._n_rows, "end": end}
        self._header |= {**(facts or {}), **ended}
        _write_text(self.path / HEADER_NAME, _header_text(self.path, self._header), self._manifest)
        self._manifest.close()

    def _check_open(self) -> None:
        if self._closed:
            raise RecordingError(self.path, "is closed, nothing more can be written")

    def _take(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self._check_open()
        self._rows[table].extend(rows)

    def _append(self, events: "Columns") -> None:
        n_events, start = len(events["operation"]), 0
        while start < n_events:
            end = min(n_events, start + SEGMENT_EVENTS - self._n_buffered)
            if not self._n_buffered:
                self._first_event_s = time.monotonic()
            self._events.append({name: column[start:end] for name, column in events.items()})
            self._n_buffered += end - start
            start = end
            if self._n_buffered >= SEGMENT_EVENTS:
                self.close_segment()
        self.tick()

    def _write_segment(self, parts: "list[Columns]", number: int, first_seq: int) -> None:
        events = joined(parts, first_seq)
        self._files().write_events(self.path / segment_name("events", number), events, self._operations)

    def _write_small(self, table: str, columns: Mapping[str, str], number: int) -> None:
        """Write the rows of one table; what could not be written is tried again with the next segment."""
        rows = self._rows[table]
        if not rows:
            return
        with _for_nobody_else() if table == "slices" else contextlib.nullcontext():
            self._files().write_rows(self.path / segment_name(table, number), columns, rows)
        self._n_rows[table] += len(rows)
        self._rows[table] = []

    def _files(self) -> "ParquetWriter":
        if self._parquet is None:
            self._parquet = _parquet_writer(self._manifest.add)
        return self._parquet


def _parquet_writer(note: Callable[[str, Path], None]) -> "ParquetWriter":
    # Imported when something is written: see there.
    from gadgetops.recording.parquet import ParquetWriter  # noqa: PLC0415

    return ParquetWriter(note)


class StackAppender:
    """
    Adds stacks to the recording in the folder *path*, which nobody is writing. Use as a context manager.

    What `close_segment` made durable stays, whatever happens afterwards.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = _parquet_writer(functools.partial(add_to, path))
        self._frames: list[FrameRow] = []
        self._stacks: list[StackRow] = []
        known = filter(None, (parse_segment_name(each.name) for each in path.iterdir()))
        self._number = max((number for _, number in known), default=-1) + 1

    def __enter__(self) -> "StackAppender":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def write_frames(self, rows: Iterable[FrameRow]) -> None:
        """Append return addresses."""
        self._frames.extend(rows)

    def write_stacks(self, rows: Iterable[StackRow]) -> None:
        """Append stacks, whose return addresses were appended before."""
        self._stacks.extend(rows)

    def close_segment(self) -> None:
        """
        Make durable what was appended, return addresses before the stacks that have them.

        Raises:
            StorageError: A file cannot be written.
        """
        if not self._frames and not self._stacks:
            return
        frames, stacks = segment_name("frames", self._number), segment_name("stacks", self._number)
        self._files.write_rows(self._path / frames, FRAME_COLUMNS, self._frames)
        self._files.write_rows(self._path / stacks, STACK_COLUMNS, self._stacks)
        self._number += 1
        self._frames, self._stacks = [], []


def drop_slices(paths: Iterable[Path]) -> None:
    """
    Remove files of slices: they are memory of the process.

    Raises:
        StorageError: A file cannot be removed.
    """
    for each in paths:
        try:
            each.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError.from_os_error(error, each) from error


def write_symbols(path: Path, rows: Iterable[SymbolRow]) -> None:
    """
    Write the symbols of the recording in the folder *path*, in place of those that it has.

    Raises:
        StorageError: The file cannot be written.
    """
    with _parquet_writer(functools.partial(add_to, path)) as files:
        files.write_rows(path / SYMBOLS_NAME, SYMBOL_COLUMNS, rows)


def _header_text(path: Path, header: Mapping[str, Any]) -> str:
    try:
        return json.dumps(header, indent=2) + "\n"
    except (TypeError, ValueError) as error:
        raise RecordingError(path, f"{HEADER_NAME}: {error}") from error


def _write_text(path: Path, text: str, manifest: ManifestWriter) -> None:
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        manifest.add(path.name, temporary)


@contextlib.contextmanager
def _for_nobody_else() -> Iterator[None]:
    """Make files in the block private to the user from their first byte on."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
