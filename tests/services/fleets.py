"""Small recordings for fleets: a bit of everything that questions tell apart."""

from pathlib import Path

import numpy as np

from gadgetops.recording.schema import FrameRow, ModuleRow, ProcessRow, StackRow, SymbolRow
from gadgetops.recording.writer import RecordingWriter

PAGE = 4096
MIXED = [
    ("malloc", 16, 100, 0, 1),
    ("malloc", 32, 2000, 1, 1),
    ("free", 16, 0, 0, 1),
    ("malloc", 16, 3000, -1, 2),
    ("mmap", 4 * PAGE, 3 * PAGE, 1, 1),
    ("munmap", 5 * PAGE, PAGE, -1, 1),
    ("calloc", 0, 5000, 0, 1),
    ("free", 48, 0, -1, 1),
    ("free", 16, 0, 0, 1),
    ("free", 16, 0, 0, 1),
    ("malloc", 64, 24, 0, 1),
    ("malloc", 64, 25, -2, 1),
    ("free", 32, 0, 0, 2),
]
"""Operation, address, size, stack and process: a bit of everything that questions tell apart."""


def write_mixed(path: Path, times: int) -> Path:
    """Write `MIXED`, process 2 being a child of process 1 that exits; with everything *times* as often."""
    writer = RecordingWriter.create(path, {"host": {"name": "eu1"}, "labels": {"version": str(times)}})
    writer.write_modules([ModuleRow(0, 1, "/bin/program", None, 0, 1 << 20, 0, 0)])
    writer.write_frames([FrameRow(0, 16, 0, 16), FrameRow(1, 32, 0, 32)])
    writer.write_stacks([StackRow(0, [0, 1]), StackRow(1, [1])])
    writer.write_symbols([SymbolRow(0, 0, "inner", "a.c", 3), SymbolRow(1, 0, "main", "a.c", 9)])
    start = 10**12 * times
    writer.write_processes(
        [ProcessRow(start, 1, "start", None, "p", None), ProcessRow(start + 2500, 2, "fork", 1, "c", "web")]
    )
    calls = MIXED * times
    operations = sorted({call[0] for call in calls})
    columns = {
        name: np.array([call[i] for call in calls], np.int32 if name == "stack_id" else np.uint64)
        for i, name in enumerate(("address", "size_bytes", "stack_id", "pid"), start=1)
    }
    columns |= {"tid": columns["pid"] + 10, "lost": np.zeros(len(calls), np.uint64)}
    columns["operation"] = np.array([operations.index(call[0]) for call in calls], np.uint8)
    columns["timestamp_ns"] = start + np.arange(len(calls), dtype=np.uint64) * 1000
    writer.write_events(columns, operations)
    writer.write_processes([ProcessRow(start + 10**9, 2, "exit", None, None, None)])
    writer.close(counters={"lost": 0}, end="complete")
    return writer.path
