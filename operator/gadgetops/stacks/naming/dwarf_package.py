"""
Functions and lines of a program whose split debug information is in a package, `PROGRAM.dwp`.

libdw reads packages since 0.191, and Debian 12 has 0.188; llvm-symbolizer reads them. It is asked if it is
installed: one process for each such program, for as long as there are questions.
"""

import json
import os
import re
import select
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from gadgetops.stacks.naming.debug_info import Scope

_TOOL: Final = "llvm-symbolizer"
_ANSWER_S: Final = 60.0
"""How long one answer may take; the first one takes longest."""
_MOST_ANSWER_BYTES: Final = 1 << 20
_MOST_FRAMES: Final = 256
_LOCAL_NAME: Final = re.compile(r"_ZL(\d{1,4})(\w+)")
"""Linkage name of a static C++ function, which is shown without parameters, as in `debug_info`."""
_READ_BYTES: Final = 1 << 16


def find_package(program: Path, own_name: Path) -> Path | None:
    """
    Return the package of a program, if it has one.

    Args:
        program: Where it can be read; its name may be another one there.
        own_name: Where it has its name.
    """
    places = [Path(f"{path}.dwp") for path in (own_name, _target(program))]
    return next((place for place in places if place.is_file()), None)


def _target(path: Path) -> Path:
    """Return *path* without links; where that cannot be told, *path*."""
    try:
        return path.resolve()
    except OSError:
        return path


class DwarfPackage:
    """
    The debug information of a program with a package. Knows nothing without llvm-symbolizer.

    Args:
        program: The program.
        package: Its package.
    """

    def __init__(self, program: Path, package: Path) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        tool = shutil.which(_TOOL)
        if tool is not None:
            self._folder = tempfile.TemporaryDirectory(prefix="gadgetops-")
            with suppress(OSError):
                self._start(tool, Path(self._folder.name), program, package)

    def __del__(self) -> None:
        self._stop()
        if self._folder is not None:
            self._folder.cleanup()

    def scopes(self, address: int) -> list[Scope]:
        """Return the functions at *address* of the program, the innermost inlined one first."""
        answer = self._ask(address)
        try:
            frames = json.loads(answer)["Symbol"] if answer else []
            return [_scope(frame) for frame in frames[:_MOST_FRAMES]]
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return []

    def _start(self, tool: str, folder: Path, program: Path, package: Path) -> None:
        # The tool finds the package by the program's name, which a kept file does not have any more.
        (folder / "program").symlink_to(_in_other_processes(program))
        (folder / "program.dwp").symlink_to(_in_other_processes(package))
        options = ["--output-style=JSON", "--no-demangle", f"--obj={folder / 'program'}"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([tool, *options], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)

    def _ask(self, address: int) -> bytes:
        """Return a line of the tool; nothing once it has ended or does not answer in time."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return b""
        answer = b""
        with suppress(OSError):
            process.stdin.write(b"0x%x\n" % address)
            process.stdin.flush()
            while len(answer) < _MOST_ANSWER_BYTES and select.select([process.stdout], [], [], _ANSWER_S)[0]:
                block = os.read(process.stdout.fileno(), _READ_BYTES)
                answer += block
                if not block or answer.endswith(b"\n"):
                    break
        if not answer.endswith(b"\n"):
            self._stop()
            return b""
        return answer

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()


def _in_other_processes(path: Path) -> str:
    """Return *path* as a child has it too: this process's descriptors are its own."""
    return str(path.absolute()).replace("/proc/self/", f"/proc/{os.getpid()}/", 1)


def _scope(frame: dict[str, Any]) -> Scope:
    name, file, line = str(frame["FunctionName"]), str(frame["FileName"]), frame["Line"]
    if local := _LOCAL_NAME.match(name):
        name = local[2][: int(local[1])]
    return Scope(name or None, file or None, line if isinstance(line, int) and line > 0 else None)
