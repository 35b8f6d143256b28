"""
The library itself: where it is, and how it is compiled.

A wheel carries it for each architecture. In a checkout it is compiled for this machine when it is needed.
"""

import os
import platform
from pathlib import Path
from typing import Final

from gadgetops import process
from gadgetops.errors import NoPreloadLibrary
from gadgetops.products import product_folder

NAME: Final = "libgadgetops-preload.so"
PRODUCT: Final = "preload"
MACHINES: Final = ("x86_64", "aarch64")
"""What a wheel has it for, as uname(1) calls them."""
_SOURCES: Final = ("preload/*.c", "preload/*.h", "gadget/memop.h")
OPTIONS: Final = (
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    # malloc() and its kin are declared nowhere: they are what is defined.
    "-ffreestanding",
    "-fno-builtin",
    "-fPIC",
    "-fvisibility=hidden",
    # To find the caller by; the callers themselves need none.
    "-fno-omit-frame-pointer",
    "-fasynchronous-unwind-tables",
    # No C library: whichever the program has is used.
    "-nostdlib",
    "-shared",
    f"-Wl,-soname,{NAME}",
    "-Wl,-z,relro,-z,now,-z,nodelete",
)
_OF_MACHINE: Final = {"aarch64": ("-mno-outline-atomics",)}
"""Else atomic operations are calls of a compiler's library."""
_COMPILERS: Final = ("clang", "gcc", "cc")
_HINT: Final = "install a compiler: apt-get install clang; for arm64 elsewhere also gcc-aarch64-linux-gnu"


def find_library() -> Path:
    """
    Return the library for this machine.

    Raises:
        NoPreloadLibrary: There is none for it.
        NotFound: The package has been installed without it.
        StorageError: The user's cache cannot be written.
        ToolError: There is no compiler, or it fails.
    """
    machine = platform.machine()
    if machine not in MACHINES:
        raise NoPreloadLibrary(machine, known=MACHINES)
    return product_folder(PRODUCT, _SOURCES, _make_own) / machine / NAME


def make_libraries(project: Path, folder: Path) -> None:
    """Compile the library for all architectures, each into a folder of *folder*; the hook of a wheel."""
    for machine in MACHINES:
        compile_library(project, machine, folder / machine / NAME)


def _make_own(project: Path, folder: Path) -> None:
    machine = platform.machine()
    compile_library(project, machine, folder / machine / NAME)


def compile_library(project: Path, machine: str, output: Path) -> None:
    """
    Compile the library for *machine* into *output*.

    Args:
        project: The folder with its sources.
        machine: One of `MACHINES`.
        output: The new file.

    Raises:
        ToolError: There is no compiler, or it fails.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    files = sorted(map(str, (project / "preload").glob("*.c")))
    options = [*OPTIONS, *_OF_MACHINE.get(machine, ())]
    process.run([*_compiler(machine), *options, "-o", str(output), *files], hint=_HINT)


def _compiler(machine: str) -> list[str]:
    """Return the compiler for *machine*: clang compiles for all, gcc for its own."""
    found = [name for name in _COMPILERS if process.is_installed(name)]
    name = os.environ.get("GADGETOPS_CC") or (found[0] if found else _COMPILERS[0])
    if machine == platform.machine():
        return [name]
    return [name, f"--target={machine}-linux-gnu"] if "clang" in name else [f"{machine}-linux-gnu-gcc"]
