"""SQL that is kept in files: one text a file, in the subset that DuckDB and Spark share."""

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
