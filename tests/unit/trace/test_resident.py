"""Resident memory: measured of real processes, and its course in parts of the time."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gadgetops.fleet.duckdb_engine import DuckDBEngine
from gadgetops.fleet.fleet import fleet
from gadgetops.questions.asking.filters import ALL
from gadgetops.questions.timeline import timeline
from gadgetops.recording.reader import open_recording
from gadgetops.recording.schema import ResidentRow
from gadgetops.trace.resident import ResidentMeter

SECOND = 10**9
MIB = 1 << 20
HOLDER = """
import mmap, sys
block = bytearray(b"x") * (40 << 20)
shared = mmap.mmap(-1, 60 << 20)
shared.write(b"x" * (60 << 20))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """A process with 40 MiB of its own and 60 MiB of shared memory."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def test_a_process_has_what_it_touched_without_shared_memory(holder: subprocess.Popen[str]) -> None:
    """Who is gone, or never was, has no row."""
    rows = ResidentMeter().measure([holder.pid, os.getpid(), 2**22 + 1])
    assert [row.pid for row in rows] == [holder.pid, os.getpid()]
    assert 40 * MIB <= rows[0].resident_bytes < 90 * MIB
    assert rows[0].timestamp_ns == rows[1].timestamp_ns


def test_rounds_get_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day has some thousands, and the first second has several."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    meter, rounds = ResidentMeter(), []
    while now[0] < 86_400:
        if meter.is_due:
            meter.measure([])
            rounds.append(now[0])
        now[0] += 0.02 if now[0] < 100 else 1
    assert len([each for each in rounds if each < 1]) > 10
    assert 1000 < len(rounds) < 5000


@pytest.fixture
def measured(write_recording: Callable[..., Path]) -> Callable[..., Path]:
    """Write a recording of eight seconds with rows of resident memory."""

    def write(rows: list[tuple[int, int, int]], name: str = "r.gadgetrec") -> Path:
        events = [("malloc", 0x10, 5, 1), ("malloc", 0x20, 5, 1)]
        return write_recording(
            events,
            name=name,
            times_ns=[SECOND, 9 * SECOND - 1],
            resident=[ResidentRow(*row) for row in rows],
        )

    return write


def test_each_part_has_the_most_of_all_processes_together(measured: Callable[..., Path]) -> None:
    """What was measured holds for a while; before the first event it may be another program's."""
    path = measured(
        [
            (SECOND // 2, 1, 900),
            (SECOND, 1, 100),
            (SECOND, 2, 50),
            (SECOND + 10, 1, 300),
            (SECOND + 10, 2, 50),
            (SECOND + 20, 1, 100),
            (6 * SECOND, 1, 70),
            (9 * SECOND - 1, 1, 80),
        ]
    )
    found = timeline(open_recording(path), 8)
    assert found.resident_bytes == (350, 100, None, None, None, 70, 70, 80)
    only = timeline(open_recording(path), 8, ALL._replace(pids=(2,)))
    assert only.resident_bytes is not None
    assert only.resident_bytes[0] == 50


def test_a_later_window_begins_with_what_was_measured_before_it(measured: Callable[..., Path]) -> None:
    path = measured([(SECOND, 1, 100), (4 * SECOND, 1, 400), (6 * SECOND, 1, 60)])
    found = timeline(open_recording(path), 8, ALL._replace(since_ns=7 * SECOND // 2))
    assert found.resident_bytes is not None
    assert found.resident_bytes[:1] == (400,)


def test_it_is_not_known_where_nobody_measured_it(measured: Callable[..., Path]) -> None:
    assert timeline(open_recording(measured([]))).resident_bytes is None


def test_recordings_of_a_fleet_are_added_up(measured: Callable[..., Path], tmp_path: Path) -> None:
    """Each has a process 1."""
    paths = [measured([(SECOND, 1, size)], f"{size}.gadgetrec") for size in (100, 20)]
    together = fleet(tmp_path, [open_recording(path) for path in paths], DuckDBEngine())
    found = timeline(together, 8)
    assert found.resident_bytes is not None
    assert found.resident_bytes[0] == 120
