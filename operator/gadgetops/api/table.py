"""Rows of a recording, as Python's own values, an Arrow table or a pandas frame."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gadgetops.errors import UsageError
from gadgetops.questions.free_query import fetched, query
from gadgetops.recording.reader import open_recording

if TYPE_CHECKING:
    import pandas
    import pyarrow
    from duckdb import DuckDBPyRelation


class Table:
    """
    What a query over a recording gives; it is asked anew by each method, and kept nowhere.

    Args:
        path: The recording.
        sql: The query: one statement that reads.
    """

    def __init__(self, path: Path, sql: str) -> None:
        self._path = path
        self._sql = sql

    def __repr__(self) -> str:
        """Return the query and its recording."""
        return f"<{self._sql} of {self._path}>"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each row: names of columns -> values."""
        with query(open_recording(self._path), self._sql) as found:
            for row in found.rows:
                yield dict(zip(found.columns, row, strict=True))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        with query(open_recording(self._path), self._sql) as found:
            return found.columns

    def arrow(self) -> "pyarrow.Table":
        """
        Return the rows as an Arrow table, the columns typed as in docs/recording-format.md.

        Raises:
            UsageError: pyarrow is not installed.
            QueryError: The query is none.
        """
        _check_installed("pyarrow", "arrow")
        return fetched(open_recording(self._path), self._sql, _arrow)

    def pandas(self) -> "pandas.DataFrame":
        """
        Return the rows as a frame of pandas.

        Raises:
            UsageError: pandas is not installed.
            QueryError: The query is none.
        """
        _check_installed("pandas", "pandas")
        return fetched(open_recording(self._path), self._sql, _frame)


def _arrow(relation: "DuckDBPyRelation") -> "pyarrow.Table":
    return relation.to_arrow_table()


def _frame(relation: "DuckDBPyRelation") -> "pandas.DataFrame":
    return relation.df()


def _check_installed(module: str, extra: str) -> None:
    import importlib.util  # noqa: PLC0415 - only these two methods need it

    if importlib.util.find_spec(module) is None:
        raise UsageError(f"{module} is not installed", hint=f"pip install 'gadgetops[{extra}]'")
