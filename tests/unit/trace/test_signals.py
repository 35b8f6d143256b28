"""Whose a Ctrl-C is: the command's first, then the recorder's."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from gadgetops.trace.signals import GroupWitness, StopRequest

TIMEOUT_S = 20


class Witness(GroupWitness):
    """Reports what it is told to."""

    def __init__(self, *, has_report: bool) -> None:
        self.says = has_report

    def has_report(self) -> bool:
        return self.says


def request(
    signals: list[int], *, to_group: bool | None, reaches: Callable[[], bool] = lambda: True
) -> tuple[StopRequest, list[str]]:
    """A request as *signals* make it, sent to the whole group or not (None: there is no command)."""
    said: list[str] = []
    witness = None if to_group is None else Witness(has_report=to_group)
    return StopRequest(signals, witness, reaches, lambda: said.append("excused")), said


def until_made(stop: StopRequest) -> bool:
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        if stop.is_made():
            return True
        time.sleep(0.01)
    return False


def test_the_first_ctrl_c_is_the_commands_and_the_second_ends() -> None:
    signals: list[int] = []
    stop, said = request(signals, to_group=True)
    assert not stop.is_made()
    signals.append(signal.SIGINT)
    assert not until_made(stop)
    assert said == ["excused"]
    signals.append(signal.SIGINT)
    assert stop.is_made()
    assert not stop.is_hurried
    signals.append(signal.SIGINT)
    assert stop.is_hurried


def test_after_the_commands_ctrl_c_the_next_one_hurries_the_ending() -> None:
    """The command has ended of the first: the recording is being completed."""
    signals: list[int] = [signal.SIGINT]
    stop, _ = request(signals, to_group=True)
    assert not stop.is_made()
    assert not stop.is_hurried
    signals.append(signal.SIGINT)
    assert stop.is_hurried


def test_a_sigint_to_the_recorder_alone_ends() -> None:
    """As `kill -INT` sends it: the command knows nothing of it."""
    stop, said = request([signal.SIGINT], to_group=False)
    assert until_made(stop)
    assert said == []
    assert not stop.is_hurried


def test_without_a_command_that_gets_it_ctrl_c_ends_at_once() -> None:
    """A running process was attached to, or the command has ended and left others behind."""
    assert request([signal.SIGINT], to_group=None)[0].is_made()
    assert request([signal.SIGINT], to_group=True, reaches=lambda: False)[0].is_made()


def test_other_signals_end_at_once() -> None:
    """Also after a Ctrl-C that was the command's."""
    assert request([signal.SIGTERM], to_group=True)[0].is_made()
    assert request([signal.SIGHUP], to_group=True)[0].is_made()
    signals: list[int] = [signal.SIGINT]
    stop, _ = request(signals, to_group=True)
    assert not stop.is_made()
    signals.append(signal.SIGTERM)
    assert stop.is_made()


def test_two_signals_at_once_end_and_hurry() -> None:
    stop, _ = request([signal.SIGINT, signal.SIGTERM], to_group=True)
    assert stop.is_made()
    assert stop.is_hurried


# Says whether it got one, and what its witness saw of it.
WITNESSED = """
    import signal, sys, time
    from gadgetops.trace.signals import GroupWitness
    got = []
    signal.signal(signal.SIGINT, lambda number, frame: got.append(number))
    with GroupWitness() as witness:
        print("ready", flush=True)
        deadline = time.monotonic() + 20
        while not got and time.monotonic() < deadline:
            time.sleep(0.01)
        while not witness.has_report() and time.monotonic() < deadline - float(sys.argv[1]):
            time.sleep(0.01)
        print(len(got), witness.has_report())
"""


def witnessed(send: Callable[[int], None], wait_s: float) -> str:
    """What a process of its own group says after *send* was given its number, within 20 s less *wait_s*."""
    argv = [sys.executable, "-c", textwrap.dedent(WITNESSED), str(wait_s)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    send(process.pid)
    said, _ = process.communicate(timeout=TIMEOUT_S)
    group = subprocess.run(["ps", "-o", "pid=", "-g", str(process.pid)], capture_output=True, check=False)
    assert group.stdout == b""
    return said.strip()


def test_the_witness_tells_the_group_from_one_process() -> None:
    """And it is gone afterwards."""
    assert witnessed(lambda pid: os.killpg(pid, signal.SIGINT), 0) == "1 True"
    assert witnessed(lambda pid: os.kill(pid, signal.SIGINT), 19) == "1 False"


def test_the_witness_ends_with_a_killed_recorder(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", textwrap.dedent(WITNESSED), "0"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    # Its other end is closed with the last process that has it.
    assert process.stdout.read() == b""
    process.wait()
