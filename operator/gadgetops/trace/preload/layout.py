"""
What the library and the recorder share, as `preload/layout.h` has it.

One file that both map: a page that the recorder writes, one that the library writes, then the records, as
the kernel lays out a BPF ring buffer. A test compares the numbers here with the header's.
"""

import struct
from typing import Final, NamedTuple

from gadgetops.bpf.contract import Field
from gadgetops.trace.events.layout import EventLayout

MAGIC: Final = 0x4C50474F
VERSION: Final = 1
PATH_BYTES: Final = 1024

OPERATIONS: Final = (
    "malloc",
    "free",
    "calloc",
    "realloc",
    "realloc_free",
    "mmap",
    "munmap",
    "posix_memalign",
    "aligned_alloc",
    "valloc",
    "memalign",
    "pvalloc",
)
"""`enum memop` of the gadget, by number."""

EVENT_FIELDS: Final = {
    "timestamp_raw": (0, 8),
    "pid": (8, 4),
    "tid": (12, 4),
    "operation_raw": (16, 4),
    "samples": (20, 4),
    "addr": (24, 8),
    "size": (32, 8),
    "lost": (40, 8),
    "slice": (48, 8),
}
"""Members of `struct event`: where, and how long, in bytes."""
EVENT_BYTES: Final = 56
_COLUMNS: Final = {
    "timestamp_ns": "timestamp_raw",
    "pid": "pid",
    "tid": "tid",
    "operation": "operation_raw",
    "address": "addr",
    "size_bytes": "size",
    "lost": "lost",
    "slice": "slice",
}

PATH_RECORD_BYTES: Final = 32 + 64 * 8
"""`struct stack_path`, which is the gadget's."""

READER_FIELDS: Final = {
    "magic": (64, "I"),
    "version": (68, "I"),
    "ring_bytes": (72, "Q"),
    "is_recording": (80, "I"),
    "collect_stacks": (84, "I"),
    "sample_every": (88, "I"),
    "only_pid": (92, "I"),
    "min_size": (96, "Q"),
    "sample_bytes": (104, "Q"),
    "wait_ns": (112, "Q"),
    "ring_path": (120, f"{PATH_BYTES}s"),
    "library_path": (120 + PATH_BYTES, f"{PATH_BYTES}s"),
}
"""Members of `struct reader_page`: where, in bytes, and as what."""

WRITER_FIELDS: Final = {"lost_events": (64, "Q"), "lost_stacks": (72, "Q"), "n_waits": (80, "Q")}
"""Members of `struct writer_page`."""

START, FORK, MAPPING, EXEC, EXEC_FAILED, UNSEEN = 1, 2, 3, 4, 5, 6
"""`enum note_kind`."""

_NOTE: Final = struct.Struct("<QIIIIQQQ")


class Note(NamedTuple):
    """
    What befell a process.

    Attributes:
        timestamp_ns: On the clock of the events.
        kind: `START` and so on.
        pid: The process.
        other: Its parent.
        start_address: Of a mapping.
        end_address: Of a mapping.
        file_offset: Of a mapping.
        name: Of the thread, the file, the program, or the reason.
    """

    timestamp_ns: int
    kind: int
    pid: int
    other: int
    start_address: int
    end_address: int
    file_offset: int
    name: str


def event_layout() -> EventLayout:
    """Return how an event lies in a record."""
    fields = {column: _field(name) for column, name in _COLUMNS.items()}
    return EventLayout("events", fields, EVENT_BYTES, OPERATIONS)


def _field(name: str) -> Field:
    offset, size = EVENT_FIELDS[name]
    return Field(name, name, offset, size, f"Uint{8 * size}", (), 0)


def read_note(record: bytes) -> Note | None:
    """Return the note that *record* is; None if it is another thing."""
    if len(record) in (EVENT_BYTES, PATH_RECORD_BYTES) or len(record) < _NOTE.size:
        return None
    timestamp_ns, kind, pid, other, name_bytes, start, end, offset = _NOTE.unpack_from(record)
    name = record[_NOTE.size : _NOTE.size + name_bytes].decode(errors="surrogateescape")
    return Note(timestamp_ns, kind, pid, other, start, end, offset, name)
