"""What can be recorded: a command, running processes, the whole machine. Each is a `Target`."""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

from gadgetops.errors import GadgetOpsError, TargetGone
from gadgetops.trace.address_spaces import AddressSpaces, ModuleTracker
from gadgetops.trace.attachment import Attachment
from gadgetops.trace.kernel.loader import Loader
from gadgetops.trace.probes.allocator import Allocator, allocators_of_command, allocators_of_process
from gadgetops.trace.processes import all_processes, descendants_of, is_alive, name_of
from gadgetops.trace.targets.launch import Command, private_copies
from gadgetops.trace.targets.newcomers import Newcomers
from gadgetops.trace.targets.refusals import check_process
from gadgetops.units import plural

_SURVIVES_S: Final = 0.5
"""How long something has to outlive its command to be worth a word."""
_CHECKED_EVERY_S: Final = 1.0


class Target:
    """
    What is recorded; as it stands here, something that runs already and has all it needs.

    Attributes:
        description: `target` of the recording's header; what is added while it runs is written at the end.
        allocators: As far as they are known before it is attached to.
        is_ours: Whether we start it.
    """

    is_ours: ClassVar[bool] = False
    description: dict[str, Any]
    allocators: Sequence[Allocator] = ()

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Return a context in which the target is there, and, if it is ours to start, has not begun."""
        yield

    def counted(self) -> Sequence[Allocator]:
        """Return where to count calls that tell what a recording costs."""
        return self.allocators

    def pids(self) -> Sequence[int]:
        """Return the processes whose time counts for a budget; none for all of the machine."""
        return ()

    def restrict(self, loader: Loader) -> None:
        """Set the gadget's filters that keep others out, before it is loaded."""

    def container_of(self, pid: int) -> str | None:
        """Return the name of the container that process *pid* is in, as far as it is known."""
        return None

    def attach(self, attachment: Attachment, tracker: ModuleTracker) -> None:
        """Put the probes in, and follow the mappings."""
        raise NotImplementedError

    def start(self) -> None:
        """Let it begin, if it is ours to start."""

    def update(self, attachment: Attachment, tracker: ModuleTracker) -> None:
        """Reach what has begun since the last time, as far as it is not reached already."""

    def end(self) -> str | None:
        """Return `"complete"` once it has ended, None before."""
        return None if self.is_alive() else "complete"

    def is_alive(self) -> bool:
        """Return whether it runs."""
        return True

    def news(self) -> str | None:
        """Return a sentence for the user, once, when something has happened to it."""
        return None

    def survivors(self) -> list[int]:
        """Return the processes that a command of ours started, and that run though it has ended."""
        return []

    def gets_interrupts(self) -> bool:
        """Return whether a command of ours runs and gets the terminal's Ctrl-C when we do."""
        return False


class StartedCommand(Target):
    """
    A command that we start, and what it starts unless that is not wanted, whatever way it is traced.

    Args:
        argv: The command.
        with_children: Record what it starts, too.
    """

    is_ours = True

    def __init__(self, argv: Sequence[str], *, with_children: bool) -> None:
        self.description: dict[str, Any] = {"command": list(argv), "children": with_children}
        self._argv = argv
        self._with_children = with_children
        self._tracker: AddressSpaces | None = None
        self._ended_s: float | None = None
        self._has_said = False
        self._child: Command
        self.has_begun = False

    @contextlib.contextmanager
    def _ready(
        self, *, copies: Mapping[Path, Path], environment: Mapping[str, str] | None = None
    ) -> Iterator[None]:
        """Have the command ready to run, and end it afterwards if it has not begun."""
        self._child = Command(self._argv, copies=copies, environment=environment)
        self.description["pid"] = self._child.pid
        try:
            yield
        finally:
            if not self.has_begun:
                self._child.cancel()

    def start(self) -> None:
        """Let the command run."""
        self.has_begun = True
        self._child.start()

    def is_alive(self) -> bool:
        """Return whether the command runs, or something that it started, as far as that is recorded."""
        has_ended, survivors = self._child.poll() is not None, self.survivors()
        n_going_on = len(survivors) if has_ended else 1
        self.description |= {"has_ended": has_ended, "n_going_on": n_going_on}
        return n_going_on > 0

    def survivors(self) -> list[int]:
        """
        Return the processes, if they are recorded, that the command started and that run though it has ended.

        They are known from reports of forks: whoever was started by a process that has ended since is another
        one's child by now.
        """
        if self._tracker is None or not self._with_children or self._child.poll() is None:
            return []
        return [pid for pid, space in self._tracker.spaces.items() if not space.is_stranger]

    def news(self) -> str | None:
        """Say once that the command has ended, and what it started has not."""
        if self._has_said or self._child.poll() is None:
            return None
        self._ended_s = self._ended_s or time.monotonic()
        survivors = [pid for pid in self.survivors() if is_alive(pid)]
        if time.monotonic() - self._ended_s < _SURVIVES_S or not survivors:
            return None
        self._has_said = True
        who = _named(survivors)
        return f"the command has ended; {who} goes on and is recorded: Ctrl-C ends the recording"

    def gets_interrupts(self) -> bool:
        """Return whether the command runs, in our process group: it may have left it."""
        if self._child.poll() is not None:
            return False
        return os.getpgid(self._child.pid) == os.getpgrp()

    @property
    def pid(self) -> int:
        """Of the command."""
        return self._child.pid

    @property
    def exit_status(self) -> int | None:
        """Of the command; None while it runs."""
        return self._child.poll()


class CommandTarget(StartedCommand):
    """
    A command from its first allocation on, and all its descendants unless they are not wanted.

    Args:
        argv: The command.
        with_children: Record what it starts, too.
        library: Look for the allocator here first.
    """

    def __init__(
        self, argv: Sequence[str], *, with_children: bool = True, library: Path | None = None
    ) -> None:
        super().__init__(argv, with_children=with_children)
        self.allocators, unseen = allocators_of_command(argv, library)
        if unseen is not None:
            self.description["unseen"] = unseen
        originals = [allocator.path for allocator in self.allocators]
        self._newcomers = Newcomers(by_process=False, library=library, shared=originals)
        self._checked_s = time.monotonic()
        self._copies: Mapping[Path, Path]

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Have the command ready to run, under private copies of the files that hold its allocator."""
        originals = [allocator.path for allocator in self.allocators]
        with private_copies(originals) as self._copies, self._ready(copies=self._copies):
            yield

    def restrict(self, loader: Loader) -> None:
        """Filter by process if what the command starts is not wanted."""
        if not self._with_children:
            loader.restrict({"pid": str(self._child.pid)})

    def attach(self, attachment: Attachment, tracker: ModuleTracker) -> None:
        """Put the probes into the private copies."""
        self._tracker = tracker
        self._newcomers.watch(tracker)
        tracker.follow(self._child.pid)
        for allocator in self.allocators:
            self._newcomers.add(attachment, replace(allocator, probed=self._copies[allocator.path]))
            self._newcomers.expect(self._child.pid, allocator.path)

    def update(self, attachment: Attachment, tracker: ModuleTracker) -> None:
        """Reach descendants that have another allocator than the command."""
        if time.monotonic() - self._checked_s > _CHECKED_EVERY_S:
            # The kernel may have had no room to report their end.
            tracker.forget_ended()
            self._checked_s = time.monotonic()
        self._newcomers.update(attachment, tracker)
        self.description |= self._newcomers.description()


class ProcessTarget(Target):
    """
    Running processes, and what they have started and will start unless it is not wanted.

    Args:
        pids: The processes.
        with_children: Record what they start, too.
        library: Look for the allocator here first, as the processes see it.

    Raises:
        TraceError: One of them is not there, or cannot be traced.
    """

    def __init__(
        self, pids: Sequence[int], *, with_children: bool = True, library: Path | None = None
    ) -> None:
        self._pids = [*dict.fromkeys(pids)]
        self._with_children = with_children
        for pid in self._pids:
            check_process(pid)
        self.allocators = [found for pid in self._pids for found in allocators_of_process(pid, library)]
        self._newcomers = Newcomers(by_process=True, library=library)
        processes = [{"pid": pid, "comm": _name(pid)} for pid in self._pids]
        self.description: dict[str, Any] = {"processes": processes, "children": with_children}

    def attach(self, attachment: Attachment, tracker: ModuleTracker) -> None:
        """Put the probes into these processes, and into those that they have started."""
        if self._with_children:
            self._newcomers.watch(tracker)
        for allocator in self.allocators:
            try:
                self._newcomers.add(attachment, allocator)
            except (FileNotFoundError, ProcessLookupError) as error:
                raise TargetGone(f"process {allocator.pid}") from error
        for pid in self._pids:
            tracker.follow(pid)
        if self._with_children:
            self._begin_with_children(attachment, tracker)

    def pids(self) -> Sequence[int]:
        """Return the processes, and those that they have started if these are recorded, too."""
        return [*self._pids, *(descendants_of(self._pids) if self._with_children else ())]

    def counted(self) -> Sequence[Allocator]:
        """Return the allocators of these processes."""
        return [*self.allocators, *allocators_of(self.pids()[len(self._pids) :])]

    def _begin_with_children(self, attachment: Attachment, tracker: ModuleTracker) -> None:
        """Reach the children that run already; those that they start meanwhile are reported."""
        # The recorder may be one of them: each event of it would make further ones.
        own = {os.getpid(), *descendants_of([os.getpid()])}
        children = [pid for pid in descendants_of(self._pids) if pid not in own]
        for pid in children:
            tracker.follow(pid)
        self._newcomers.begin(attachment, tracker)
        self.description["descendants"] = [{"pid": pid, "comm": name_of(pid)} for pid in children]
        self.description |= self._newcomers.description()

    def update(self, attachment: Attachment, tracker: ModuleTracker) -> None:
        """Reach what they have started."""
        if self._with_children:
            self._newcomers.update(attachment, tracker)
            self.description |= self._newcomers.description()

    def is_alive(self) -> bool:
        """Return whether one of the processes runs; what they started is not waited for."""
        return any(map(is_alive, self._pids))


class HostTarget(Target):
    """
    Every process that maps the machine's C library; each of them pays for the probes.

    Args:
        root: A view of the file system in which the library is the machine's own and not our copy.
        library: Look for the allocator here first.
    """

    def __init__(self, root: Path, library: Path | None = None) -> None:
        own = allocators_of_process(os.getpid(), library)
        self.allocators = [replace(a, probed=root / a.path.relative_to("/"), pid=None) for a in own]
        self.library = next(a.path for a in own if "malloc" in a.functions)
        self.description: dict[str, Any] = {"host": True, "library": str(self.library)}

    def attach(self, attachment: Attachment, tracker: ModuleTracker) -> None:
        """Put the probes into the library, for all."""
        for pid in all_processes():
            tracker.follow(pid)
        for allocator in self.allocators:
            attachment.attach(allocator)


def allocators_of(pids: Iterable[int]) -> list[Allocator]:
    """Return the allocators of *pids*, as far as they have any that can be found."""
    found: list[Allocator] = []
    for pid in pids:
        with contextlib.suppress(GadgetOpsError, OSError):
            found += allocators_of_process(pid)
    return found


def _name(pid: int) -> str:
    name = name_of(pid)
    if name is None:
        raise TargetGone(f"process {pid}")
    return name


def _named(pids: Sequence[int]) -> str:
    """Return the first of *pids* with its name, and how many others there are."""
    others = f" and {plural(len(pids) - 1, 'other')}" if len(pids) > 1 else ""
    return f"process {pids[0]} ({name_of(pids[0])}){others}, which it started,"
