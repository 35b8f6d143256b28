"""A recording that grows as the tests say."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gadgetops.pairing.pairs import extend
from gadgetops.recording.schema import FrameRow, ModuleRow, ProcessRow, StackRow, SymbolRow
from gadgetops.recording.writer import RecordingWriter

LEAKING, CACHING, BUSY = 1, 2, 3
SECOND_NS = 10**9


class Growing:
    """
    A recording of thread 11 of process 1: each step is a tenth of a second of three stacks.

    One leaks 1000 bytes a step, one replaces 4096 bytes, one allocates 10 bytes and releases them.
    Thread 12 of process 2 leaks 7 bytes a step.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.n_steps = 0
        self._writer = RecordingWriter.create(path, {"target": {"command": ["grows"]}})
        self._writer.write_modules([ModuleRow(1, 1, "/bin/grows", None, 0x400000, 0x500000, 0, 0)])
        self._writer.write_frames(FrameRow(frame, 0x400000 + frame, 1, frame) for frame in (1, 2, 3, 9))
        self._writer.write_stacks(StackRow(stack, [stack, 9]) for stack in (LEAKING, CACHING, BUSY))
        self._writer.write_processes(
            ProcessRow(0, pid, "start", None, comm, None) for pid, comm in ((1, "grows"), (2, "helps"))
        )

    def grow(self, n_steps: int, *, is_paired: bool = True) -> None:
        """Write a segment of *n_steps*, and pair it as the recorder's other process does."""
        rows = [row for step in range(self.n_steps, self.n_steps + n_steps) for row in self._step(step)]
        self.n_steps += n_steps
        names = ("operation", "address", "size_bytes", "stack_id", "pid", "tid", "timestamp_ns")
        columns = {
            name: np.array([row[number] for row in rows], np.int32 if name == "stack_id" else np.uint64)
            for number, name in enumerate(names)
        }
        columns["operation"] = columns["operation"].astype(np.uint8)
        columns["lost"] = np.zeros(len(rows), np.uint64)
        self._writer.write_events(columns, ["malloc", "free"])
        self._writer.close_segment()
        if is_paired:
            extend(self.path)

    def end(self) -> None:
        """End it, with symbols."""
        names = {1: "leaks", 2: "caches", 3: "works", 9: "main"}
        self._writer.write_symbols(SymbolRow(frame, 0, name, "g.c", 1) for frame, name in names.items())
        self._writer.close(counters={"lost": 0}, end="complete")

    def _step(self, step: int) -> Iterator[tuple[int, ...]]:
        now = 1 + step * SECOND_NS // 10
        yield (0, 0x100000 + step * 0x1000, 1000, LEAKING, 1, 11, now)
        if step:
            yield (1, 0x10, 0, CACHING, 1, 11, now + 1)
        yield (0, 0x10, 4096, CACHING, 1, 11, now + 2)
        yield (0, 0x20, 10, BUSY, 1, 11, now + 3)
        yield (1, 0x20, 0, BUSY, 1, 11, now + 4)
        yield (0, 0x100000 + step * 0x1000, 7, LEAKING, 2, 12, now + 5)


@pytest.fixture
def growing(tmp_path: Path) -> Growing:
    """A recording without events."""
    return Growing(tmp_path / "r.gadgetrec")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have followers pair at once what nobody has paired."""

    def set_() -> None:
        monkeypatch.setattr("gadgetops.live.follower._PATIENCE_S", -1.0)
        monkeypatch.setattr("gadgetops.live.follower._FIRST_PATIENCE_S", -1.0)

    return set_
