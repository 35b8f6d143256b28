"""The compiler: which clang and llvm-strip there are, and what they are told."""

import os
import platform
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from gadgetops import process
from gadgetops.errors import ToolError
from gadgetops.system_packages import how_to_install

HINT: Final = f"install the compiler: {how_to_install('clang')}"

TARGETS: Final = {"amd64": "x86", "arm64": "arm64"}
"""Architectures a gadget is built for, in Go's words -> in libbpf's, as its tracing macros want them."""

SYSTEM_INCLUDES: Final = ("/usr/local/include", "/usr/include")
"""Where clang looks by itself, in the end."""


@dataclass(frozen=True)
class Toolchain:
    """
    A clang and an llvm-strip.

    Attributes:
        clang: Program, and arguments if CLANG had any.
        strip: The same of llvm-strip.
    """

    clang: tuple[str, ...]
    strip: tuple[str, ...]

    @classmethod
    def find(cls) -> "Toolchain":
        """
        Return the tools that CLANG and LLVM_STRIP name, or `clang` and `llvm-strip`, or the newest on PATH.

        Raises:
            ToolError: There is no such tool.
        """
        return cls(_find("CLANG", "clang"), _find("LLVM_STRIP", "llvm-strip"))

    @cached_property
    def version(self) -> str:
        """What both tools say of themselves; equal text means equal output for equal input."""
        return "\n".join(process.run([*tool, "--version"], hint=HINT) for tool in (self.clang, self.strip))


def _find(variable: str, name: str) -> tuple[str, ...]:
    chosen = shlex.split(os.environ.get(variable, ""))
    if chosen:
        return tuple(chosen)
    if process.is_installed(name):
        return (name,)
    versioned = max(_versions_on_path(name), default=None)
    if versioned is None:
        raise ToolError([name], status=None, hint=HINT)
    return (f"{name}-{versioned}",)


def _versions_on_path(name: str) -> Iterator[int]:
    """Yield NN of each executable `name-NN`, as Debian calls the versions that are not the default."""
    for folder in os.get_exec_path():
        for path in Path(folder).glob(f"{name}-*"):
            match = re.fullmatch(rf"{name}-(\d+)", path.name)
            if match and shutil.which(path.name):
                yield int(match[1])


def include_folders(folder: Path, source: Path, architecture: str) -> list[str]:
    """
    Return the existing folders that headers are looked up in, first one first, relative to *folder*.

    The gadget's own `include` come first; then what ig 0.48 passes: the machine's multiarch headers, which
    `linux/types.h` needs, and ig's own headers where they are installed.
    """
    system = [f"/usr/include/{platform.machine()}-linux-gnu", f"/usr/include/gadget/{architecture}"]
    existing = [candidate for candidate in system if Path(candidate).is_dir()]
    return [*own_include_folders(folder, source, architecture), *existing]


def own_include_folders(folder: Path, source: Path, architecture: str) -> list[str]:
    """Return those of `include_folders` that are the gadget's own."""
    own = dict.fromkeys(str(parent / "include") for parent in (Path(), source.parent))
    candidates = [each for include in own for each in (include, f"{include}/gadget/{architecture}")]
    return [candidate for candidate in candidates if (folder / candidate).is_dir()]


def compiler_options(architecture: str, includes: list[str], cflags: tuple[str, ...]) -> list[str]:
    """
    Return the options that make the object of *architecture*, the same in whatever folder it is compiled.

    The base and its order are ig 0.48's. BTF is made from debug information, which names files: these names
    must not depend on where the gadget lies.
    """
    return [
        *("-target", "bpf", "-Wall", "-g", "-O2"),
        *(option.replace("@ARCH@", architecture) for option in cflags),
        f"-D__TARGET_ARCH_{TARGETS[architecture]}",
        *(f"-I{include}" for include in includes),
        "-fdebug-compilation-dir=.",
    ]
