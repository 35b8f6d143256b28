"""The live view of real recordings: on a pipe, and in a real terminal."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from services.patience import PATIENCE
from services.terminal import terminal

from gadgetops.questions.leaks.leaks import leaks_in

pytestmark = pytest.mark.kernel

GADGETOPS = [sys.executable, "-m", "gadgetops"]
ENVIRONMENT = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def shell(*argv: object) -> str:
    """Return a command for a shell."""
    return " ".join(map(str, [*GADGETOPS, *argv]))


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60 * PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def running(program: Path, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """Run a program that has begun when the block does."""
    argv = [program, *map(str, arguments)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_on_a_pipe_there_is_a_line_a_second(
    gadget_object: Path, compiled: Callable[..., Path], tmp_path: Path
) -> None:
    """Until the end; the command's status is passed on, and what it printed is kept beside the recording."""
    path = tmp_path / "r.gadgetrec"
    argv = ["record", "--live", "-o", path, "--image", gadget_object, "--", compiled("growing"), "4", "10000"]
    done = subprocess.run(
        [*GADGETOPS, *map(str, argv)], capture_output=True, text=True, timeout=120 * PATIENCE, check=False
    )
    assert done.returncode == 3, done.stderr
    lines = done.stdout.splitlines()
    assert re.search(r"events, [\d,]+/s, .* not released, 0 lost.*, ended: certain$", lines[-1]), lines
    n_events = int(lines[-1].split(", ")[1].removesuffix(" events").replace(",", ""))
    assert n_events > 30_000
    assert "growing began" in (tmp_path / "r.gadgetrec.log").read_text()
    assert sum(1 for _ in path.glob("events-*.parquet")) >= 2


def test_in_a_terminal_it_shows_what_grows(
    gadget_object: Path, compiled: Callable[..., Path], tmp_path: Path
) -> None:
    """Marks, opens, and detaches; the recording goes on, is watched again, and ended."""
    path = tmp_path / "r.gadgetrec"
    command = shell(
        *("record", "--live", "-o", path, "--image", gadget_object, "--", compiled("growing"), 120, 10_000)
    )
    with terminal(command, ENVIRONMENT) as opened:
        opened.shows(lambda screen: re.search(r"growing +leak < serve < main", screen))
        opened.type("m")
        opened.shows(lambda screen: re.search(r"\+[\d.]+ [KM]iB since the mark", screen))
        opened.type("Enter")
        opened.shows(lambda screen: "likely a leak" in screen and "growing.c:" in screen)
        opened.type("g")
        opened.shows(lambda screen: re.search(r"^ serve", screen, re.MULTILINE))
        opened.type("d")
        screen = opened.shows(lambda screen: "status 0" in screen)
    found = re.search(r"recording goes on as process (\d+)", screen)
    assert found is not None
    recorder = int(found[1])
    n_segments = sum(1 for _ in path.glob("events-*.parquet"))
    with terminal(shell("live", path), ENVIRONMENT, width=100, height=30) as opened:
        opened.shows(lambda screen: "recording" in screen and "1 stack growing" in screen)
        wait_until(lambda: sum(1 for _ in path.glob("events-*.parquet")) > n_segments + 1)
        os.kill(recorder, signal.SIGTERM)
        opened.shows(lambda screen: " ended " in screen)
        opened.type("q")
        opened.shows(lambda screen: "status 0" in screen)
    assert leaks_in(path).leaks[0].trend.kind == "growing"


def test_a_process_is_watched_and_left_alone(
    gadget_object: Path, compiled: Callable[..., Path], tmp_path: Path
) -> None:
    """Ending the recording ends the recorder, not the process."""
    path = tmp_path / "r.gadgetrec"
    with running(compiled("growing"), 120, 10_000) as target:
        command = shell("live", "--force", "--pid", target.pid, "-o", path, "--image", gadget_object)
        with terminal(command, ENVIRONMENT) as opened:
            opened.shows(lambda screen: re.search(r"growing +leak < serve < main", screen))
            opened.type("f")
            opened.shows(lambda screen: f"process {target.pid} growing" in screen)
            opened.type("Escape")
            # A terminal sends Escape and a key that follows at once as one key.
            opened.shows(lambda screen: "all processes" not in screen)
            opened.type("e")
            opened.shows(lambda screen: "recorded in" in screen and "status 0" in screen)
        assert target.poll() is None


def test_what_cannot_be_recorded_is_said(tmp_path: Path) -> None:
    """By the recorder's own words; nothing is left behind."""
    path = tmp_path / "r.gadgetrec"
    argv = [*GADGETOPS, "live", "--pid", "999999999", "-o", path]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120 * PATIENCE, check=False)
    assert done.returncode == 1
    assert "999999999" in done.stderr
    assert not [*tmp_path.iterdir()]
