"""
The recording format, version 1: names of files, columns and their types; docs/recording-format.md in code.

Integers are signed, because Spark reads unsigned Parquet columns as decimals. Nothing heavy is imported here.
"""

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gadgetops.errors import RecordingError

FORMAT_VERSION: Final = 1
"""Raised when an older reader would misread what is written."""

HEADER_NAME: Final = "recording.json"
SYMBOLS_NAME: Final = "symbols.parquet"

NO_STACK: Final = -1
"""`stack_id` of an event for which no stack was collected."""
FAILED_STACK: Final = -2
"""`stack_id` of an event whose stack could not be collected."""

MAX_WALKED_FRAMES: Final = 127
"""How many addresses the kernel's walk gives at most: the default of kernel.perf_event_max_stack."""

SLICE_PART_BYTES: Final = 4096
"""The memory of a slice that was cut is a multiple of this long; that of others ends where the stack does."""

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
"""Column -> SQL type of the events."""

STACK_COLUMNS: Final = {"stack_id": "integer", "frame_ids": "integer[]"}
"""Column -> SQL type of the stacks; as `StackRow`."""

FRAME_COLUMNS: Final = {
    "frame_id": "integer",
    "address": "bigint",
    "module_id": "integer",
    "module_offset": "bigint",
}
"""Column -> SQL type of the stored frames; as `FrameRow`."""

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
"""Column -> SQL type of the modules; as `ModuleRow`."""

PROCESS_COLUMNS: Final = {
    "timestamp_ns": "bigint",
    "pid": "integer",
    "event": "varchar",
    "parent_pid": "integer",
    "comm": "varchar",
    "container": "varchar",
}
"""Column -> SQL type of the processes; as `ProcessRow`."""

RESIDENT_COLUMNS: Final = {"timestamp_ns": "bigint", "pid": "integer", "resident_bytes": "bigint"}
"""Column -> SQL type of resident memory; as `ResidentRow`."""

SLICE_COLUMNS: Final = {
    "stack_id": "integer",
    "pid": "integer",
    "timestamp_ns": "bigint",
    "registers": "blob",
    "memory": "blob",
    "module_ids": "integer[]",
}
"""Column -> SQL type of the slices; as `SliceRow`."""

JIT_CODE_COLUMNS: Final = {
    "pid": "integer",
    "number": "integer",
    "timestamp_ns": "bigint",
    "address": "bigint",
    "size_bytes": "bigint",
    "name": "varchar",
    "file": "varchar",
    "line": "integer",
}
"""Column -> SQL type of generated code; as `JitCodeRow`."""

JIT_MODULE: Final = "[jit]"
"""Path of the module that stands for the code that a process generated; offsets into it are addresses."""

SYMBOL_COLUMNS: Final = {
    "frame_id": "integer",
    "position": "integer",
    "function": "varchar",
    "file": "varchar",
    "line": "integer",
}
"""Column -> SQL type of symbols.parquet; as `SymbolRow`."""

NULLABLE: Final = frozenset(
    {"build_id", "module_id", "module_offset", "parent_pid", "comm", "container", "function", "file", "line"}
)
"""Columns that may be NULL: unknown. A module's own number is known, too, and never NULL as it is written."""

SEGMENT_TABLES: Final = {
    "modules": MODULE_COLUMNS,
    "frames": FRAME_COLUMNS,
    "stacks": STACK_COLUMNS,
    "slices": SLICE_COLUMNS,
    "processes": PROCESS_COLUMNS,
    "jit_code": JIT_CODE_COLUMNS,
    "resident": RESIDENT_COLUMNS,
    "events": EVENT_COLUMNS,
}
"""
Table -> columns of what a segment holds, in the order in which its files become durable: what an event refers
to is there before the event.
"""


_SEGMENT: Final = re.compile(rf"({'|'.join(SEGMENT_TABLES)})-([0-9]{{5}}|[1-9][0-9]{{5,8}})\.parquet")
"""Each number is spelled one way: `segment_name` gives the name back."""


class StackRow(NamedTuple):
    """
    One stack.

    Args:
        stack_id: Names it within the recording; from 0.
        frame_ids: Its return addresses, leaf first.
    """

    stack_id: int
    frame_ids: Sequence[int]


class FrameRow(NamedTuple):
    """
    One return address.

    Args:
        frame_id: Names it within the recording; `frame_ids` of a stack refers to it.
        address: In the process.
        module_id: The module it lies in; None where unknown.
        module_offset: The address as an offset in bytes into the module's file; None where unknown.
    """

    frame_id: int
    address: int
    module_id: int | None
    module_offset: int | None


class SliceRow(NamedTuple):
    """
    A copy of a user stack, from which the stack is unwound; then it is dropped.

    Args:
        stack_id: Of the stack.
        pid: The process.
        timestamp_ns: When, on the clock of the events.
        registers: 8 bytes each, the lowest first, by DWARF's numbers for the machine; the last one is the
            program counter.
        memory: From the stack pointer upwards.
        module_ids: What was mapped then, in order of addresses.
    """

    stack_id: int
    pid: int
    timestamp_ns: int
    registers: bytes
    memory: bytes
    module_ids: Sequence[int]


class JitCodeRow(NamedTuple):
    """
    Code that a process generated, as its perf map or jitdump says.

    Args:
        pid: The process.
        number: Later ones have higher numbers.
        timestamp_ns: When, on the clock of the events; 0 where unknown.
        address: First address.
        size_bytes: Of the code.
        name: Of the function.
        file: Source file; None where unknown.
        line: Line in it; None where unknown.
    """

    pid: int
    number: int
    timestamp_ns: int
    address: int
    size_bytes: int
    name: str
    file: str | None
    line: int | None


class SymbolRow(NamedTuple):
    """
    One function at one return address; a return address inside inlined code has several.

    Args:
        frame_id: The return address.
        position: 0 for the innermost inlined function, 1 for the one it was inlined into, and so on.
        function: Name, demangled; None where unknown.
        file: Source file; None where unknown.
        line: Line in it, from 1; None where unknown.
    """

    frame_id: int
    position: int
    function: str | None
    file: str | None
    line: int | None


class ModuleRow(NamedTuple):
    """
    One file mapped executable into one process, and into those that it forked meanwhile.

    Args:
        module_id: Names it within the recording.
        pid: The process that mapped it.
        path: As the process sees it.
        build_id: GNU build id in hex; None where it has none.
        start_address: First mapped address.
        end_address: The address after the last one.
        file_offset: Offset in bytes into the file of what lies at `start_address`.
        timestamp_ns: When it was mapped, on the clock of the events; 0: before the recording.
    """

    module_id: int
    pid: int
    path: str
    build_id: str | None
    start_address: int
    end_address: int
    file_offset: int
    timestamp_ns: int


class ProcessRow(NamedTuple):
    """
    Something that befell a process.

    Args:
        timestamp_ns: When, on the clock of the events.
        pid: The process.
        event: `start` (followed from here on), `fork`, `exec` or `exit`.
        parent_pid: Who forked it; None unless *event* is `fork`.
        comm: Its name then; None where unknown.
        container: The container it is in; None where it is in none, or nobody knows.
    """

    timestamp_ns: int
    pid: int
    event: str
    parent_pid: int | None
    comm: str | None
    container: str | None


class ResidentRow(NamedTuple):
    """
    How much memory a process had in RAM at a moment.

    Args:
        timestamp_ns: When, on the clock of the events; all processes of one round have the same.
        pid: The process.
        resident_bytes: Its anonymous pages and those of files; pages that it shares with others are counted
            in each, and shared memory in none.
    """

    timestamp_ns: int
    pid: int
    resident_bytes: int


def registers_of(packed: bytes) -> tuple[int, ...]:
    """Return the numbers in `SliceRow.registers`."""
    return struct.unpack(f"<{len(packed) // 8}Q", packed)


def check_path(path: Path) -> None:
    """Raise `RecordingError` if *path* is no UTF-8: DuckDB, which has the tables, takes no other."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        shown = Path(str(path).encode("utf-8", "backslashreplace").decode())
        raise RecordingError(shown, "the path is no UTF-8", hint="choose another name") from error


def segment_name(table: str, number: int) -> str:
    """Return the name of the file that has the rows of *table* of the segment *number*, counted from 0."""
    return f"{table}-{number:05d}.parquet"


def parse_segment_name(name: str) -> tuple[str, int] | None:
    """Return table and number of the segment file *name*; None if it is none."""
    match = _SEGMENT.fullmatch(name)
    return (match[1], int(match[2])) if match else None
