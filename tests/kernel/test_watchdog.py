"""A running process is not slowed for nothing: its probes go when its recorder is killed or stands still."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from services.paced import running_paced
from services.patience import PATIENCE

import gadgetops

pytestmark = pytest.mark.kernel

TIMEOUT_S = 60 * PATIENCE


@pytest.fixture
def server(compiled: Callable[[str], Path]) -> Iterator[int]:
    """A process that calls malloc() and free() some thousand times a second."""
    with running_paced(compiled("paced"), 2_000_000) as pid:
        yield pid


def code_of(pid: int) -> bytes:
    """The C library's instructions as process *pid* runs them: a probe is an instruction of its own there."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    [line] = [line for line in lines if " r-xp " in line and ("libc.so" in line or "libc-2" in line)]
    start, end = (int(each, 16) for each in line.split()[0].split("-"))
    with Path(f"/proc/{pid}/mem").open("rb") as memory:
        memory.seek(start)
        return memory.read(end - start)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for it, or fail."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextmanager
def recorded(pid: int, gadget_object: Path, folder: Path, clean: bytes) -> "Iterator[subprocess.Popen[str]]":
    """A recorder of the process, which has its probes in there and a recording begun."""
    where = ["-o", str(folder / "r.gadgetrec"), "--image", str(gadget_object), "--force", "--no-pairs"]
    argv = [sys.executable, "-m", "gadgetops", "record", *where, "--segment-seconds", "1", "--pid", str(pid)]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as recorder:
        try:
            wait_until(lambda: bool([*folder.glob("r.gadgetrec/events-*.parquet")]))
            assert code_of(pid) != clean
            yield recorder
        finally:
            recorder.kill()


def test_probes_go_with_a_recorder_that_is_killed(server: int, gadget_object: Path, tmp_path: Path) -> None:
    """None of its helper processes keeps them, and what it wrote can be asked."""
    clean = code_of(server)
    with recorded(server, gadget_object, tmp_path, clean) as recorder:
        os.kill(recorder.pid, signal.SIGKILL)
        wait_until(lambda: code_of(server) == clean)
    assert gadgetops.open(tmp_path / "r.gadgetrec").summary().event_count > 0


def test_a_recorder_that_is_stopped_is_ended_with_all_it_had(
    server: int, gadget_object: Path, tmp_path: Path
) -> None:
    """As by Ctrl-Z: it is woken up to detach, and its recording is closed."""
    clean = code_of(server)
    with recorded(server, gadget_object, tmp_path, clean) as recorder:
        os.kill(recorder.pid, signal.SIGSTOP)
        wait_until(lambda: code_of(server) == clean)
        _, said = recorder.communicate(timeout=TIMEOUT_S)
    assert "the recorder was stopped for 5 s" in said
    assert '"end": "interrupted"' in (tmp_path / "r.gadgetrec/recording.json").read_text()


def test_probes_go_with_a_disk_that_is_full(server: int, gadget_object: Path, tmp_path: Path) -> None:
    """It ends with an error, and the process goes on without them."""
    clean = code_of(server)
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=True)
    try:
        with recorded(server, gadget_object, place, clean) as recorder:
            _, said = recorder.communicate(timeout=TIMEOUT_S)
            assert recorder.returncode == 1
        assert "No space left" in said
        assert code_of(server) == clean
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
