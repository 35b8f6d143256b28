"""Every allocation as a row: CSV, Parquet, JSON lines."""

from pathlib import Path

from gadgetops.questions.exports.profile import RowFormat, write_rows
from gadgetops.report.exports.export import Export


def write(export: Export, path: Path, row_format: RowFormat) -> str:
    """
    Write the rows to *path* and return how sure they are.

    Raises:
        RecordingError: The recording could not be read, or *path* not be written.
    """
    return write_rows(export.recording, path, row_format, export.filters)
