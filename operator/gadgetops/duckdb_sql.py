"""
What all SQL shares: texts that are kept in files, Python's rows as tables, Parquet files as sources.

Texts are in the subset that DuckDB and Spark share.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class SqlTexts:
    """The texts of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def text(self, name: str) -> str:
        """Return the SQL of `NAME.sql`."""
        # importlib.resources would load for longer than an answer that is kept takes.
        return (self._folder / f"{name}.sql").read_text(encoding="utf-8")

    def rows(self, connection: "DuckDBPyConnection", name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return what the text *name* selects; its `$parameters` are those given here."""
        return connection.execute(self.text(name), parameters).fetchall()


def select_columns(columns: Mapping[str, str]) -> str:
    """
    Return a query that gives the rows of parameters that have the names of *columns*, a list each.

    Column by column: row by row takes 50 times as long.

    Args:
        columns: Name -> SQL type.
    """
    return "select " + ", ".join(
        f"unnest(cast(${name} as {kind}[])) as {name}" for name, kind in columns.items()
    )


def create_table(
    connection: Any, name: str, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]
) -> None:
    """Create, or replace, the temporary table *name* of *rows*, with values in the order of *columns*."""
    values = [*zip(*rows, strict=True)] or [()] * len(columns)
    parameters = {column: [*value] for column, value in zip(columns, values, strict=True)}
    connection.execute(f"create or replace temp table {name} as {select_columns(columns)}", parameters)


def quoted(text: str) -> str:
    """Return *text* as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def parquet_rows(paths: Iterable[Path], options: str = "") -> str:
    """
    Return what stands for the rows of the Parquet files *paths* in SQL; wildcards in their names as they are.

    Args:
        paths: At least one.
        options: Further arguments of `read_parquet`: `", filename = true"`.
    """
    return f"read_parquet([{', '.join(quoted(pattern(path)) for path in paths)}]{options})"


def pattern(path: Path) -> str:
    """Return *path* as DuckDB takes it where a pattern may stand, its wildcards as they are."""
    return re.sub(r"([*?\[\]])", r"[\1]", str(path.absolute()))
