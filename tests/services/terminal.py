"""A terminal to type into and to read from: tmux."""

import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest
from services.patience import PATIENCE

_LIMIT_S = 60 * PATIENCE


class Terminal:
    """One window of a tmux server of its own."""

    def __init__(self, server: str) -> None:
        self._argv = ["tmux", "-L", server, "-f", "/dev/null"]

    def start(self, command: str, environment: Mapping[str, str], width: int, height: int) -> None:
        """Run *command* by a shell, which stays when it has ended."""
        variables = [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
        size = ("-x", str(width), "-y", str(height))
        # What whoever runs the tests knows of a terminal's size is not this one's.
        shell = f"unset COLUMNS LINES; {command}; echo status $?; sleep 1000"
        self._tmux("new-session", "-d", *size, *variables, shell)

    def stop(self) -> None:
        """End the server and what runs in it."""
        subprocess.run([*self._argv, "kill-server"], check=False, capture_output=True)

    def type(self, *keys: str) -> None:
        """Press *keys*, as tmux names them."""
        for key in keys:
            self._tmux("send-keys", key)

    def screen(self) -> str:
        """Return what is to be seen, a line each."""
        return self._tmux("capture-pane", "-p", "-J")

    def shows(self, is_there: Callable[[str], object]) -> str:
        """Wait for a screen that *is_there* accepts, and return it."""
        deadline = time.monotonic() + _LIMIT_S
        while not is_there(screen := self.screen()):
            if time.monotonic() > deadline:
                pytest.fail(f"the terminal does not show it:\n{screen}")
            time.sleep(0.1)
        return screen

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run([*self._argv, *arguments], capture_output=True, text=True, check=True)
        return done.stdout


@contextmanager
def terminal(
    command: str, environment: Mapping[str, str], *, width: int = 140, height: int = 40
) -> Iterator[Terminal]:
    """Run *command* in a terminal."""
    if shutil.which("tmux") is None:
        pytest.skip("no `tmux` on PATH")
    opened = Terminal(f"gadgetops-{uuid.uuid4().hex}")
    opened.start(command, environment, width, height)
    try:
        yield opened
    finally:
        opened.stop()
