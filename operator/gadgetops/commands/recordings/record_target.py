"""What `record` is to record: its options, what they mean, and what becomes of the target afterwards."""

import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.completers import containers, processes
from gadgetops.errors import UsageError

if TYPE_CHECKING:
    from gadgetops.trace.targets.base import Target

_HOST_RECORDER: Final = "GADGETOPS_HOST_RECORDER"
"""Set for the recorder that `--host` starts under a C library of its own: the process that started it."""
_FILTERS: Final = ("comm", "uid", "gid", "tid")

_OPTIONS: Final = (
    click.option(
        "-p", "--pid", metavar="N[,N…]", shell_complete=processes, help="Record these running processes."
    ),
    click.option(
        "--container", metavar="NAME", shell_complete=containers, help="Record this container, by name or id."
    ),
    click.option("--host", is_flag=True, help="Record all that use the machine's C library; all pay for it."),
    click.option("--no-children", is_flag=True, help="Leave out what the command or process starts."),
    click.option("--wait", is_flag=True, help="Wait for the container to be started."),
    click.option(
        "--docker-host",
        metavar="ADDRESS",
        help="Of the container's engine.  [default: $DOCKER_HOST, or docker's or podman's socket]",
    ),
    click.option(
        "--library",
        metavar="PATH|auto",
        default="auto",
        show_default=True,
        help="Where malloc and its kin are; auto: where the program finds them.",
    ),
    click.option("--comm", metavar="NAME", help="Only processes of this name."),
    click.option("--uid", type=click.IntRange(min=0), help="Only processes of this user."),
    click.option("--gid", type=click.IntRange(min=0), help="Only processes of this group."),
    click.option("--tid", type=click.IntRange(min=1), help="Only this thread."),
)


def target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what to record; their values are `TargetRequest`'s attributes."""
    return functools.reduce(lambda decorated, option: option(decorated), reversed(_OPTIONS), function)


@dataclass(frozen=True)
class TargetRequest:
    """
    What the user wants to have recorded.

    Raises:
        UsageError: It is not exactly one thing.
    """

    command_line: Sequence[str]
    pid: str | None
    container: str | None
    host: bool
    no_children: bool
    wait: bool
    docker_host: str | None
    library: str
    comm: str | None
    uid: int | None
    gid: int | None
    tid: int | None

    def __post_init__(self) -> None:
        if sum(map(bool, (self.command_line, self.pid, self.container, self.host))) != 1:
            raise UsageError(
                "give one thing to record: a command after `--`, --pid, --container or --host",
                hint="see `gadgetops record --help`",
            )
        if (self.wait or self.docker_host) and not self.container:
            raise UsageError("--wait and --docker-host go with --container")
        if self.no_children and not (self.command_line or self.pid):
            raise UsageError("--no-children goes with a command or --pid")

    @property
    def name(self) -> str:
        """The recording's name if no other is given."""
        if self.command_line:
            return Path(self.command_line[0]).name
        if self.pid:
            return f"pid-{self.pid}"
        return self.container or "host"

    @property
    def restricts_gadget(self) -> bool:
        """Whether the gadget is told to let only the target pass, once it is known."""
        return self.no_children or self.container is not None

    @property
    def needs_events(self) -> bool:
        """Whether a process is named whose first thread has ended: links do not reach its other threads."""
        from gadgetops.trace.processes import memory_holder

        return bool(self.pid) and any(memory_holder(pid) != pid for pid in _pids(self.pid or ""))

    def filters(self) -> dict[str, str]:
        """Return the parameters of the gadget that filter as asked for."""
        given = {key: getattr(self, key) for key in _FILTERS}
        return {key: str(value) for key, value in given.items() if value is not None}

    def target(self) -> "Target":
        """Return what is to be recorded."""
        from gadgetops.trace.targets.base import CommandTarget, HostTarget, ProcessTarget

        library = None if self.library == "auto" else Path(self.library).absolute()
        if self.command_line:
            return CommandTarget(self.command_line, with_children=not self.no_children, library=library)
        if self.pid:
            return ProcessTarget(_pids(self.pid), with_children=not self.no_children, library=library)
        if self.container:
            from gadgetops.trace.targets.container import ContainerTarget

            return ContainerTarget(self.container, engine=self.docker_host, wait=self.wait, library=library)
        target = HostTarget(Path(f"/proc/{os.environ[_HOST_RECORDER]}/root"), library)
        messages.warn(f"--host: every process that uses {target.library} pays for the probes")
        return target


def _pids(text: str) -> list[int]:
    numbers = text.split(",")
    if not all(number.isdecimal() and 0 < int(number) < 1 << 31 for number in numbers):
        raise UsageError(f"--pid {text}: expected numbers of processes, such as 4711 or 4711,4712")
    return [int(number) for number in numbers]


def is_host_recorder() -> bool:
    """Return whether this process has a C library of its own, as the recorder of a whole machine needs."""
    return _HOST_RECORDER in os.environ


def record_host() -> int:
    """
    Run this command line again under a private copy of the C library, and return its exit status.

    A recorder on the library that it probes would record itself, recording itself.
    """
    from gadgetops.trace.probes.allocator import allocators_of_command
    from gadgetops.trace.targets.launch import Command, private_copies

    os.environ[_HOST_RECORDER] = str(os.getpid())
    own = allocators_of_command([sys.executable]).found
    with private_copies([allocator.path for allocator in own]) as copies:
        recorder = Command([sys.executable, "-m", "gadgetops", *sys.argv[1:]], copies=copies)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda received, _frame: os.kill(recorder.pid, received))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        recorder.start()
        return recorder.poll(wait=True) or 0


@contextlib.contextmanager
def said_what_goes_on(target: "Target") -> Iterator[None]:
    """Say afterwards, also when the recording failed, what of a command goes on without being recorded."""
    from gadgetops.trace.processes import is_alive, name_of
    from gadgetops.trace.targets.base import StartedCommand

    try:
        yield
    finally:
        if isinstance(target, StartedCommand) and target.has_begun and target.exit_status is None:
            messages.say(f"the command goes on, unrecorded, as process {target.pid}")
        for pid in filter(is_alive, target.survivors()):
            messages.say(f"process {pid} ({name_of(pid)}), which the command started, goes on, unrecorded")


def runtime_environment(request: TargetRequest) -> dict[str, str]:
    """Return the variables of the target's environment that say whether a runtime's objects can be seen."""
    from gadgetops.questions.asking.runtimes import ENVIRONMENT

    if request.command_line:
        found = dict(os.environ)
    elif request.pid:
        found = _environment_of(request.pid.partition(",")[0])
    else:
        found = {}
    return {name: found[name] for name in ENVIRONMENT if name in found}


def _environment_of(pid: str) -> dict[str, str]:
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (pair.partition("=") for pair in content.decode(errors="replace").split("\0"))
    return {name: value for name, _, value in pairs}


def say_what_is_unseen(output: Path) -> None:
    """Say which runtimes the recording has met, whose objects are not in it, and what to type instead."""
    from gadgetops.errors import GadgetOpsError
    from gadgetops.questions.asking.runtimes import notes_of
    from gadgetops.recording.reader import open_recording

    with contextlib.suppress(GadgetOpsError):
        recording = open_recording(output)
        with recording.connect() as connection:
            for note in notes_of(recording, connection):
                messages.say(f"note: {note}")


def exit_status(target: "Target") -> int:
    """Return the exit status of a command that has ended; 0 for all others."""
    from gadgetops.trace.targets.base import StartedCommand

    return (target.exit_status or 0) if isinstance(target, StartedCommand) else 0
