"""What `record --pid` does to a server under load: it says the price, refuses, or records in windows."""

import itertools
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from services.paced import running_paced
from services.patience import PATIENCE
from services.terminal import terminal

pytestmark = pytest.mark.kernel

GADGETOPS = [sys.executable, "-m", "gadgetops"]
TIMEOUT_S = 60 * PATIENCE


@pytest.fixture
def server(compiled: Callable[[str], Path]) -> Iterator[int]:
    """A process that calls malloc() and free() about a million times a second."""
    with running_paced(compiled("paced"), 6000) as pid:
        yield pid


@pytest.fixture
def record(gadget_object: Path, tmp_path: Path) -> Callable[..., Any]:
    """Record a process into the folder `r.gadgetrec`; standard input is no terminal."""

    def call(pid: int, *options: str) -> "subprocess.CompletedProcess[str]":
        where = ["-o", str(tmp_path / "r.gadgetrec"), "--image", str(gadget_object), "--pid", str(pid)]
        return subprocess.run(
            [*GADGETOPS, "record", *where, *options],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )

    return call


def answer(folder: Path, verb: str) -> dict[str, Any]:
    """The JSON of a question about the recording."""
    command = [*GADGETOPS, verb, str(folder / "r.gadgetrec"), "--format", "json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def test_a_hot_process_is_not_slowed_unasked(server: int, record: Callable[..., Any], tmp_path: Path) -> None:
    """Nobody can be asked: it says what it would cost, what to type, and records nothing."""
    done = record(server, "--duration", "1")
    assert done.returncode == 1
    assert "calls a second: tracing would slow it by about" in done.stderr
    assert "--max-slowdown 20%" in done.stderr
    assert "--force" in done.stderr
    assert not (tmp_path / "r.gadgetrec").exists()


def test_who_is_at_a_terminal_is_asked(server: int, gadget_object: Path, tmp_path: Path) -> None:
    """Nothing is recorded for who wants nothing."""
    where = ["-o", str(tmp_path / "r.gadgetrec"), "--image", str(gadget_object), "--pid", str(server)]
    environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    with terminal(shlex.join([*GADGETOPS, "record", *where]), environment) as opened:
        opened.shows(lambda screen: "[w]indows that keep it below, [e]verything, or [n]othing?" in screen)
        opened.type("n", "Enter")
        opened.shows(lambda screen: "status 2" in screen)
    assert not (tmp_path / "r.gadgetrec").exists()


def test_within_a_budget_it_is_recorded_in_windows_of_which_no_answer_is_certain(
    server: int, record: Callable[..., Any], tmp_path: Path
) -> None:
    """Between the windows no event was seen; leaks, info, and summary say so."""
    done = record(server, "--max-slowdown", "20%", "--duration", "4")
    assert done.returncode == 0, done.stderr
    header = json.loads((tmp_path / "r.gadgetrec/recording.json").read_text())
    windows = header["windows"]
    assert len(windows) > 1
    assert all(start < end for start, end in windows)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(windows))
    leaks = answer(tmp_path, "leaks")
    assert leaks["certainty"] == "possible"
    assert not {leak["trend"]["kind"] for leak in leaks["leaks"]} - {"unclear"}
    for verb in ("leaks", "summary", "top", "peak", "timeline"):
        assert any("windows" in reason for reason in answer(tmp_path, verb)["reasons"]), verb
    assert answer(tmp_path, "summary")["per_second"] is None
    text = subprocess.run(
        [*GADGETOPS, "info", str(tmp_path / "r.gadgetrec")], check=True, capture_output=True, text=True
    ).stdout
    assert "recorded in " in text
    assert "a second when it began" in text


def test_by_force_everything_is_recorded(server: int, record: Callable[..., Any], tmp_path: Path) -> None:
    """It says the price all the same."""
    done = record(server, "--force", "--duration", "1")
    assert done.returncode == 0, done.stderr
    assert "tracing would slow it by about" in done.stderr
    assert "windows" not in json.loads((tmp_path / "r.gadgetrec/recording.json").read_text())
    assert answer(tmp_path, "leaks")["certainty"] == "certain"


def test_a_quiet_process_is_recorded_as_a_whole(
    compiled: Callable[[str], Path], record: Callable[..., Any], tmp_path: Path
) -> None:
    """Some hundred calls a second cost nothing that is worth a question."""
    with subprocess.Popen([compiled("servers"), "leak", "2000"]) as process:
        time.sleep(0.2)
        done = record(process.pid, "--duration", "2")
        process.kill()
    assert done.returncode == 0, done.stderr
    assert "calls a second: tracing would slow it by " in done.stderr
    assert "windows" not in done.stderr
    assert answer(tmp_path, "leaks")["certainty"] == "certain"


def test_a_budget_is_for_what_runs_already() -> None:
    """A command has no price beforehand."""
    command = [*GADGETOPS, "record", "--max-slowdown", "5%", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--max-slowdown and --force go with --pid, --container and --host" in done.stderr
