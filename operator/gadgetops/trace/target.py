"""
What to trace: which file holds the allocator, where its functions begin, and how others are kept out of it.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from elftools.elf.segments import InterpSegment

from gadgetops import process
from gadgetops.errors import StorageError, TraceError, UsageError
from gadgetops.trace.machine import libc

_CLONE_NEWNS: Final = 0x00020000
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 0x40000
_EXEC_FAILED: Final = 127


@dataclass(frozen=True)
class Allocator:
    """
    The file whose functions are probed.

    Attributes:
        path: As the target sees it.
        probed: The file to put probes on: the same, a private copy, or the way to it through /proc.
        offsets_bytes: File offset of each function that it has, by name.
        pid: The process to which probes are limited; None for all that map the file.
    """

    path: Path
    probed: Path
    offsets_bytes: dict[str, int]
    pid: int | None


def function_offsets(path: Path) -> dict[str, int]:
    """
    Return the file offset in bytes of each function that *path* exports or defines, by name.

    Raises:
        TraceError: It is no ELF file.
        StorageError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            segments = list(elf.iter_segments("PT_LOAD"))
            return dict(_functions(elf, segments))
    except (ELFError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: not an ELF file: {error}") from error
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error


def _functions(elf: ELFFile, segments: Sequence[object]) -> Iterator[tuple[str, int]]:
    for name in (".dynsym", ".symtab"):
        section = elf.get_section_by_name(name)
        for symbol in section.iter_symbols() if isinstance(section, SymbolTableSection) else ():
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_value"]:
                yield symbol.name, _file_offset(segments, symbol["st_value"])


def _file_offset(segments: Sequence[object], address: int) -> int:
    for segment in segments:
        start, size = segment["p_vaddr"], segment["p_filesz"]  # type: ignore[index]
        if start <= address < start + size:
            return int(address - start + segment["p_offset"])  # type: ignore[index]
    return address


def allocator_of_process(pid: int) -> Allocator:
    """
    Return where process *pid* has its allocator: the C library it maps, else its own executable.

    Raises:
        TraceError: No such process, or nothing in it defines malloc.
    """
    try:
        mapped = _executable_mappings(pid)
    except FileNotFoundError as error:
        raise TraceError(f"no process {pid}", hint="`ps` shows the running ones") from error
    candidates = [path for path in mapped if _is_c_library(path)] + mapped[:1]
    for path in candidates:
        probed = Path(f"/proc/{pid}/root") / path.relative_to("/")
        offsets = function_offsets(probed)
        if "malloc" in offsets:
            return Allocator(path, probed, offsets, pid)
    raise TraceError(f"process {pid}: no malloc in {', '.join(map(str, candidates)) or 'what it maps'}")


def is_alive(pid: int) -> bool:
    """Return whether process *pid* still runs; one that its parent has not waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return status.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def _executable_mappings(pid: int) -> list[Path]:
    lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
    paths = (line.split(maxsplit=5)[5:] for line in lines if "x" in line.split()[1])
    return [Path(path[0]) for path in paths if path and path[0].startswith("/")]


def _is_c_library(path: Path) -> bool:
    return path.name.startswith(("libc.so", "libc-2.", "ld-musl", "libc.musl"))


def library_of_command(executable: Path) -> Path:
    """
    Return the file that will hold the allocator of *executable*: its C library, or itself when it is static.

    A script is followed to its interpreter. The library is asked of the executable's own dynamic linker.

    Raises:
        TraceError: It is no program that can be traced.
    """
    interpreter = _script_interpreter(executable)
    if interpreter is not None:
        return library_of_command(interpreter)
    linker = _dynamic_linker(executable)
    if linker is None:
        return executable.resolve()
    listing = process.run([linker, "--list", str(executable)])
    paths = [Path(line.split("=>")[1].split()[0]) for line in listing.splitlines() if " => /" in line]
    found = next((path for path in paths if _is_c_library(path)), Path(linker))
    return found.resolve()


def _script_interpreter(executable: Path) -> Path | None:
    with executable.open("rb") as stream:
        line = stream.readline(256)
    if not line.startswith(b"#!"):
        return None
    words = line[2:].decode(errors="replace").split()
    if Path(words[0]).name == "env" and len(words) > 1:
        return find_program(words[-1])
    return Path(words[0])


def _dynamic_linker(executable: Path) -> str | None:
    try:
        with executable.open("rb") as stream:
            headers = ELFFile(stream).iter_segments("PT_INTERP")
            names = (header.get_interp_name() for header in headers if isinstance(header, InterpSegment))
            return next(names, None)
    except ELFError as error:
        raise TraceError(f"{executable}: not a program: {error}") from error


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
