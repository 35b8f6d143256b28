"""The questions' SQL: one text a file in `sql/`, in the subset that DuckDB and Spark share."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


# importlib.resources would load for longer than an answer that is kept takes.
_FOLDER: Final = Path(__file__).parent / "sql"


def text(name: str) -> str:
    """Return the SQL of `sql/NAME.sql`."""
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def rows(connection: "DuckDBPyConnection", name: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Return what the text *name* selects; its `$parameters` are those given here."""
    return connection.execute(text(name), parameters).fetchall()
