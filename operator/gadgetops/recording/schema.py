"""
The recording format, version 1: names of files, columns and their types; docs/recording-format.md in code.

Integers are signed, because Spark reads unsigned Parquet columns as decimals. Nothing heavy is imported here.
"""

from pathlib import Path
from typing import Final, NamedTuple

from gadgetops.errors import RecordingError

FORMAT_VERSION: Final = 1
"""Raised when an older reader would misread what is written."""

SUFFIX: Final = ".gadgetrec"
"""What the name of a recording's folder ends with, by custom."""

HEADER_NAME: Final = "recording.json"
STACKS_NAME: Final = "stacks.parquet"
FRAMES_NAME: Final = "frames.parquet"
MODULES_NAME: Final = "modules.parquet"
SEGMENT_GLOB: Final = "events-*.parquet"

NO_STACK: Final = -1
"""`stack_id` of an event for which no stack was collected."""
FAILED_STACK: Final = -2
"""`stack_id` of an event whose stack could not be collected."""

EVENT_COLUMNS: Final = {
    "seq": "bigint",
    "timestamp_ns": "bigint",
    "pid": "integer",
    "tid": "integer",
    "operation": "varchar",
    "address": "bigint",
    "size_bytes": "bigint",
    "stack_id": "integer",
    "lost": "bigint",
}
"""Column -> SQL type of the event segments."""

STACK_COLUMNS: Final = {"stack_id": "integer", "frame_ids": "integer[]"}
"""Column -> SQL type of stacks.parquet; frames leaf first."""

FRAME_COLUMNS: Final = {
    "frame_id": "integer",
    "position": "integer",
    "address": "bigint",
    "module_id": "integer",
    "module_offset": "bigint",
    "function": "varchar",
    "file": "varchar",
    "line": "integer",
}
"""Column -> SQL type of frames.parquet; as `FrameRow`."""

MODULE_COLUMNS: Final = {
    "module_id": "integer",
    "pid": "integer",
    "path": "varchar",
    "build_id": "varchar",
    "start_address": "bigint",
    "end_address": "bigint",
    "file_offset": "bigint",
    "timestamp_ns": "bigint",
}
"""Column -> SQL type of modules.parquet; as `ModuleRow`."""


class FrameRow(NamedTuple):
    """
    One function at one return address; a return address inside inlined code has several rows.

    Args:
        frame_id: Names the return address; `frame_ids` of a stack refers to it.
        position: 0 for the innermost inlined function, 1 for the one it was inlined into, and so on.
        address: The return address, in the process.
        module_id: The module it lies in; None where unknown.
        module_offset: The address as an offset in bytes into the module's file; None where unknown.
        function: Name, demangled; None where unknown.
        file: Source file; None where unknown.
        line: Line in it, from 1; None where unknown.
    """

    frame_id: int
    position: int
    address: int
    module_id: int | None
    module_offset: int | None
    function: str | None
    file: str | None
    line: int | None


class ModuleRow(NamedTuple):
    """
    One file mapped executable into one process.

    Args:
        module_id: Names it within the recording.
        pid: The process.
        path: As the process sees it.
        build_id: GNU build id in hex; None where it has none.
        start_address: First mapped address.
        end_address: The address after the last one.
        file_offset: Offset in bytes into the file of what lies at `start_address`.
        timestamp_ns: When it was seen, on the clock of the events.
    """

    module_id: int
    pid: int
    path: str
    build_id: str | None
    start_address: int
    end_address: int
    file_offset: int
    timestamp_ns: int


def check_path(path: Path) -> None:
    """Raise `RecordingError` if *path* is no UTF-8: DuckDB, which has the tables, takes no other."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        shown = Path(str(path).encode("utf-8", "backslashreplace").decode())
        raise RecordingError(shown, "the path is no UTF-8", hint="choose another name") from error


def segment_name(number: int) -> str:
    """Return the file name of the event segment *number*, counted from 0."""
    return f"events-{number:05d}.parquet"
