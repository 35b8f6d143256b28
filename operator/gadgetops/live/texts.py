"""The SQL of the live view, in the folder sql."""

from pathlib import Path
from typing import Final

from gadgetops.duckdb_sql import SqlTexts

_TEXTS: Final = SqlTexts(Path(__file__).parent / "sql")

text = _TEXTS.text
"""As `SqlTexts.text`."""
rows = _TEXTS.rows
"""As `SqlTexts.rows`."""
