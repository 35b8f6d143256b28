"""
Rows into Parquet files, by DuckDB.

It takes a tenth of a second to import, for which no event has to wait: the writer comes here when there is a
segment to write.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import duckdb
import numpy as np
from numpy.typing import NDArray

from gadgetops.duckdb_sql import quoted, select_columns
from gadgetops.errors import RecordingError, StorageError
from gadgetops.recording.schema import EVENT_COLUMNS
from gadgetops.whole_files import replacing_file

_OPTIONS: Final = "(format parquet, parquet_version v2, compression zstd, row_group_size 262144)"
_ERROR_NUMBER: Final = re.compile(r'"errno":"(\d+)"')


class ParquetWriter:
    """
    Writes files, each whole and durable. Use as a context manager, or close it.

    Args:
        note: Told the name of each file and where its content is, before the file appears.

    Raises:
        RecordingError: A value does not fit its column.
        StorageError: A file cannot be written.
    """

    def __init__(self, note: Callable[[str, Path], None] = lambda _name, _content: None) -> None:
        self._note = note
        self._connection = duckdb.connect(config={"threads": 1})

    def __enter__(self) -> "ParquetWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free what it holds."""
        self._connection.close()

    def write_events(self, path: Path, events: Mapping[str, NDArray[Any]], operations: Sequence[str]) -> None:
        """Write *events*, columns as in `EVENT_COLUMNS`; `operation` has indices of *operations*."""
        names = [*EVENT_COLUMNS]
        names[names.index("operation")] = "cast($operations as varchar[])[operation + 1] as operation"
        self._connection.register("events", dict(events))
        try:
            query = f"select {', '.join(names)} from events"  # noqa: S608 - our own column names
            self._copy(path, query, {"operations": list(operations)})
        finally:
            self._connection.unregister("events")

    def write_rows(self, path: Path, columns: Mapping[str, str], rows: Iterable[tuple[Any, ...]]) -> None:
        """
        Write *rows* of *columns*, name -> SQL type.

        Column by column: as list parameters they are 50 times as fast as row by row, and as arrays bytes are
        several times as fast as that.
        """
        values = dict(zip(columns, [*zip(*rows, strict=True)] or [()] * len(columns), strict=True))
        blobs = {name: _array(values.pop(name)) for name, sql_type in columns.items() if sql_type == "blob"}
        plain = {name: columns[name] for name in values}
        query = select_columns(plain)
        if blobs:
            self._connection.register("blobs", blobs)
            query = f"select {', '.join(columns)} from ({query}) positional join blobs"  # noqa: S608 - as above
        try:
            self._copy(path, query, {name: [*map(_plain, column)] for name, column in values.items()})
        finally:
            self._connection.unregister("blobs")

    def _copy(self, path: Path, query: str, parameters: Mapping[str, Any]) -> None:
        """Write the result of *query* to the file *path*, whole and durable."""
        with replacing_file(path) as temporary:
            try:
                copied = f"copy ({query}) to {quoted(str(temporary))} {_OPTIONS}"
                self._connection.execute(copied, parameters)
            except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
                raise RecordingError(path.parent, f"{path.name}: {_first_line(error)}") from error
            except duckdb.Error as error:
                raise StorageError(path, _reason(error)) from error
            self._note(path.name, temporary)


def _array(column: Sequence[bytes]) -> NDArray[Any]:
    """Return *column* as an array of its objects, whose bytes stay where they are."""
    array = np.empty(len(column), object)
    array[:] = column
    return array


def _plain(value: Any) -> Any:
    """Return *value* as a column takes it: text that UTF-8 can hold, lists, addresses by their bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if value is None:
        return value
    if not isinstance(value, int):
        return [_bits(int(each)) for each in value]
    return _bits(value)


def _bits(value: int) -> int:
    return value - (1 << 64) if 1 << 63 <= value < 1 << 64 else value


def _reason(error: BaseException) -> str:
    """Return why a file was not written, in the system's words where DuckDB passes on its number."""
    number = _ERROR_NUMBER.search(str(error))
    return os.strerror(int(number[1])) if number else _first_line(error)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]
