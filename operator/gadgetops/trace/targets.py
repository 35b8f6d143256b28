"""What can be recorded: a command, or running processes. Each is a `Target` of the recorder."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gadgetops.trace.allocator import Allocator, allocator_of_process, function_offsets, library_of_command
from gadgetops.trace.modules import ModuleTracker
from gadgetops.trace.session import Session
from gadgetops.trace.target import Command, find_program, is_alive, private_copies


class CommandTarget:
    """A command and all its descendants, from its first allocation on."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.description: dict[str, Any] = {"command": list(argv)}
        self._argv = argv
        self._library = library_of_command(find_program(argv[0]))
        self._copy: Path
        self._child: Command

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Have the command ready to run, under a private copy of its C library."""
        with private_copies([self._library]) as copies:
            self._copy = copies[self._library]
            self._child = Command(self._argv, copies=copies)
            self.description["pid"] = self._child.pid
            yield

    def attach(self, session: Session, tracker: ModuleTracker) -> None:
        """Put the probes into the private copy."""
        tracker.follow(self._child.pid)
        session.attach(Allocator(self._library, self._copy, function_offsets(self._library), None))

    def start(self) -> None:
        """Let the command run."""
        self._child.start()

    def end(self) -> str | None:
        """Return `"complete"` once the command has exited; its descendants are not waited for."""
        return None if self._child.poll() is None else "complete"

    @property
    def pid(self) -> int:
        """Of the command."""
        return self._child.pid

    @property
    def exit_status(self) -> int | None:
        """Of the command; None while it runs."""
        return self._child.poll()


class ProcessTarget:
    """A running process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._allocator = allocator_of_process(pid)
        name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
        self.description: dict[str, Any] = {"pid": pid, "comm": name}

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Do nothing: it runs already."""
        yield

    def attach(self, session: Session, tracker: ModuleTracker) -> None:
        """Put the probes into this process alone."""
        tracker.follow(self._pid)
        session.attach(self._allocator)

    def start(self) -> None:
        """Do nothing: it runs already."""

    def end(self) -> str | None:
        """Return `"complete"` once the process has exited."""
        return None if is_alive(self._pid) else "complete"
