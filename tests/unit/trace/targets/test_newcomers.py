"""Who begins while a recording runs is reached, or named; nobody is both."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from gadgetops.trace.address_spaces import Mapping
from gadgetops.trace.probes.allocator import Allocator, allocators_of_process
from gadgetops.trace.targets.newcomers import Newcomers


@dataclass
class Session:
    """Attaches to nothing."""

    attached: list[Allocator] = field(default_factory=list)

    def attach(self, allocator: Allocator) -> bool:
        is_new = allocator not in self.attached
        self.attached.append(allocator)
        return is_new


@dataclass
class Space:
    """What a process maps."""

    mapped: frozenset[str]
    n_changes: int = 1

    def paths(self) -> frozenset[str]:
        return self.mapped

    def mappings(self) -> tuple[Mapping, ...]:
        return tuple(Mapping(1, 0, 0, 1, 0, path, None) for path in self.mapped)


@dataclass
class Tracker:
    """Knows of one process."""

    spaces: dict[int, Space]
    on_exit: Callable[[int, Any], None] = lambda _pid, _space: None
    on_map: Callable[[int, Any], None] = lambda _pid, _mapping: None


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """One that has begun and executes nothing else: it says what it is told."""
    started = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert started.stdin is not None
    assert started.stdout is not None
    started.stdin.write(b"\n")
    started.stdout.readline()
    yield started
    started.kill()
    started.communicate()


class Follower:
    """Newcomers that learn of one process."""

    def __init__(self, pid: int) -> None:
        library = str(next(iter(allocators_of_process(pid, None))).path)
        self.session, self.space = Session(), Space(frozenset([library]))
        self.pid, self.tracker = pid, Tracker({pid: self.space})
        self.newcomers = Newcomers(by_process=True)
        self.newcomers.watch(cast("Any", self.tracker))

    def look(self) -> dict[str, Any]:
        self.newcomers.update(cast("Any", self.session), cast("Any", self.tracker))
        return self.newcomers.description()


def ended(process: "subprocess.Popen[bytes]") -> None:
    process.communicate()
    assert not Path(f"/proc/{process.pid}").exists()


def test_who_is_there_is_reached_late(process: "subprocess.Popen[bytes]") -> None:
    """Once, and limited to it."""
    follower = Follower(process.pid)
    first = follower.look()
    assert (first["n_attached_late"], first["n_not_covered"]) == (len(follower.session.attached), 0)
    assert {allocator.pid for allocator in follower.session.attached} == {process.pid}
    follower.space.n_changes += 1
    assert follower.look() == first


def test_who_was_reached_and_ends_with_a_change_is_covered(process: "subprocess.Popen[bytes]") -> None:
    """Probes of a process follow it."""
    follower = Follower(process.pid)
    follower.look()
    ended(process)
    follower.space.n_changes += 1
    assert follower.look()["n_not_covered"] == 0


def test_who_ends_before_it_is_reached_is_named(process: "subprocess.Popen[bytes]") -> None:
    """With what it mapped."""
    follower = Follower(process.pid)
    ended(process)
    [missed] = follower.look()["not_covered"]
    assert missed == {
        "pid": process.pid,
        "maps": min(follower.space.mapped),
        "why": "it ended before it could be reached",
    }


def test_another_process_of_the_same_number_is_reached_anew(process: "subprocess.Popen[bytes]") -> None:
    """The kernel gives numbers again; probes are of the process that was."""
    follower = Follower(process.pid)
    follower.look()
    n_before = len(follower.session.attached)
    follower.tracker.on_exit(process.pid, follower.space)
    follower.look()
    assert len(follower.session.attached) == 2 * n_before
