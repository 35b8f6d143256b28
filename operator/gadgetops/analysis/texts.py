"""The questions' SQL: one text a file in `sql/`, in the subset that DuckDB and Spark share."""

from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def text(name: str) -> str:
    """Return the SQL of `sql/NAME.sql`."""
    return (resources.files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def rows(connection: "DuckDBPyConnection", name: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Return what the text *name* selects; its `$parameters` are those given here."""
    return connection.execute(text(name), parameters).fetchall()
