"""
What to trace, and how others are kept out of it.

A command runs in a mount namespace of its own, in which a private copy of its C library lies over the real
one. The copy's inode belongs to the command and its descendants alone, so that probes on it cost nobody else
anything, from the first allocation on. A running process is reached through perf's process filter instead.
"""

import contextlib
import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from gadgetops.errors import StorageError, TraceError, UsageError
from gadgetops.trace.machine import libc

_CLONE_NEWNS: Final = 0x00020000
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 0x40000
_EXEC_FAILED: Final = 127


def is_alive(pid: int) -> bool:
    """Return whether process *pid* still runs; one that its parent has not waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return status.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def find_program(name: str) -> Path:
    """
    Return the path of program *name*, looked up on PATH.

    Raises:
        UsageError: There is none.
    """
    found = shutil.which(name)
    if found is None:
        raise UsageError(f"{name}: no such program", hint="give its path, or see PATH")
    return Path(found).absolute()


@contextlib.contextmanager
def private_copy(library: Path) -> Iterator[Path]:
    """
    Yield a copy of *library*, removed afterwards, on a file system from which code may run.

    Raises:
        StorageError: There is no room for it.
    """
    folder = next((place for place in ("/tmp", "/var/tmp", "/run") if _may_execute(place)), None)  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="gadgetops-", dir=folder) as name:
        Path(name).chmod(0o755)
        copy = Path(name) / library.name
        try:
            shutil.copy(library, copy)
        except OSError as error:
            raise StorageError.from_os_error(error, copy) from error
        yield copy


def _may_execute(place: str) -> bool:
    try:
        return not os.statvfs(place).f_flag & os.ST_NOEXEC
    except OSError:
        return False


class Command:
    """
    A command that is ready to run with *copy* lying over *library*, and waits for `start`.

    Raises:
        TraceError: It may not have a mount namespace of its own.
    """

    def __init__(self, argv: Sequence[str], *, library: Path, copy: Path) -> None:
        self._argv = list(argv)
        ready_read, ready_write = os.pipe()
        self._go_read, self._go_write = os.pipe()
        self.exit_status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.close(ready_read)
            os.close(self._go_write)
            self._become(library, copy, ready_write)
        os.close(ready_write)
        os.close(self._go_read)
        with os.fdopen(ready_read) as ready:
            problem = ready.read()
        if problem:
            self.poll(wait=True)
            raise TraceError(f"no mount namespace for the command: {problem}", hint="run as root")

    def start(self) -> None:
        """Let the command run."""
        os.write(self._go_write, b"!")
        os.close(self._go_write)

    def poll(self, *, wait: bool = False) -> int | None:
        """Return the exit status (128 and more: killed by a signal), or None while it runs."""
        if self.exit_status is None:
            pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.exit_status = code if code >= 0 else 128 - code
        return self.exit_status

    def _become(self, library: Path, copy: Path, ready: int) -> None:
        """Turn the forked child into the command. Never returns."""
        try:
            _lay_over(copy, library)
        except OSError as error:
            os.write(ready, str(error.strerror).encode())
            os._exit(_EXEC_FAILED)
        os.close(ready)
        if os.read(self._go_read, 1):
            try:
                os.execvp(self._argv[0], self._argv)  # noqa: S606
            except OSError as error:
                os.write(2, f"gadgetops: error: {self._argv[0]}: {error.strerror}\n".encode())
        os._exit(_EXEC_FAILED)


def _lay_over(copy: Path, library: Path) -> None:
    """Mount *copy* over *library*, for this process and its descendants alone."""
    calls = (
        lambda: libc.unshare(_CLONE_NEWNS),
        lambda: libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None),
        lambda: libc.mount(os.fsencode(copy), os.fsencode(library), None, ctypes.c_ulong(_MS_BIND), None),
    )
    for call in calls:
        if call() != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
