"""How a recording ends: limits, signals, killed targets, full disks; what was recorded by then is there."""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest
from services.patience import PATIENCE

pytestmark = pytest.mark.kernel
TIMEOUT_S = 60 * PATIENCE

# allocate COUNT READY: makes COUNT blocks of 4321 bytes and releases them; then makes READY, and stays.
ALLOCATE = """
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	int count = atoi(argv[1]);
	for (int i = 0; i < count; i++)
		free(malloc(4321));
	open(argv[2], O_CREAT | O_WRONLY, 0600);
	pause();
	return 0;
}
"""
COUNT = 20_000
ENDLESS = 2**31 - 1


@pytest.fixture(scope="session")
def allocate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program above."""
    folder = tmp_path_factory.mktemp("allocate")
    (folder / "allocate.c").write_text(ALLOCATE)
    flags = ["-g", "-O1", "-fno-builtin", "-fno-omit-frame-pointer"]
    subprocess.run(["gcc", *flags, folder / "allocate.c", "-o", folder / "allocate"], check=True)
    return folder / "allocate"


@pytest.fixture
def argv(gadget_object: Path, tmp_path: Path) -> list[str]:
    """The command line that records into r.gadgetrec, as far as its first option."""
    own = [sys.executable, "-m", "gadgetops", "record", "-o", tmp_path / "r.gadgetrec"]
    return [*map(str, own), "--image", str(gadget_object)]


@contextmanager
def started(argv: list[str], *rest: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The recorder, and afterwards an end to it and to all that it started."""
    options = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True, **options}
    process = subprocess.Popen([*argv, *map(str, rest)], **options)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(is_so: Callable[[], object], recorder: subprocess.Popen[str] | None = None) -> None:
    """Wait until *is_so*, as long as *recorder* runs."""
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert recorder is None or recorder.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def header(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "r.gadgetrec/recording.json").read_text())
    return document


def count(folder: Path, condition: str = "true") -> int:
    query = f"select count(*) from read_parquet('{folder}/r.gadgetrec/events-*.parquet') where {condition}"
    [(number,)] = duckdb.sql(query).fetchall()
    return int(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_loses_nothing_that_had_happened(
    argv: list[str], allocate: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """The last call before the signal is in the recording; the command goes on."""
    ready = tmp_path / "ready"
    with started(argv, "--", allocate, COUNT, ready) as recorder:
        wait_until(ready.exists, recorder)
        recorder.send_signal(number)
        assert recorder.wait(TIMEOUT_S) == 0
    assert count(tmp_path, "size_bytes = 4321") == COUNT
    document = header(tmp_path)
    assert (document["end"], document["counters"]["lost"]) == ("interrupted", 0)


def test_a_second_signal_ends_sooner_and_destroys_nothing(
    argv: list[str], allocate: Path, tmp_path: Path
) -> None:
    """Names of functions are left out, for `symbolize` to add; stacks, modules and all events are there."""
    ready = tmp_path / "ready"
    with started(argv, "--", allocate, COUNT, ready) as recorder:
        wait_until(ready.exists, recorder)
        # Stopped, it gets both at once.
        recorder.send_signal(signal.SIGSTOP)
        recorder.send_signal(signal.SIGINT)
        recorder.send_signal(signal.SIGTERM)
        recorder.send_signal(signal.SIGCONT)
        assert recorder.wait(TIMEOUT_S) == 0
    assert count(tmp_path, "size_bytes = 4321") == COUNT
    assert header(tmp_path)["end"] == "interrupted"
    assert list((tmp_path / "r.gadgetrec").glob("stacks-*.parquet"))
    assert not (tmp_path / "r.gadgetrec/symbols.parquet").exists()


@contextmanager
def on_terminal(argv: list[str], *rest: object) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The recorder in the foreground of a terminal of its own, and that terminal's other side."""
    ours, theirs = pty.openpty()
    options = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with started(argv, *rest, **options, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) as recorder:
        os.close(theirs)
        try:
            yield recorder, ours
        finally:
            os.close(ours)


def said_until(terminal: int, *words: str) -> str:
    """What was said on *terminal* until one of *words* was, or until nobody has it open."""
    said = ""
    while not any(word in said for word in words):
        data = _read(terminal)
        if not data:
            break
        said += data.decode()
    return said


def test_what_a_program_frees_when_ctrl_c_reaches_it_is_recorded(
    argv: list[str], compiled: Callable[[str], Path], tmp_path: Path
) -> None:
    """The recording goes on until the program has ended, whose status is passed on."""
    ready = tmp_path / "ready"
    with on_terminal(argv, "--", compiled("closing"), ready) as (recorder, terminal):
        wait_until(ready.exists, recorder)
        os.write(terminal, b"\x03")
        said = said_until(terminal)
        assert recorder.wait(TIMEOUT_S) == 7, said
    assert "recording until it has ended" in said
    released = count(
        tmp_path,
        "operation = 'free' and address in (select address from "
        f"'{tmp_path}/r.gadgetrec/events-*.parquet' where size_bytes = 4321)",
    )
    assert (count(tmp_path, "size_bytes = 4321"), released) == (100, 100)
    assert header(tmp_path)["end"] == "complete"


def test_a_second_ctrl_c_ends_the_recording_of_a_command_that_goes_on(
    argv: list[str], compiled: Callable[[str], Path], tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    with on_terminal(argv, "--", compiled("closing"), ready, "ignore") as (recorder, terminal):
        wait_until(ready.exists, recorder)
        os.write(terminal, b"\x03")
        said = said_until(terminal, "Ctrl-C again")
        assert recorder.poll() is None
        os.write(terminal, b"\x03")
        said += said_until(terminal, "unrecorded")
        assert "the command goes on, unrecorded" in said
        assert recorder.wait(TIMEOUT_S) == 0, said
        assert Path(f"/proc/{header(tmp_path)['target']['pid']}").exists()
    assert count(tmp_path, "size_bytes = 4321") == 100
    assert header(tmp_path)["end"] == "interrupted"
    assert (tmp_path / "r.gadgetrec/symbols.parquet").exists()


def test_max_events_is_exact(argv: list[str], allocate: Path, tmp_path: Path) -> None:
    with started(argv, "--max-events", 1234, "--", allocate, COUNT, tmp_path / "ready") as recorder:
        assert recorder.wait(TIMEOUT_S) == 0
    assert count(tmp_path) == header(tmp_path)["counters"]["events"] == 1234
    assert header(tmp_path)["end"] == "max-events"


def test_max_bytes_bounds_the_recording_on_disk(argv: list[str], allocate: Path, tmp_path: Path) -> None:
    """A target without end; symbols, which come last, are not counted."""
    limit = 256 << 10
    rest = (
        "--unwind",
        "fp",
        "--max-bytes",
        "256k",
        "--",
        "sh",
        "-c",
        f"while :; do {allocate} 5000 x & sleep 0.1; done",
    )
    with started(argv, *rest, cwd=tmp_path) as recorder:
        assert recorder.wait(TIMEOUT_S) == 0
    assert header(tmp_path)["end"] == "max-bytes"
    files = [p for p in (tmp_path / "r.gadgetrec").iterdir() if p.name != "symbols.parquet"]
    assert 0 < sum(path.stat().st_size for path in files) < 2 * limit


def test_a_killed_command_ends_its_recording_and_gives_its_status(
    argv: list[str], allocate: Path, tmp_path: Path
) -> None:
    """128 and the number of the signal, as a shell says it."""
    ready = tmp_path / "ready"
    with started(argv, "--", allocate, COUNT, ready) as recorder:
        wait_until(ready.exists, recorder)
        os.kill(header(tmp_path)["target"]["pid"], signal.SIGKILL)
        assert recorder.wait(TIMEOUT_S) == 128 + signal.SIGKILL
    assert count(tmp_path, "size_bytes = 4321") == COUNT
    assert header(tmp_path)["end"] == "complete"


def test_a_process_that_has_ended_is_no_target(argv: list[str], tmp_path: Path) -> None:
    """Also while its parent has not waited for it."""
    ended = subprocess.Popen(["true"])
    wait_until(lambda: "Z" in Path(f"/proc/{ended.pid}/stat").read_text())
    done = subprocess.run([*argv, "--pid", str(ended.pid)], capture_output=True, text=True, check=False)
    ended.wait()
    assert done.returncode == 1
    assert f"process {ended.pid}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "r.gadgetrec").exists()


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system of its own at *folder*."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_ends_a_recording_and_what_was_closed_is_readable(
    gadget_object: Path, allocate: Path, tmp_path: Path
) -> None:
    """A segment of events fits, a few do not; the command, which has no end, goes on."""
    place = tmp_path / "disk"
    argv = [
        sys.executable,
        "-m",
        "gadgetops",
        "record",
        "-o",
        place / "r.gadgetrec",
        "--image",
        gadget_object,
    ]
    with mounted(place, "size=3m"):
        # Not a pipe: the command keeps it open.
        with (tmp_path / "errors").open("w") as stream:
            rest = ("--no-stacks", "--", allocate, ENDLESS, "/dev/null")
            with started([*map(str, argv)], *rest, stderr=stream) as recorder:
                status = recorder.wait(TIMEOUT_S)
        errors = (tmp_path / "errors").read_text()
        assert status == 1, errors
        assert "No space left" in errors
        assert f"what was written before can be read in {place}/r.gadgetrec" in errors
        assert "the command goes on, unrecorded" in errors
        assert "Traceback" not in errors
        assert count(place) > 0


def test_a_folder_that_cannot_be_written_is_said_at_once(gadget_object: Path, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    with mounted(place, "ro"):
        argv = [
            "record",
            "-o",
            place / "r.gadgetrec",
            "--image",
            gadget_object,
            "--",
            "touch",
            tmp_path / "ran",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "gadgetops", *map(str, argv)], capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert f"{place} cannot be written by this user" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("options", "is_shown"), [((), True), (("--quiet",), False)])
def test_progress_is_shown_on_a_terminal_unless_quiet(
    argv: list[str], tmp_path: Path, options: tuple[str, ...], is_shown: bool
) -> None:
    """Events, their rate, what lives, what is lost, then what is done; in place, and gone at the end."""
    ours, theirs = pty.openpty()
    rest = (*options, "--duration", "1.5", "--", "sleep", "2")
    with started(argv, *rest, stderr=theirs, stdout=subprocess.PIPE) as recorder:
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b"")).decode()
        assert recorder.stdout is not None
        assert recorder.stdout.read() == ""
    assert (" live, 0 lost, target alive" in shown) == is_shown
    # What takes less than a tenth of a second is not shown after something else.
    assert bool(re.search(r"unwinding stacks, \d+ of |finding functions and lines", shown)) == is_shown
    assert ("\x1b[K" in shown) == is_shown
    assert ("recorded" in shown.rpartition("\x1b[K")[2]) == is_shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        # EIO: the other side is closed.
        return b""
