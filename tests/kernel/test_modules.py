"""Mappings and lives of processes, as the kernel reports them."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from services.patience import PATIENCE

from gadgetops.recording.schema import ProcessRow
from gadgetops.trace import address_spaces
from gadgetops.trace.address_spaces import ModuleTracker

pytestmark = pytest.mark.kernel
BOOTTIME = time.CLOCK_BOOTTIME


def lives(rows: list[ProcessRow], *, without: int) -> dict[int, list[str]]:
    """Return what befell each process but one, in order."""
    found: dict[int, list[str]] = {}
    for row in rows:
        if row.pid != without:
            found.setdefault(row.pid, []).append(row.event)
    return found


def test_every_one_of_many_short_processes_is_followed_to_its_end() -> None:
    """Whichever CPU reports what first: none lacks its fork, its exec, or its exit."""
    with ModuleTracker() as tracker:
        tracker.follow(os.getpid())
        for _ in range(100):
            subprocess.run(["true"], check=True)
            tracker.read()
        tracker.read()
        rows, lost = tracker.take_processes(), tracker.lost
    found = lives(rows, without=os.getpid())
    assert lost == 0
    assert len(found) == 100
    assert {tuple(life) for life in found.values()} == {("fork", "exec", "exit")}
    assert [row.timestamp_ns for row in rows] == sorted(row.timestamp_ns for row in rows)


def test_children_of_a_process_that_is_found_to_have_ended_are_known() -> None:
    """What the kernel reported comes first: who looks for the ended has not read for a while."""
    script = "read line; true & (true); wait"
    with ModuleTracker() as tracker:
        process = subprocess.Popen(["bash", "-c", script], stdin=subprocess.PIPE)
        tracker.follow(process.pid)
        process.communicate(b"\n")
        tracker.forget_ended()
        rows, alive = tracker.take_processes(), {*tracker.spaces}
    found = lives(rows, without=process.pid)
    assert sorted(life[0] for life in found.values()) == ["fork", "fork"]
    assert {life[-1] for life in found.values()} == {"exit"}
    assert not alive


def test_a_thread_that_ends_is_no_process_that_ends() -> None:
    """Also when it is the first one: the process ends with its last."""
    script = """if True:
        import ctypes, os, threading, time
        thread = threading.Thread(target=lambda: (time.sleep(0.2), os._exit(0)))
        thread.start()
        ctypes.CDLL(None).syscall(60, 0)
    """
    with ModuleTracker() as tracker:
        tracker.follow(os.getpid())
        for _ in range(5):
            thread = threading.Thread(target=lambda: None)
            thread.start()
            thread.join()
        before = subprocess.Popen([sys.executable, "-c", script])
        assert before.wait() == 0
        tracker.read()
        rows = tracker.take_processes()
    assert [row.event for row in rows if row.pid == os.getpid()] == ["start"]
    assert lives(rows, without=os.getpid())[before.pid] == ["fork", "exec", "exit"]


def test_records_that_the_kernel_drops_are_counted_and_nobody_lives_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process whose end was not reported has ended all the same; a CPU says so with its next record."""
    monkeypatch.setattr(address_spaces, "_DATA_PAGES", 1)
    with ModuleTracker() as tracker:
        tracker.follow(os.getpid())
        for _ in range(60):
            subprocess.run(["true"], check=True)
        tracker.read()
        for cpu in os.sched_getaffinity(0):
            subprocess.run(["taskset", "--cpu-list", str(cpu), "true"], check=True)
        tracker.read()
        rows, lost = tracker.take_processes(), tracker.lost
        alive = tracker.spaces.keys() - {os.getpid()}
    assert lost > 0
    assert not alive
    assert all(life[-1] == "exit" for life in lives(rows, without=os.getpid()).values())


def test_a_process_that_is_gone_is_known_until_its_events_were_taken() -> None:
    """However often is read meanwhile."""
    with ModuleTracker() as tracker:
        tracker.follow(os.getpid())
        with subprocess.Popen(["true"]) as child:
            child.wait()
        for _ in range(1000):
            tracker.read()
        ended_ns = next(row.timestamp_ns for row in tracker.take_processes() if row.event == "exit")
        tracker.forget_gone(ended_ns + 1_000_000_000)
        known = tracker.space(child.pid).comm
        tracker.forget_gone(ended_ns + 3600_000_000_000)
        assert (known, tracker.space(child.pid).comm) == ("true", None)


def test_a_process_that_nobody_announced_is_followed_when_it_is_asked_for() -> None:
    """As with events of the whole machine; one that is gone has no mappings."""
    with subprocess.Popen(["sleep", "30"]) as sleeper, ModuleTracker() as tracker:
        paths = tracker.space(sleeper.pid).paths()
        gone = tracker.space(2**22 + 1).paths()
        sleeper.kill()
    assert any("libc" in path for path in paths)
    assert not gone


def test_files_of_a_process_are_had_though_it_and_its_mounts_are_gone(tmp_path: Path) -> None:
    """A reader that was kept waiting finds neither process nor mounts, but the file, all the same."""
    program = shutil.which("true")
    assert program is not None
    script = (
        f"mount -t tmpfs t {tmp_path}; cp {program} {tmp_path}/program; read line; exec {tmp_path}/program"
    )
    with ModuleTracker() as tracker:
        process = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE)
        wait_until(lambda: Path(f"/proc/{process.pid}/root{tmp_path}/program").exists())
        tracker.follow(process.pid)
        process.communicate(b"\n")
        assert not (tmp_path / "program").exists()
        tracker.read()
        found = {each.path: each for each in tracker.space(process.pid).at(time.clock_gettime_ns(BOOTTIME))}
        file = found[f"{tmp_path}/program"].file
        assert file is not None
        assert file.path.read_bytes() == Path(program).read_bytes()


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, for half a minute."""
    deadline = time.monotonic() + 30 * PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
