"""DuckDB as the engine of a fleet: on this machine, memory bounded, the rest on its disk."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from gadgetops.duckdb_sql import parquet_rows
from gadgetops.errors import RecordingError
from gadgetops.recording.reader import MEMORY_LIMIT


class DuckDBEngine:
    """Answers on this machine."""

    def check_pairs(self, recording: Path, folder: Path) -> None:
        """Do nothing: this machine can read them wherever they are."""

    @contextlib.contextmanager
    def connect(self) -> Iterator[Any]:
        """Give a connection to an empty database in memory."""
        with tempfile.TemporaryDirectory(prefix="gadgetops-") as scratch:
            config: dict[str, str | bool | int | float | list[str]] = {
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": scratch,
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
            with duckdb.connect(config=config) as connection:
                try:
                    yield connection
                except duckdb.Error as error:
                    raise RecordingError(Path("fleet"), str(error).partition("\n")[0]) from error

    def read(self, connection: Any, view: str, paths: Sequence[Path], columns: Mapping[str, str]) -> None:
        """Create *view* of the rows in *paths*."""
        if not paths:
            described = ", ".join(
                f"{name} {kind}" for name, kind in {**columns, "file_name": "varchar"}.items()
            )
            connection.execute(f"create temp table {view} ({described})")
            return
        source = parquet_rows(paths, ", filename = 'file_name'")
        selected = ", ".join((*columns, "file_name"))
        connection.execute(f"create temp view {view} as select {selected} from {source}")  # noqa: S608 - our names

    def file_name(self, path: Path) -> str:
        """Return the absolute path."""
        return str(path.absolute())
