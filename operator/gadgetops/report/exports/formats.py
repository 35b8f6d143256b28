"""The only list of the formats of `gadgetops convert`; a module is imported when its format is asked for."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gadgetops.report.exports.export import Export


@dataclass(frozen=True)
class Format:
    """
    One format.

    Args:
        module: Of this package; its `write(export, path, …)` writes a file and returns the certainty's word.
        is_text: Whether a terminal can show it.
        options: What `write` is given besides.
    """

    module: str
    is_text: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    def write(self, export: "Export", path: Path) -> str:
        """
        Write what is asked for to *path* and return the certainty's word.

        Raises:
            RecordingError: The recording could not be read.
            UsageError: A package is not installed that the format needs.
        """
        module = importlib.import_module(f"{__package__}.{self.module}")
        word: str = module.write(export, path, **self.options)
        return word


FORMATS: Final[Mapping[str, Format]] = {
    "folded": Format("folded", is_text=True),
    "pprof": Format("pprof"),
    "speedscope": Format("speedscope", is_text=True),
    "perfetto": Format("perfetto"),
    "heaptrack": Format("heaptrack", is_text=True),
    "firefox": Format("firefox", is_text=True),
    "otlp": Format("otlp"),
    "csv": Format("rows", is_text=True, options={"row_format": "csv"}),
    "parquet": Format("rows", options={"row_format": "parquet"}),
    "ndjson": Format("rows", is_text=True, options={"row_format": "ndjson"}),
}
"""Name -> format, in the order of the help."""
