"""The SQL that pairs calls, in the folder sql."""

from pathlib import Path
from typing import Final

from gadgetops.sql_texts import SqlTexts

_TEXTS: Final = SqlTexts(Path(__file__).parent / "sql")

text = _TEXTS.text
"""As `SqlTexts.text`."""
