"""Leaks of programs that know theirs, on the real kernel; also while they are still recorded."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from services.patience import PATIENCE

from gadgetops.pairing.pairs import paired
from gadgetops.recording.reader import open_recording

pytestmark = pytest.mark.kernel
TIMEOUT_S = 60 * PATIENCE

GADGETOPS = [sys.executable, "-m", "gadgetops"]
GROWING = """
import ctypes, time
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
while True:
    libc.malloc(70001)
    time.sleep(0.01)
"""


def leaks(recording: Path) -> dict[str, Any]:
    """Return the JSON answer."""
    argv = [*GADGETOPS, "leaks", str(recording), "--format", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def family(
    gadget_object: Path, compiled: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A recording of tests/workloads/family.c."""
    recording = tmp_path_factory.mktemp("family") / "r.gadgetrec"
    argv = [*GADGETOPS, "record", "-o", str(recording), "--image", str(gadget_object)]
    subprocess.run([*argv, "--", str(compiled("family"))], check=True, capture_output=True, timeout=TIMEOUT_S)
    return recording


def test_leaks_are_what_no_process_released(family: Path) -> None:
    """Not what is inherited, not what exec took; of a mapping the pages that are left."""
    answer = leaks(family)
    assert answer["certainty"] == "certain", answer["reasons"]
    assert Counter(leak["bytes"] for leak in answer["leaks"]) == Counter([1000, 2000, 3 * 4096])
    assert (answer["live_bytes"], answer["live_count"]) == (3000 + 3 * 4096, 3)


@pytest.mark.parametrize("n_streams", [0, 3])
def test_what_the_c_library_keeps_is_no_leak(
    gadget_object: Path, compiled: Callable[[str], Path], tmp_path: Path, n_streams: int
) -> None:
    """It is named for what it is. Streams that were not closed are the program's, each with its buffer."""
    recording = tmp_path / "r.gadgetrec"
    argv = [*GADGETOPS, "record", "-o", str(recording), "--image", str(gadget_object), "--unwind", "dwarf"]
    command = [*argv, "--", str(compiled("library_memory")), str(n_streams)]
    subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    answer = leaks(recording)
    assert answer["live_count"] == 2 * n_streams
    kept = {each["what"]: each["count"] for each in answer["kept"]}
    assert kept.keys() >= {"buffers of standard streams", "tables and variables of threads"}
    assert kept["buffers of standard streams"] == 2
    counts = [answer[f"{name}_count"] for name in ("allocated", "released", "live")]
    assert counts[0] == counts[1] + counts[2] + sum(kept.values())


def test_a_release_of_what_was_inherited_is_no_fault(family: Path) -> None:
    """Each child releases the block that its parent goes on using."""
    with paired(open_recording(family)) as connection:
        assert connection.execute("from unmatched_releases").fetchall() == []
        ended = connection.execute(
            "select size_bytes, released_operation from allocations order by size_bytes"
        ).fetchall()
    expected = [(300, "free"), (1000, "exit"), (2000, "exit"), (4000, "exec"), (5 * 4096, "exit")]
    assert ended == expected


def test_leaks_of_a_recording_that_is_still_made(gadget_object: Path, tmp_path: Path) -> None:
    """Each answer has what is durable by then, and says that more may come."""
    recording = tmp_path / "r.gadgetrec"
    program = subprocess.Popen([sys.executable, "-c", GROWING])
    argv = [*GADGETOPS, "record", "-o", str(recording), "--image", str(gadget_object)]
    recorder = subprocess.Popen([*argv, "--pid", str(program.pid)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 40 * PATIENCE
        while not [*recording.glob("events-*.parquet")]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        during = leaks(recording)
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(30 * PATIENCE) == 0
    finally:
        program.kill()
        program.wait()
        recorder.kill()
    after = leaks(recording)
    assert during["certainty"] == "possible"
    assert after["certainty"] == "certain", after["reasons"]
    grown = [max(leak["count"] for leak in answer["leaks"] if leak["bytes"]) for answer in (during, after)]
    assert 0 < grown[0] <= grown[1]
    assert during["live_bytes"] <= after["live_bytes"]
