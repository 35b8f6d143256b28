"""What unit tests share: recordings written from a few events, and what makes ELF files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from services import elf_files

from gadgetops.recording.schema import FrameRow, ModuleRow, ProcessRow, ResidentRow, StackRow, SymbolRow
from gadgetops.recording.writer import RecordingWriter

Event = tuple[Any, ...]
"""Operation, address and size, then by default: stack 1, thread 1, process 1, nothing lost."""

DEFAULTS = (0, 0, 1, 1, 1, 0)
STACKS = [StackRow(1, [1, 3]), StackRow(2, [2, 3]), StackRow(3, [9, 3])]
FRAMES = [
    FrameRow(1, 0x401010, 1, 0x1010),
    FrameRow(2, 0x402020, 1, 0x2020),
    FrameRow(3, 0x403030, None, None),
    FrameRow(9, 0x501010, 1, 0x1010),
]
SYMBOLS = [
    SymbolRow(1, 0, "inner", "a.c", 5),
    SymbolRow(1, 1, "outer", "a.c", 9),
    SymbolRow(3, 0, "main", None, None),
    SymbolRow(9, 0, "inner", "a.c", 5),
    SymbolRow(9, 1, "outer", "a.c", 9),
]
MODULES = [ModuleRow(1, 1, "/bin/program", "c0ffee", 0x400000, 0x410000, 0, 5)]
PROCESSES = [ProcessRow(5, 1, "start", None, "program", None)]


def columns_of(events: Sequence[Event]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return what `RecordingWriter.write_events` takes."""
    rows = [(event[0], *event[1:], *DEFAULTS[len(event) - 1 :]) for event in events]
    operations = sorted({row[0] for row in rows}) or ["malloc"]
    names = ("address", "size_bytes", "stack_id", "tid", "pid", "lost")
    columns = {
        name: np.array([row[i] for row in rows], np.int32 if name == "stack_id" else np.uint64)
        for i, name in enumerate(names, start=1)
    }
    columns["operation"] = np.array([operations.index(row[0]) for row in rows], np.uint8)
    columns["timestamp_ns"] = np.arange(len(rows), dtype=np.uint64) * 1000
    return columns, operations


@pytest.fixture
def write_recording(tmp_path: Path) -> Callable[..., Path]:
    """Write a recording: `write_recording([("malloc", 0x10, 5), …], lost=1)`; returns its folder."""

    def write(
        events: Sequence[Event],
        *,
        name: str = "r.gadgetrec",
        modules: Any = MODULES,
        resident: Sequence[ResidentRow] = (),
        times_ns: Sequence[int] | None = None,
        **counters: int,
    ) -> Path:
        writer = RecordingWriter.create(tmp_path / name, {"host": {"kernel": "6.1"}})
        writer.write_modules(modules)
        writer.write_frames(FRAMES)
        writer.write_stacks(STACKS)
        writer.write_processes(PROCESSES)
        writer.write_resident(resident)
        columns, operations = columns_of(events)
        if times_ns is not None:
            columns["timestamp_ns"] = np.array(times_ns, dtype=np.uint64)
        writer.write_events(columns, operations)
        writer.write_symbols(SYMBOLS)
        writer.close(counters=counters, end="complete")
        return writer.path

    return write


@pytest.fixture(scope="session")
def elf() -> ModuleType:
    """What makes ELF files: `elf.make([elf.FakeSection(…)], [elf.FakeSymbol(…)])`."""
    return elf_files
