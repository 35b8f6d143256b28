"""
Reading a recording, whole or cut off anywhere: what is readable is read, and what is missing is said.

Queries see the tables `events`, `stacks`, `frames`, `modules`, `processes` and `resident`; what is
missing is empty.
Answers are left to `analysis`.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import duckdb

from gadgetops.duckdb_sql import parquet_rows, pattern
from gadgetops.errors import RecordingError, StorageError
from gadgetops.recording import operations
from gadgetops.recording.files import Stamp, read_file, why_not_readable
from gadgetops.recording.manifest import MANIFEST_NAME, Manifest, read_manifest, remembered
from gadgetops.recording.schema import (
    EVENT_COLUMNS,
    FORMAT_VERSION,
    HEADER_NAME,
    NULLABLE,
    SEGMENT_TABLES,
    SYMBOL_COLUMNS,
    SYMBOLS_NAME,
    check_path,
    parse_segment_name,
    segment_name,
)
from gadgetops.units import plural

MEMORY_LIMIT: Final = "1GiB"
"""What DuckDB may hold before it spills to disk; with Python and its own overhead below 2 GiB."""
STREAM_MEMORY_LIMIT: Final = "512MiB"
"""The same while rows of one file are read in their order: a few blocks of it."""

_MOST: Final = (1 << 63) - 1
"""No counter is larger."""
_TABLES: Final = {**SEGMENT_TABLES, "symbols": SYMBOL_COLUMNS}
_MOST_ROWS: Final = 1 << 24
"""In one file; a recorder writes a million events, and fewer of what these refer to."""
_FRAMES_VIEW: Final = """
    create view frames as
    select
        frame_id, coalesce(position, 0) as position, address, module_id, module_offset, function, file, line
    from stored_frames left join symbols using (frame_id)
"""
_VIEW_NAMES: Final = {"frames": "stored_frames"}
_TYPES: Final = """
    select file_name, list(name || ' ' || lower(coalesce(duckdb_type, '')))
    from parquet_schema($names)
    group by file_name
"""
_HINT: Final = "name a folder that `gadgetops record` wrote"


@dataclass(frozen=True)
class Recording:
    """
    A recording as far as it can be read.

    Args:
        path: The folder.
        header: recording.json; empty if it cannot be read.
        segments: Readable files of events, in order.
        tables: Readable files of each table, in order; `symbols` besides those of a segment.
        n_events: How many events can be read.
        n_missing: How many more there were; None if nobody can say.
        problems: What is missing, a sentence each; empty for a whole recording.
        is_checked: Whether it has checksums, to which its files were compared.
    """

    path: Path
    header: Mapping[str, Any]
    segments: tuple[Path, ...]
    tables: Mapping[str, tuple[Path, ...]]
    n_events: int
    n_missing: int | None
    problems: tuple[str, ...] = field(default=())
    is_checked: bool = True

    @property
    def counters(self) -> Mapping[str, int]:
        """The counters of recording.json that are whole numbers; empty while it is being written."""
        counters = self.header.get("counters")
        known = counters if isinstance(counters, dict) else {}
        return {name: min(value, _MOST) for name, value in known.items() if type(value) is int and value >= 0}

    @property
    def lacks_symbols(self) -> bool:
        """Whether it has addresses or slices, no symbols: `gadgetops symbolize` finds them, also later."""
        return bool(self.tables["frames"] or self.tables["slices"]) and not self.tables["symbols"]

    @contextlib.contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """
        Give a DuckDB connection with the recording's tables; its memory is bounded, the rest goes to disk.

        Raises:
            RecordingError: A query failed, as on a damaged page; `verified` finds out which file has it.
        """
        with tempfile.TemporaryDirectory(prefix="gadgetops-") as scratch, _connection(scratch) as connection:
            try:
                for table, columns in _TABLES.items():
                    files = self.tables[table]
                    if table == "slices":
                        # The recorder drops them when it ends, whoever reads meanwhile.
                        files = tuple(path for path in files if path.is_file())
                    _create_view(connection, _VIEW_NAMES.get(table, table), columns, files)
                connection.execute(_FRAMES_VIEW)
                connection.execute(operations.VIEW)
                yield connection
            except duckdb.Error as error:
                raise RecordingError(self.path, _first_line(error)) from error

    def streamed(self, table: str, path: Path, columns: str, at_once: int) -> Iterator[list[tuple[Any, ...]]]:
        """
        Yield *columns* of one file of *table*, *at_once* rows at a time, in their order and bounded memory.

        Raises:
            RecordingError: The file cannot be read; what was yielded before is right.
        """
        with _connection(threads=1, memory_limit=STREAM_MEMORY_LIMIT) as connection:
            try:
                _create_view(connection, table, _TABLES[table], [path])
                cursor = connection.execute(f"select {columns} from {table}")  # noqa: S608 - our own names
                while rows := cursor.fetchmany(at_once):
                    yield rows
            except duckdb.Error as error:
                raise RecordingError(self.path, f"{path.name}: {_first_line(error)}") from error

    def check_events(self) -> None:
        """
        Raise if an event lacks a value; others are read without looking for that.

        Raises:
            RecordingError: An event does, or a file is damaged.
        """
        if not self.segments:
            return
        with _connection() as connection:
            try:
                query = f"select 1 from {parquet_rows(self.segments)} where {_is_null(EVENT_COLUMNS)} limit 1"  # noqa: S608
                if connection.execute(query).fetchall():
                    raise RecordingError(self.path, "events: NULL in a column that has none")
            except duckdb.Error as error:
                raise RecordingError(self.path, _first_line(error)) from error

    def n_addresses(self) -> int:
        """Return the number of distinct return addresses."""
        with self.connect() as connection:
            return int(connection.execute("select count(distinct frame_id) from frames").fetchall()[0][0])

    def verified(self) -> "Recording":
        """Return the recording without files that have damaged pages; every page is read."""
        return _open(self.path, thorough=True)


def open_recording(path: Path) -> Recording:
    """
    Return the recording in the folder *path*, as far as it can be read.

    Raises:
        RecordingError: It is none, nothing in it is readable, or its format is newer than this program.
        StorageError: The folder cannot be read.
    """
    return _open(path, thorough=False)


def _open(path: Path, *, thorough: bool) -> Recording:
    check_path(path)
    present, problems = recording_files(path)
    manifest = read_manifest(path)
    names, changed = (present, []) if manifest is None else _right(path, present, manifest)
    # A header that was changed says nothing that can be relied on.
    is_changed = HEADER_NAME in present - names
    header, unreadable = ({}, []) if is_changed else read_header(path)
    problems += [*unreadable, *changed]
    if manifest is not None:
        problems += [f"{name} is missing" for name in sorted(_expected(manifest, header) - present)]
    elif header.get("manifest") is not None:
        problems.append(f"{MANIFEST_NAME} is missing: no checksum can be compared")
    with _connection() as connection:
        files = _Files(connection, path, thorough=thorough)
        counts = {table: files.counts(table, names, present) for table in _TABLES}
    if not header and not counts["events"]:
        raise RecordingError(path, "nothing in it is readable", hint="; ".join([*problems, *files.problems]))
    tables = {table: tuple(found) for table, found in counts.items()}
    n_rows = {table: sum(found.values()) for table, found in counts.items()}
    recording = Recording(
        path, header, tables["events"], tables, n_rows["events"], 0, is_checked=manifest is not None
    )
    recording = replace(recording, n_missing=_n_missing(recording))
    problems += [*files.problems, *_incompleteness(recording, n_rows)]
    return replace(recording, problems=tuple(dict.fromkeys(problems)))


def recording_files(path: Path) -> tuple[frozenset[str], list[str]]:
    """
    Return the names of a recording's files that are in *path*, and what is wrong with others of such names.

    Raises:
        RecordingError: There is no recording.
        StorageError: The folder cannot be read.
    """
    try:
        with os.scandir(path) as entries:
            reasons = {
                entry.name: why_not_readable(entry.stat(follow_symlinks=False))
                for entry in entries
                if _is_ours(entry.name)
            }
    except FileNotFoundError as error:
        raise RecordingError(path, "no such recording", hint=_HINT) from error
    except NotADirectoryError as error:
        raise RecordingError(path, "not a recording: not a folder", hint=_HINT) from error
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error
    if not reasons:
        raise RecordingError(path, f"not a recording: no {HEADER_NAME} and no segment in it", hint=_HINT)
    # Of recording.json it is said where that is read.
    problems = [
        f"{name} cannot be read: {reason}"
        for name, reason in sorted(reasons.items())
        if reason is not None and name != HEADER_NAME
    ]
    return frozenset(name for name, reason in reasons.items() if reason is None), problems


def _is_ours(name: str) -> bool:
    return name in (HEADER_NAME, SYMBOLS_NAME) or parse_segment_name(name) is not None


def _right(path: Path, names: frozenset[str], manifest: Manifest) -> tuple[frozenset[str], list[str]]:
    """Return those of *names* that are as they were written, and what is wrong with the others."""
    with remembered(path) as known:
        wrong = _problems_of(path, names, manifest, known)
        if any(wrong.values()):
            # What a recorder has just replaced has a newer line.
            manifest = read_manifest(path) or manifest
            if _is_cut(manifest, names, wrong):
                manifest.problems.append(f"{MANIFEST_NAME} is damaged: it ends early")
            wrong = _problems_of(path, names, manifest, known)
    problems = [problem for problem in wrong.values() if problem is not None]
    good = frozenset(name for name, problem in wrong.items() if problem is None)
    return good, [*manifest.problems, *problems]


def _problems_of(
    path: Path, names: frozenset[str], manifest: Manifest, known: dict[Stamp, int]
) -> dict[str, str | None]:
    return {name: manifest.problem_of(path / name, known) for name in sorted(names)}


def _is_cut(manifest: Manifest, names: frozenset[str], wrong: Mapping[str, str | None]) -> bool:
    """Return whether lines are gone: those of files, and the last one, about the header, if that is there."""
    return wrong.get(HEADER_NAME, MANIFEST_NAME) is not None and not names <= manifest.sums.keys()


def _expected(manifest: Manifest, header: Mapping[str, Any]) -> set[str]:
    """Return the names that are there unless somebody removed them."""
    numbers = {name: parse_segment_name(name) for name in manifest.sums}
    n_last = max((each[1] for each in numbers.values() if each), default=0)
    is_ended = header.get("end") is not None
    return {
        name
        for name, each in numbers.items()
        # Copies of stacks go when stacks were made of them.
        if (each is not None and each[0] != "slices" and (is_ended or each[1] < n_last))
        or (is_ended and name == SYMBOLS_NAME)
    }


def read_header(path: Path) -> tuple[dict[str, Any], list[str]]:
    """
    Return recording.json, or an empty mapping and why.

    Raises:
        RecordingError: Another version wrote it.
    """
    try:
        header = json.loads(read_file(path / HEADER_NAME))
    except FileNotFoundError:
        return {}, [f"{HEADER_NAME} is missing"]
    except OSError as error:
        return {}, [f"{HEADER_NAME} cannot be read: {error.strerror}"]
    except (ValueError, RecursionError):
        return {}, [f"{HEADER_NAME} is not JSON"]
    if not isinstance(header, dict) or type(header.get("format_version")) is not int:
        return {}, [f"{HEADER_NAME} has no format_version"]
    if header["format_version"] != FORMAT_VERSION:
        problem = f"format_version: expected {FORMAT_VERSION}, got {header['format_version']}"
        raise RecordingError(path / HEADER_NAME, problem, hint="use the version of gadgetops that wrote it")
    return header, []


class _Files:
    """The Parquet files of a recording; collects what is wrong with them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path, *, thorough: bool) -> None:
        self.problems: list[str] = []
        self._connection = connection
        self._path = path
        self._thorough = thorough

    def counts(self, table: str, names: frozenset[str], present: frozenset[str]) -> dict[Path, int]:
        """
        Return the number of rows of each readable file of *table*, in their order.

        Args:
            table: Its name.
            names: Files that may be read.
            present: Those, and others that are there.
        """
        if table == "symbols":
            readable = [SYMBOLS_NAME] if SYMBOLS_NAME in names else []
        else:
            self._note_gaps(table, _numbers(table, present))
            readable = [segment_name(table, number) for number in _numbers(table, names)]
        return self._n_rows([self._path / name for name in readable], _TABLES[table])

    def _note_gaps(self, table: str, numbers: Sequence[int]) -> None:
        """Only events are in every segment."""
        before = -1
        for number in numbers if table == "events" else ():
            first, last = (segment_name(table, each) for each in (before + 1, number - 1))
            if number == before + 2:
                self.problems.append(f"{first} is missing")
            elif number > before + 2:
                self.problems.append(f"{first} to {last} are missing: {number - before - 1:,} files")
            before = number

    def _n_rows(self, paths: Sequence[Path], columns: Mapping[str, str]) -> dict[Path, int]:
        """Return the number of rows of each of *paths* that has these *columns*; a problem for each other."""
        if not paths:
            return {}
        try:
            return self._asked(paths, columns)
        except duckdb.Error as error:
            if len(paths) > 1:
                middle = len(paths) // 2
                return self._n_rows(paths[:middle], columns) | self._n_rows(paths[middle:], columns)
            self.problems.append(f"{paths[0].name} cannot be read: {_short(error, paths[0])}")
            return {}

    def _asked(self, paths: Sequence[Path], columns: Mapping[str, str]) -> dict[Path, int]:
        """As `_n_rows`, with one question for all files; DuckDB raises if any of them cannot be read."""
        names = [pattern(path) for path in paths]
        n_rows = self._by_file("select file_name, num_rows from parquet_file_metadata($names)", names)
        types = self._by_file(_TYPES, names)
        right = {
            path: n_rows[path.name]
            for path in paths
            if self._has(path, types[path.name], columns) and self._is_possible(path, n_rows[path.name])
        }
        if right and (self._thorough or columns is not EVENT_COLUMNS) and self._has_nulls(right, columns):
            right = {path: n for path, n in right.items() if not self._notes_nulls(path, columns)}
        for path in right if self._thorough else ():
            query = f"select bit_xor(hash({', '.join(columns)})) from {parquet_rows([path])}"  # noqa: S608 - our names
            self._connection.execute(query).fetchall()
        return right

    def _is_possible(self, path: Path, n_rows: int) -> bool:
        """Return whether a recorder may have written so many rows: memory that they take is bounded."""
        if not 0 <= n_rows <= _MOST_ROWS:
            self.problems.append(f"{path.name} cannot be read: {n_rows:,} rows, {_MOST_ROWS:,} are possible")
        return 0 <= n_rows <= _MOST_ROWS

    def _has_nulls(self, paths: Iterable[Path], columns: Mapping[str, str]) -> bool:
        query = f"select 1 from {parquet_rows(paths)} where {_is_null(columns)} limit 1"  # noqa: S608 - our names
        return bool(self._connection.execute(query).fetchall())

    def _notes_nulls(self, path: Path, columns: Mapping[str, str]) -> bool:
        has_nulls = self._has_nulls([path], columns)
        if has_nulls:
            needed = ", ".join(column for column in columns if column not in NULLABLE)
            self.problems.append(f"{path.name} cannot be read: NULL in a column that has none ({needed})")
        return has_nulls

    def _by_file(self, query: str, names: Sequence[str]) -> dict[str, Any]:
        rows = self._connection.execute(query, {"names": names}).fetchall()
        return {Path(name).name: value for name, value in rows}

    def _has(self, path: Path, types: Sequence[str], columns: Mapping[str, str]) -> bool:
        wrong = [column for column, sql_type in columns.items() if f"{column} {sql_type}" not in types]
        if wrong:
            self.problems.append(f"{path.name}: not the columns of a recording: {', '.join(wrong)}")
        return not wrong


def _numbers(table: str, names: Iterable[str]) -> list[int]:
    """Return the numbers of the segments of *names* that are of *table*, in order."""
    parsed = filter(None, map(parse_segment_name, names))
    return sorted(number for found, number in parsed if found == table)


def _is_null(columns: Mapping[str, str]) -> str:
    """Return the condition that a row has NULL where the format has a value."""
    needed = {name: kind for name, kind in columns.items() if name not in NULLABLE}
    tests = [f"{name} is null" for name in needed]
    # Not `!=`: that is NULL where the list is.
    tests += [
        f"list_count({name}) is distinct from len({name})" for name in needed if needed[name].endswith("[]")
    ]
    return " or ".join(tests)


def _n_missing(recording: Recording) -> int | None:
    expected = recording.counters.get("events")
    return None if expected is None else max(0, expected - recording.n_events)


def _incompleteness(recording: Recording, n_rows: Mapping[str, int]) -> Iterator[str]:
    """What the header says against what is there."""
    if recording.header and recording.header.get("end") is None:
        yield "the recorder did not end it: later events are missing"
    if recording.n_missing:
        yield f"{plural(recording.n_missing, 'event')} of {recording.counters['events']:,} cannot be read"
    rows = recording.header.get("rows")
    for table, expected in rows.items() if isinstance(rows, dict) else ():
        missing = expected - n_rows.get(table, 0) if type(expected) is int else 0
        if missing > 0:
            yield f"{missing:,} of {plural(expected, 'row')} of {table} cannot be read"


@contextlib.contextmanager
def _connection(
    scratch: str = "", *, threads: int | None = None, memory_limit: str = MEMORY_LIMIT
) -> Iterator[duckdb.DuckDBPyConnection]:
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        "temp_directory": scratch,
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    if threads is not None:
        config["threads"] = threads
    connection = duckdb.connect(config=config)
    try:
        yield connection
    finally:
        connection.close()


def _create_view(
    connection: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, str], files: Sequence[Path]
) -> None:
    if files:
        query = f"select {', '.join(columns)} from {parquet_rows(files)}"  # noqa: S608 - our own names, quoted
        connection.execute(f"create view {name} as {query}")
    else:
        described = ", ".join(f"{column} {sql_type}" for column, sql_type in columns.items())
        connection.execute(f"create table {name} ({described})")


def _short(error: Exception, path: Path) -> str:
    return _first_line(error).replace(str(path.absolute()), path.name)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
