"""A recorder that has too little, or is stopped or killed, says so in a sentence and harms no target."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel
TIMEOUT_S = 60
# What a command sees of how it was started: its limits, and which of its standard streams are open.
SHOWS_LIMITS = "{ ulimit -n; ulimit -v; ulimit -t; ulimit -f; }"
SHOWS_STREAMS = 'for n in 0 1 2; do [ -e /proc/$$/fd/$n ] && echo $n >> "$0"; done; exit 7'
ENDLESS = "echo begun; while read line; do echo $line; done; exit 5"


@pytest.fixture
def argv(gadget_object: Path, tmp_path: Path) -> list[str]:
    """The command line that records into r.gadgetrec, as far as the command."""
    own = [sys.executable, "-m", "gadgetops", "record", "-o", tmp_path / "r.gadgetrec", "--no-pairs"]
    return [*map(str, own), "--image", str(gadget_object), "--"]


def end_of(folder: Path) -> Any:
    return json.loads((folder / "r.gadgetrec/recording.json").read_text())["end"]


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def descendants(pid: int) -> set[int]:
    """The processes below *pid*, as far as they are there."""
    try:
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
        children = {int(child) for task in tasks for child in (task / "children").read_text().split()}
    except OSError:
        return set()
    return children.union(*map(descendants, children))


def are_gone(pids: set[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def copies() -> set[Path]:
    return {*Path("/tmp").glob("gadgetops-libraries-*")}


@pytest.mark.parametrize("limits", ["-Sn 64", "-Sn 64 -v 500000 -t 20 -f 8"])
def test_limits_of_the_command_are_not_the_recorders(argv: list[str], tmp_path: Path, limits: str) -> None:
    """A recorder with 64 descriptors could not attach; the command has what it would have without us."""
    script = f'ulimit {limits}; {SHOWS_LIMITS} >&2; exec "$@"'
    command = ["bash", "-c", f"{SHOWS_LIMITS}; exit 7"]
    line = ["bash", "-c", script, "bash", *argv, *command]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 7, done.stderr
    assert done.stderr.startswith(done.stdout)
    assert end_of(tmp_path) == "complete"


@pytest.mark.parametrize(("limit", "says"), [("-n 64", "64 open files"), ("-v 1000000", "bytes of memory")])
def test_a_limit_that_may_not_be_lifted_is_said(
    argv: list[str], tmp_path: Path, limit: str, says: str
) -> None:
    """Also root may not, in most containers."""
    within = ["setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource", "--"]
    line = ["bash", "-c", f'ulimit {limit}; exec "$@"', "bash", *within, *argv, "touch", tmp_path / "ran"]
    done = subprocess.run([*map(str, line)], capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    problem, hint = done.stderr.splitlines()
    assert done.returncode == 1
    assert says in problem
    assert hint.startswith("ulimit ")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_standard_streams_may_be_closed(argv: list[str], tmp_path: Path, closed: str) -> None:
    """The command finds them as it would without us."""
    seen, alone = tmp_path / "seen", tmp_path / "alone"
    for first, path in ((argv, seen), ([], alone)):
        line = ["bash", "-c", f'exec "$@" {closed}', "bash", *first, "sh", "-c", SHOWS_STREAMS, str(path)]
        assert subprocess.run(line, check=False, timeout=TIMEOUT_S).returncode == 7
    assert (seen.read_text() if seen.exists() else "") == (alone.read_text() if alone.exists() else "")
    assert end_of(tmp_path) == "complete"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_attaching_starts_nothing_and_leaves_nothing(
    argv: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    """Told so between the fork of the process that is to become the command and its beginning."""
    before = copies()
    recorder = subprocess.Popen(
        [*argv, "touch", str(tmp_path / "ran")], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until(lambda: len(descendants(recorder.pid)) > 1 and copies() - before)
    # Where that was seen late, this test has nothing to say.
    recorder.send_signal(signal.SIGSTOP)
    started, has_begun = descendants(recorder.pid), (tmp_path / "r.gadgetrec").exists()
    recorder.send_signal(number)
    recorder.send_signal(signal.SIGCONT)
    _, errors = recorder.communicate(timeout=TIMEOUT_S)
    if has_begun:
        return
    assert recorder.returncode == 130, errors
    said = f"{number.name} came before the recording began: nothing was started or recorded"
    assert errors == f"gadgetops: error: {said}\n"
    assert are_gone(started)
    assert [*tmp_path.iterdir()] == []
    assert not {copy for copy in copies() - before if copy.name.split("-")[2] == str(recorder.pid)}


def test_a_killed_recorder_leaves_a_command_that_is_unharmed_and_no_process_of_its_own(
    argv: list[str], tmp_path: Path
) -> None:
    """Its helpers end with it; the command works on, and gives its status to whoever waits for it."""
    before = copies()
    recorder = subprocess.Popen(
        [*argv, "sh", "-c", ENDLESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert recorder.stdin is not None
    assert recorder.stdout is not None
    assert recorder.stdout.readline() == "begun\n"
    command = json.loads((tmp_path / "r.gadgetrec/recording.json").read_text())["target"]["pid"]
    helpers = descendants(recorder.pid) - descendants(command) - {command}
    assert len(helpers) >= 2
    recorder.kill()
    recorder.wait()
    until(lambda: are_gone(helpers))
    recorder.stdin.write("still here\n")
    recorder.stdin.flush()
    assert recorder.stdout.readline() == "still here\n"
    recorder.stdin.close()
    until(lambda: are_gone({command}))
    for left in copies() - before:
        if left.name.split("-")[2] == str(recorder.pid):
            shutil.rmtree(left)


def test_a_full_disk_for_the_copies_of_libraries_is_said(gadget_object: Path) -> None:
    """Nothing was started."""
    script = 'for folder in /tmp /var/tmp /run; do mount -t tmpfs -o size=64k tmpfs $folder; done; exec "$@"'
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        shutil.copy(gadget_object, folder / "gadget.o")
        line = [sys.executable, "-m", "gadgetops", "record", "-o", folder / "r.gadgetrec"]
        line += ["--image", folder / "gadget.o", "--", "touch", folder / "ran"]
        whole = [*map(str, ["unshare", "--mount", "sh", "-c", script, "sh", *line])]
        done = subprocess.run(whole, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        left = {each.name for each in folder.iterdir()}
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert left == {"gadget.o"}
