"""
What to trace, and how others are kept out of it.

A command runs in a mount namespace of its own, in which a private copy of its C library lies over the real
one. The copy's inode belongs to the command and its descendants alone, so that probes on it cost nobody else
anything, from the first allocation on. A running process is reached through perf's process filter instead.
"""

import contextlib
import ctypes
import errno
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from gadgetops.errors import KernelRefused, NoSuchProgram, StorageError, UsageError
from gadgetops.trace.c_library import libc
from gadgetops.trace.probes.program import SHELL, locate
from gadgetops.trace.processes import start_time
from gadgetops.trace.resource_limits import restore_limits

_CLONE_NEWNS: Final = 0x00020000
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 0x40000
_REFUSED, _NOT_FOUND = 126, 127
"""Exit statuses of what cannot be executed, as a shell has them."""
_CAPABILITY: Final = "security.capability"
_COPIES: Final = "gadgetops-libraries-"
"""Begins the name of a folder of copies; its recorder's process and when that began follow."""


@contextlib.contextmanager
def private_copies(libraries: Sequence[Path]) -> Iterator[dict[Path, Path]]:
    """
    Yield a copy of each of *libraries*, by its original, on a file system from which code may run.

    They are removed afterwards, and those first that a killed recorder has left there.

    Raises:
        StorageError: There is no room for it.
    """
    folder = _place()
    _remove_those_of_the_dead(Path(folder))
    owner = f"{_COPIES}{os.getpid()}-{start_time(os.getpid())}-"
    with tempfile.TemporaryDirectory(prefix=owner, dir=folder) as name:
        # Nobody else is to find a copy there, whose mode may be set-user-ID: it is reached through its mount.
        yield {library: _copy(library, Path(name) / str(n)) for n, library in enumerate(libraries)}


def _remove_those_of_the_dead(folder: Path) -> None:
    """
    Remove the copies in *folder* whose recorder is gone; those of other users stay.

    A command that lives on keeps its library: it is mounted, whatever becomes of its name.
    """
    for each in folder.glob(f"{_COPIES}*-*-*"):
        pid, began, _ = each.name.removeprefix(_COPIES).split("-", 2)
        if not (pid.isdecimal() and start_time(int(pid)) == began):
            shutil.rmtree(each, ignore_errors=True)


def _copy(library: Path, folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    try:
        return _copied(library, folder / library.name)
    except OSError as error:
        raise StorageError.from_os_error(error, folder / library.name) from error


def _copied(original: Path, copy: Path) -> Path:
    """Copy contents, owner, mode and capabilities, in this order: a set-user-ID bit is worth its owner's."""
    shutil.copyfile(original, copy)
    status = original.stat()
    os.chown(copy, status.st_uid, status.st_gid)
    copy.chmod(stat.S_IMODE(status.st_mode))
    with contextlib.suppress(OSError):
        os.setxattr(copy, _CAPABILITY, os.getxattr(original, _CAPABILITY))
    return copy


def _place() -> str:
    """Return a folder from which code may run, if possible with the rights that a file there gives."""
    places = ("/tmp", "/var/tmp", "/run")  # noqa: S108
    executable = [place for place in places if not _flags(place) & os.ST_NOEXEC]
    with_rights = [place for place in executable if not _flags(place) & os.ST_NOSUID]
    return next(iter([*with_rights, *executable]), tempfile.gettempdir())


def _flags(place: str) -> int:
    try:
        return os.statvfs(place).f_flag
    except OSError:
        return os.ST_NOEXEC


class Command:
    """
    A command that is ready to run with *copies* lying over their originals, and waits for `start`.

    Args:
        argv: The command; as for execvp(3), what is neither a program nor names its interpreter is a shell's.
        copies: What `private_copies` made.
        environment: Variables that it has besides ours.

    Raises:
        TraceError: It may not have a mount namespace of its own.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        copies: Mapping[Path, Path],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._argv = list(argv)
        self._environment = environment or {}
        ready_read, ready_write = os.pipe()
        self._go_read, self._go_write = os.pipe()
        self.exit_status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.close(ready_read)
            os.close(self._go_write)
            self._become(copies, ready_write)
        os.close(ready_write)
        os.close(self._go_read)
        with os.fdopen(ready_read) as ready:
            problem = ready.read()
        if problem:
            self.poll(wait=True)
            raise KernelRefused("no mount namespace for the command", problem, hint="run as root")

    def start(self) -> None:
        """Let the command run."""
        os.write(self._go_write, b"!")
        os.close(self._go_write)

    def cancel(self) -> None:
        """End the process that was to become the command, before it does."""
        os.close(self._go_write)
        os.kill(self.pid, signal.SIGKILL)
        self.poll(wait=True)

    def poll(self, *, wait: bool = False) -> int | None:
        """Return the exit status (128 and more: killed by a signal), or None while it runs."""
        if self.exit_status is None:
            pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.exit_status = code if code >= 0 else 128 - code
        return self.exit_status

    def _become(self, copies: Mapping[Path, Path], ready: int) -> None:
        """Turn the forked child into the command. Never returns."""
        try:
            if copies:
                _lay_over(copies)
        except OSError as error:
            os.write(ready, str(error.strerror).encode())
            os._exit(_NOT_FOUND)
        os.close(ready)
        if os.read(self._go_read, 1):
            restore_limits()
            os.environ.update(self._environment)
            try:
                _execute(self._argv)
            except (OSError, UsageError) as error:
                os.write(2, os.fsencode(f"gadgetops: error: {self._argv[0]}: {_reason(error)}\n"))
                os._exit(_NOT_FOUND if isinstance(error, FileNotFoundError | NoSuchProgram) else _REFUSED)
        os._exit(_NOT_FOUND)


def _reason(error: OSError | UsageError) -> str:
    return str(error if isinstance(error, UsageError) else error.strerror)


def _execute(argv: Sequence[str]) -> None:
    """Become *argv*, as execvp(3) does. Returns never, or raises."""
    # Python ignores these, and what is ignored stays so: a pipe's writer would not end with its reader.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    file = locate(argv[0])
    try:
        os.execv(file, [*argv])  # noqa: S606
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        os.execv(SHELL, [SHELL, file, *argv[1:]])  # noqa: S606


def _lay_over(copies: Mapping[Path, Path]) -> None:
    """Mount *copies* over their originals, for this process and its descendants alone."""
    _check(libc.unshare(_CLONE_NEWNS))
    _check(libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None))
    for library, copy in copies.items():
        _check(libc.mount(os.fsencode(copy), os.fsencode(library), None, ctypes.c_ulong(_MS_BIND), None))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
