"""A recorder that is killed with SIGKILL, at whatever moment, leaves what had happened until then, nearly."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from services.patience import PATIENCE

from gadgetops.errors import RecordingError
from gadgetops.recording.reader import Recording, open_recording

pytestmark = pytest.mark.kernel

N_RECORDERS = 20
MOMENTS_OF_EACH = 5
AT_ONCE = 4
LONGEST_S = 0.1
START_TIMEOUT_S = 30 * PATIENCE
# Imports once and forks, so that so many recorders begin in time. Their segments are short.
RECORDERS = """
import json, os, sys, tempfile
from pathlib import Path
from gadgetops.recording import writer
from gadgetops.trace.attachment import Attachment
from gadgetops.trace.kernel.loader import Loader, Options
from gadgetops.trace.recorder import Limits, record
from gadgetops.trace.targets.base import CommandTarget

class Listener:
    wants_progress = False
    def say(self, sentence): pass
    def progress(self, progress): pass
    def stage(self, what, done=0, of=0): pass

# Where the test finds the copies of libraries that killed ones leave behind.
Folder = tempfile.TemporaryDirectory
tempfile.TemporaryDirectory = lambda prefix, dir: Folder(prefix=prefix, dir=sys.argv[2])
writer.SEGMENT_SECONDS = 0.03
header = {"host": {"machine": os.uname().machine}}
elf = Path(sys.argv[1]).read_bytes()
for line in sys.stdin:
    folder, program = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        target = CommandTarget([program], with_children=True)
        attachment = Attachment(Loader(elf, Options()))
        record(attachment, target, Path(folder), header, limits=Limits(), listener=Listener())
        os._exit(0)
    os.setpgid(pid, 0)
    print(pid, flush=True)
"""


@pytest.fixture
def start(
    gadget_object: Path, compiled: Callable[[str], Path], tmp_path: Path
) -> Iterator[Callable[[Path], int]]:
    """Start a recorder of tests/workloads/counter.c that writes to a folder, and return its pid."""
    program, copies = compiled("counter"), tmp_path / "copies"
    copies.mkdir()
    server = subprocess.Popen(
        [sys.executable, "-c", RECORDERS, gadget_object, copies],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None

    one_at_a_time = Lock()

    def start_one(folder: Path) -> int:
        with one_at_a_time:
            server.stdin.write(json.dumps([str(folder), str(program)]) + "\n")
            server.stdin.flush()
            return int(server.stdout.readline())

    yield start_one
    server.stdin.close()
    server.wait(30)
    shutil.rmtree(copies)


def kill(pid: int) -> None:
    """Kill the recorder, and then what it recorded."""
    os.kill(pid, signal.SIGKILL)
    os.killpg(pid, signal.SIGKILL)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop all threads of a recorder: its files are what they would be, were it killed now."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + START_TIMEOUT_S
    while {stat.read_text().rpartition(")")[2].split()[0] for stat in task_stats(pid)} != {"T"}:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def task_stats(pid: int) -> list[Path]:
    return [*Path(f"/proc/{pid}/task").glob("*/stat")]


def rows(recording: Recording, query: str) -> list[tuple[Any, ...]]:
    with recording.connect() as connection:
        return connection.execute(query).fetchall()


def check(folder: Path) -> int:
    """Assert that what is left is right, and return the number of events."""
    try:
        recording = open_recording(folder)
    except RecordingError:
        # Killed before it had made the folder, or before anything was in it.
        assert not folder.exists() or not [*folder.glob("*.parquet")]
        return 0
    assert recording.verified().problems == recording.problems
    assert recording.problems == ("the recorder did not end it: later events are missing",)
    sizes = rows(recording, "select seq, size_bytes from events where operation = 'malloc' order by seq")
    assert [size for _, size in sizes] == [*range(1, len(sizes) + 1)]
    [(n_events, last_seq)] = rows(recording, "select count(*), coalesce(max(seq), -1) from events")
    assert last_seq == n_events - 1
    unresolved = """
        select count(*)
        from (select unnest(frame_ids) as frame_id from events join stacks using (stack_id)) as called
        left join frames using (frame_id)
        left join modules using (module_id)
        where modules.path is null
    """
    assert rows(recording, unresolved) == [(0,)]
    known = "(select stack_id from stacks union all select stack_id from slices)"
    without = f"select count(*) from events where stack_id >= 0 and stack_id not in {known}"
    assert rows(recording, without) == [(0,)]
    return n_events


def killed(folder: Path, start: Callable[[Path], int], sign: str, seconds: list[float]) -> list[int]:
    """
    Stop a recorder a few times, so long after each other and after it wrote the first file that *sign* stands
    for, and kill it at last; return how many events it has kept each time.
    """
    pid = start(folder)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not [*folder.glob(sign)]:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    for number, wait_s in enumerate(seconds[1:]):
        time.sleep(wait_s)
        with stopped(pid):
            shutil.copytree(folder, f"{folder}.{number}")
    time.sleep(seconds[0])
    kill(pid)
    return [check(each) for each in (folder, *folder.parent.glob(f"{folder.name}.*"))]


def test_a_recorder_killed_at_any_of_a_hundred_moments_leaves_a_true_prefix(
    start: Callable[[Path], int], tmp_path: Path
) -> None:
    """
    Events are the first of the truth, their stacks have all frames and modules, and no file is torn.

    From when there is a folder on, but mostly while segments are written. A recorder is killed once; at the
    other moments it is stopped, and its files are taken as they are.
    """
    moments = random.Random(20261124)
    signs = ["recording.json*", "modules-*", "events-*", "events-*"]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        kills = [
            pool.submit(
                killed,
                tmp_path / f"{n}.gadgetrec",
                start,
                signs[n % len(signs)],
                [moments.uniform(0, LONGEST_S) for _ in range(MOMENTS_OF_EACH)],
            )
            for n in range(N_RECORDERS)
        ]
        n_kept = [n_events for each in kills for n_events in each.result()]
    assert len(n_kept) == N_RECORDERS * MOMENTS_OF_EACH
    assert sum(n_events > 0 for n_events in n_kept) >= len(n_kept) // 2


def test_a_killed_recorders_recording_is_symbolised_later(
    start: Callable[[Path], int], gadgetops: Callable[..., Any], tmp_path: Path
) -> None:
    """It is one that nobody has symbolised."""
    folder = tmp_path / "r.gadgetrec"
    pid = start(folder)
    deadline = time.monotonic() + 30
    while not [*folder.glob("events-*.parquet")]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kill(pid)
    assert "run `gadgetops symbolize" in gadgetops("info", folder).out
    assert gadgetops("symbolize", folder).status == 0
    callers = """
        select distinct function
        from events join stacks using (stack_id) join frames on frame_id = frame_ids[1]
        where operation = 'malloc'
    """
    named = rows(open_recording(folder), callers)
    assert named == [("allocate",)]
