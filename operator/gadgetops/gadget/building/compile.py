"""Compiling a gadget's source to BPF objects: with the local clang, or another that does the same."""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, NamedTuple, Protocol

from gadgetops import __version__, process
from gadgetops.errors import SHOWN_OUTPUT_LINES, StorageError, ToolError
from gadgetops.gadget.building import headers
from gadgetops.gadget.building.buildfile import BuildFile
from gadgetops.gadget.building.cache import Entry, ObjectCache
from gadgetops.gadget.building.headers import HeaderSet
from gadgetops.gadget.building.toolchain import (
    HINT,
    SYSTEM_INCLUDES,
    Toolchain,
    compiler_options,
    include_folders,
)

MAX_WARNING_LINES: Final = 60
"""How much of what the compiler warns of is kept."""

OBJECT_FILE: Final = "object.o"
DEPENDENCY_FILE: Final = "object.d"

_MISSING: Final = (
    (r"'bpf/\w+\.h' file not found", HINT),
    (r"'vmlinux\.h' file not found", headers.VMLINUX_WAYS),
    (r"'gadget/[\w./]+' file not found", headers.WAYS),
)
"""What a compiler says of headers that are missing -> where to get them."""
_READ_BY_CLANG = ("CPATH", "C_INCLUDE_PATH", "SOURCE_DATE_EPOCH")


@dataclass(frozen=True)
class Compiled:
    """
    An object for one architecture.

    Attributes:
        architecture: `amd64` or `arm64`.
        content: The ELF; BTF kept, debug information stripped.
        inputs: Every file it was made from, the source first, relative to the gadget's folder.
        is_new: Whether it was compiled now; otherwise the input is what it was the last time.
        warnings: What clang said when it was compiled, lines as they came; empty if nothing.
    """

    architecture: str
    content: bytes
    inputs: tuple[Path, ...]
    is_new: bool
    warnings: str


class Output(NamedTuple):
    """An object just compiled, the rule that names what was read (-MD), and what clang said."""

    content: bytes
    dependencies: str
    messages: str


class Tools(Protocol):
    """A clang and an llvm-strip, wherever they are."""

    @property
    def sees_this_machine(self) -> bool:
        """Whether headers outside of the gadget's folder are this machine's."""

    @property
    def identity(self) -> str:
        """Equal text means equal output for equal input, but for headers of this machine."""

    def include_folders(self, folder: Path, source: Path, architecture: str) -> list[str]:
        """Return where headers are looked up, first one first, relative to *folder*."""

    def compile(self, folder: Path, source: Path, options: Sequence[str]) -> Output:
        """Return the stripped object of *source* in *folder*; raise `ToolError` if it does not compile."""


@dataclass(frozen=True)
class LocalTools:
    """The tools of this machine."""

    toolchain: Toolchain
    headers: HeaderSet | None = None
    includes: tuple[Path, ...] = ()
    btf: Path | None = None
    sees_this_machine: bool = True

    @classmethod
    def find(cls, request: BuildFile) -> "LocalTools":
        """
        Return those that `Toolchain.find` finds, with the headers that *request* asks for.

        Raises:
            GadgetOpsError: There is no compiler, or there are no such headers (`HeaderSet.find`).
        """
        wanted = request.headers or headers.of_environment()
        found = None if wanted is None else HeaderSet.find(wanted)
        return cls(Toolchain.find(), found, request.includes, request.btf)

    @property
    def identity(self) -> str:
        """Name and version of each, and of the headers."""
        return f"{self.toolchain}\n{self.toolchain.version}\n{self.headers and self.headers.name}"

    @property
    def aliases(self) -> Mapping[str, str]:
        """What folders with headers are called in objects and provenance, wherever they lie here."""
        found = {headers.compatibility_folder(): "gadgetops/compat"}
        if self.headers is not None:
            found[str(self.headers.folder)] = f"{self.headers.name.partition(' ')[0]}/include"
        return found | {str(each.resolve()): f"include/{each.name}" for each in self.includes}

    def include_folders(self, folder: Path, source: Path, architecture: str) -> list[str]:
        """Return the folders that exist here: those asked for, the gadget's own, the machine's."""
        asked_for = [
            *(str(each.resolve()) for each in self.includes),
            *(self.headers.folders(architecture) if self.headers else ()),
        ]
        there = [*asked_for, *include_folders(folder, source, architecture)]
        generated = None
        if not any((folder / each / "vmlinux.h").is_file() for each in there):
            beside = (folder / source).parent.glob("*.h")
            generated = headers.generated_vmlinux(architecture, self.btf, [folder / source, *beside])
        return [*there, *([] if generated is None else [str(generated)]), headers.compatibility_folder()]

    def compile(self, folder: Path, source: Path, options: Sequence[str]) -> Output:
        """Compile in *folder*; a `StorageError` if there is no room for the object."""
        with _scratch_folder() as scratch:
            arguments = compile_arguments(source, options, root=str(folder.resolve()), output=str(scratch))
            renamed = [f"-ffile-prefix-map={place}={alias}" for place, alias in self.aliases.items()]
            messages = _run([*self.toolchain.clang, *renamed, *arguments], folder)
            _run([*self.toolchain.strip, "-g", str(scratch / OBJECT_FILE)], folder)
            return Output(
                (scratch / OBJECT_FILE).read_bytes(),
                (scratch / DEPENDENCY_FILE).read_text(errors="surrogateescape"),
                messages,
            )


def compile_arguments(source: Path, options: Sequence[str], *, root: str, output: str) -> list[str]:
    """
    Return what clang is told, run in the gadget's folder.

    Args:
        source: Relative to that folder.
        options: As `compiler_options` has them.
        root: The folder's own path, which must not show in the object.
        output: Folder for `OBJECT_FILE` and `DEPENDENCY_FILE`.
    """
    return [
        *options,
        f"-ffile-prefix-map={root}=.",
        *("-MD", "-MF", f"{output}/{DEPENDENCY_FILE}", "-MT", "object"),
        *("-c", str(source), "-o", f"{output}/{OBJECT_FILE}"),
    ]


@dataclass(frozen=True)
class Compiler:
    """
    Compiles the source of one gadget.

    Attributes:
        folder: The gadget's folder, in which clang runs.
        source: The C source, relative to it.
        cflags: Further options; `@ARCH@` stands for the architecture.
        tools: What compiles.
        cache: Where objects of earlier builds are.
    """

    folder: Path
    source: Path
    cflags: tuple[str, ...]
    tools: Tools
    cache: ObjectCache

    def compile(self, architecture: str) -> Compiled:
        """
        Return the object for *architecture*: the same bytes for the same input, in whatever folder.

        Raises:
            ToolError: A tool is missing, or the source does not compile; clang's last lines, paths relative.
            EngineError: Tools in a container, and no engine that runs it.
            StorageError: There is no room for the object.
        """
        includes = self.tools.include_folders(self.folder, self.source, architecture)
        options = compiler_options(architecture, includes, self.cflags)
        command = self._command(options)
        name = f"{self.folder.resolve() / self.source} {architecture}"
        entry = self.cache.get(name)
        is_new = entry is None or not entry.holds(self.folder, command)
        if entry is None or is_new:
            entry = self._compile(command, options, includes)
            self.cache.put(name, entry)
        return Compiled(architecture, entry.content, tuple(map(Path, entry.inputs)), is_new, entry.warnings)

    def _command(self, options: list[str]) -> str:
        """Return all that decides on the object besides the files that are read."""
        environment = {name: os.environ[name] for name in _READ_BY_CLANG if name in os.environ}
        return "\n".join(map(str, [self.tools.identity, options, environment, __version__]))

    def _compile(self, command: str, options: list[str], includes: list[str]) -> Entry:
        output = self.tools.compile(self.folder, self.source, options)
        read = list(parse_dependencies(output.dependencies))
        absent = shadowing(read, [str(self.source.parent), *includes, *SYSTEM_INCLUDES])
        return Entry.of(
            self.folder,
            command=command,
            inputs=[name for name in read if self._is_here(name)],
            absent=[name for name in absent if self._is_here(name) and not (self.folder / name).exists()],
            content=output.content,
            warnings=bounded(output.messages),
        )

    def _is_here(self, name: str) -> bool:
        """Return whether *name* means a file of this machine; of a container's own its image decides."""
        return self.tools.sees_this_machine or not PurePath(name).is_absolute()


def _run(argv: list[str], folder: Path) -> str:
    try:
        return process.complete(argv, cwd=folder, hint=HINT).err
    except ToolError as error:
        hint = next((way for pattern, way in _MISSING if re.search(pattern, error.output)), None)
        output = _from_first_error(error.output)
        raise ToolError(argv, status=error.status, output=output, hint=hint or error.hint) from error


def _from_first_error(output: str) -> str:
    """
    Return what a person needs of a compiler's words: from the first error on, and what a crash is about.

    Notes of where a header was included stand before it; a crash prints a hundred lines of stack after it.
    """
    lines = output.strip().splitlines()
    crash = next((n for n, line in enumerate(lines) if line.startswith("PLEASE submit a bug report")), None)
    fatal = [line for line in lines if "fatal error: error in backend" in line or "LLVM ERROR" in line]
    if crash is not None:
        why = fatal or lines[max(0, crash - 3) : crash]
        return "\n".join([*why, "the compiler crashed: try another, such as CLANG=clang-19"])
    first = next((n for n, line in enumerate(lines) if re.search(r"\berror: ", line)), 0)
    shown = lines[first : first + SHOWN_OUTPUT_LINES - 1]
    left_out = len(lines) - first - len(shown)
    return "\n".join([*shown, *([f"… {left_out} lines left out …"] if left_out > 0 else [])])


def bounded(messages: str) -> str:
    """Return *messages* of a tool, cut to what a person reads, with a word on what was left out."""
    lines = messages.strip().splitlines()
    left_out = len(lines) - MAX_WARNING_LINES
    if left_out > 0:
        lines = [*lines[:MAX_WARNING_LINES], f"… {left_out} lines left out …"]
    return "\n".join(line[:400] for line in lines)


def parse_dependencies(text: str) -> Iterator[str]:
    """
    Yield the files that a makefile rule `target: file…` names, as clang writes it with -MD.

    A line continues after a backslash; a space or # in a name stands after one, and $ is doubled.
    """
    _, _, names = text.replace("\\\n", " ").partition(":")
    for name in re.findall(r"(?:\\.|[^\\\s])+", names):
        yield re.sub(r"\\([ #])", r"\1", name).replace("$$", "$")


def shadowing(inputs: Iterable[str], searched: list[str]) -> set[str]:
    """
    Return the paths at which a file, were it there, could be read in place of one of *inputs*.

    Args:
        inputs: Files that were read.
        searched: Folders in which headers are looked up, first one first.
    """
    return {
        str(PurePath(earlier) / PurePath(name).relative_to(folder))
        for name in inputs
        for position, folder in enumerate(searched)
        if PurePath(name).is_relative_to(folder)
        for earlier in searched[:position]
    }


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """Make a folder for the time of a `with`; what cannot be written or read in it is a `StorageError`."""
    scratch = Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryDirectory(prefix="gadgetops-") as name:
            scratch = Path(name)
            yield scratch
    except OSError as error:
        raise StorageError.from_os_error(error, scratch) from error
