"""
Reading a recording, whole or cut off anywhere: what is readable is read, and what is missing is said.

Queries see four tables, `events`, `stacks`, `frames` and `modules`; what is missing is empty. Answers are
left to `analysis`.
"""

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import duckdb

from gadgetops.errors import RecordingError, StorageError
from gadgetops.recording.schema import (
    EVENT_COLUMNS,
    FORMAT_VERSION,
    FRAME_COLUMNS,
    FRAMES_NAME,
    HEADER_NAME,
    MODULE_COLUMNS,
    MODULES_NAME,
    SEGMENT_GLOB,
    STACK_COLUMNS,
    STACKS_NAME,
    check_path,
    segment_name,
)
from gadgetops.units import plural

MEMORY_LIMIT: Final = "1GiB"
"""What DuckDB may hold before it spills to disk; with Python and its own overhead below 2 GiB."""

_TABLES: Final = {
    "stacks": (STACKS_NAME, STACK_COLUMNS),
    "frames": (FRAMES_NAME, FRAME_COLUMNS),
    "modules": (MODULES_NAME, MODULE_COLUMNS),
}
_SEGMENT: Final = re.compile(r"events-(\d{5,})\.parquet")
_HINT: Final = "name a folder that `gadgetops record` wrote"


@dataclass(frozen=True)
class Recording:
    """
    A recording as far as it can be read.

    Args:
        path: The folder.
        header: recording.json; empty if it cannot be read.
        segments: Readable event segments, in order.
        tables: Readable files of `stacks`, `frames`, `modules`, by these names.
        n_events: How many events can be read.
        n_missing: How many more there were; None if nobody can say.
        problems: What is missing, a sentence each; empty for a whole recording.
    """

    path: Path
    header: Mapping[str, Any]
    segments: tuple[Path, ...]
    tables: Mapping[str, Path]
    n_events: int
    n_missing: int | None
    problems: tuple[str, ...] = field(default=())

    @property
    def counters(self) -> Mapping[str, int]:
        """The counters of recording.json that are whole numbers; empty while it is being written."""
        counters = self.header.get("counters")
        known = counters if isinstance(counters, dict) else {}
        return {name: value for name, value in known.items() if type(value) is int and value >= 0}

    @contextlib.contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """
        Give a DuckDB connection with the recording's tables; its memory is bounded, the rest goes to disk.

        Raises:
            RecordingError: A query failed, as on a damaged page; `verified` finds out which file has it.
        """
        with tempfile.TemporaryDirectory(prefix="gadgetops-") as scratch, _connection(scratch) as connection:
            try:
                _create_view(connection, "events", EVENT_COLUMNS, self.segments)
                for table, (_, columns) in _TABLES.items():
                    files = [self.tables[table]] if table in self.tables else []
                    _create_view(connection, table, columns, files)
                yield connection
            except duckdb.Error as error:
                raise RecordingError(self.path, _first_line(error)) from error

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
    names = _names(path)
    header, problems = _read_header(path)
    with _connection() as connection:
        files = _Files(connection, path, thorough=thorough)
        segments = files.segments(names)
        tables = files.tables(names)
    if not header and not segments:
        raise RecordingError(path, "nothing in it is readable", hint="; ".join([*problems, *files.problems]))
    recording = Recording(path, header, tuple(segments), tables, sum(segments.values()), 0)
    recording = replace(recording, n_missing=_n_missing(recording))
    problems += [*files.problems, *_incompleteness(recording)]
    return replace(recording, problems=tuple(problems))


def _names(path: Path) -> frozenset[str]:
    """Return the names of a recording's files that are in *path*."""
    try:
        names = {entry.name for entry in path.iterdir()}
    except FileNotFoundError as error:
        raise RecordingError(path, "no such recording", hint=_HINT) from error
    except NotADirectoryError as error:
        raise RecordingError(path, "not a recording: it is no folder", hint=_HINT) from error
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error
    known = {HEADER_NAME, *(name for name, _ in _TABLES.values())}
    ours = frozenset(name for name in names if name in known or _SEGMENT.fullmatch(name))
    if not ours:
        raise RecordingError(path, f"not a recording: no {HEADER_NAME} or {SEGMENT_GLOB} in it", hint=_HINT)
    return ours


def _read_header(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return recording.json, or an empty mapping and why."""
    try:
        header = json.loads((path / HEADER_NAME).read_bytes())
    except FileNotFoundError:
        return {}, [f"{HEADER_NAME} is missing"]
    except OSError as error:
        return {}, [f"{HEADER_NAME}: {error.strerror}"]
    except (ValueError, RecursionError):
        return {}, [f"{HEADER_NAME} is no JSON"]
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

    def segments(self, names: frozenset[str]) -> dict[Path, int]:
        """Return the readable segments in order, with their number of events."""
        numbers = sorted(int(match[1]) for match in map(_SEGMENT.fullmatch, names) if match)
        absent = sorted({*range(numbers[-1] if numbers else 0)} - {*numbers})
        self.problems += [f"{segment_name(number)} is missing" for number in absent]
        counts = {self._path / name: self._n_rows(name, EVENT_COLUMNS) for name in map(segment_name, numbers)}
        return {path: count for path, count in counts.items() if count is not None}

    def tables(self, names: frozenset[str]) -> dict[str, Path]:
        """Return the readable files besides the segments, by table."""
        found = {}
        for table, (name, columns) in _TABLES.items():
            if name not in names:
                self.problems.append(f"{name} is missing")
            elif self._n_rows(name, columns) is not None:
                found[table] = self._path / name
        return found

    def _n_rows(self, name: str, columns: Mapping[str, str]) -> int | None:
        """Return the number of rows of a file with these *columns*; None, and a problem, if it is not one."""
        source = f"read_parquet({_literal(self._path / name)})"
        rows = "count(*)" if not self._thorough else f"count(*), bit_xor(hash({', '.join(columns)}))"
        try:
            description = f"describe select * from {source}"  # noqa: S608 - our own names, quoted
            described = self._connection.execute(description).fetchall()
            types = {row[0]: row[1].lower() for row in described}
            wrong = [column for column, sql_type in columns.items() if types.get(column) != sql_type]
            if wrong:
                self.problems.append(f"{name}: not the columns of a recording: {', '.join(wrong)}")
                return None
            query = f"select {rows} from {source}"  # noqa: S608 - our own names, quoted
            return int(self._connection.execute(query).fetchall()[0][0])
        except duckdb.Error as error:
            self.problems.append(f"{name} cannot be read: {_short(error, self._path / name)}")
            return None


def _n_missing(recording: Recording) -> int | None:
    expected = recording.counters.get("events")
    return None if expected is None else max(0, expected - recording.n_events)


def _incompleteness(recording: Recording) -> Iterator[str]:
    """What the header says against what is there."""
    if recording.header and recording.header.get("end") is None:
        yield "the recorder did not end it: later events are missing"
    if recording.n_missing:
        yield f"{plural(recording.n_missing, 'event')} of {recording.counters['events']:,} cannot be read"


@contextlib.contextmanager
def _connection(scratch: str = "") -> Iterator[duckdb.DuckDBPyConnection]:
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY_LIMIT,
        "temp_directory": scratch,
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    connection = duckdb.connect(config=config)
    try:
        yield connection
    finally:
        connection.close()


def _create_view(
    connection: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, str], files: Sequence[Path]
) -> None:
    if files:
        source = f"read_parquet([{', '.join(map(_literal, files))}])"
        query = f"select {', '.join(columns)} from {source}"  # noqa: S608 - our own names, quoted
        connection.execute(f"create view {name} as {query}")
    else:
        described = ", ".join(f"{column} {sql_type}" for column, sql_type in columns.items())
        connection.execute(f"create table {name} ({described})")


def _literal(path: Path) -> str:
    """Return *path* as SQL text, its wildcards taken as they stand."""
    escaped = re.sub(r"([*?\[\]])", r"[\1]", str(path.absolute()))
    return "'" + escaped.replace("'", "''") + "'"


def _short(error: Exception, path: Path) -> str:
    return _first_line(error).replace(str(path.absolute()), path.name)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
