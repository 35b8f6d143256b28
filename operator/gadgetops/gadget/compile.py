"""Compiling a gadget's source to BPF objects with a local clang."""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

from gadgetops import __version__, process
from gadgetops.errors import StorageError, ToolError
from gadgetops.gadget.cache import Entry, ObjectCache
from gadgetops.gadget.toolchain import HINT, SYSTEM_INCLUDES, Toolchain, compiler_options, include_folders

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
    """

    architecture: str
    content: bytes
    inputs: tuple[Path, ...]
    is_new: bool


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
    tools: Toolchain
    cache: ObjectCache

    def compile(self, architecture: str) -> Compiled:
        """
        Return the object for *architecture*: the same bytes for the same input, in whatever folder.

        Raises:
            ToolError: A tool is missing, or the source does not compile; clang's last lines, paths relative.
            StorageError: There is no room for the object.
        """
        command = self._command(architecture)
        name = f"{self.folder.resolve() / self.source} {architecture}"
        entry = self.cache.get(name)
        is_new = entry is None or not entry.holds(self.folder, command)
        if entry is None or is_new:
            entry = self._compile(architecture, command)
            self.cache.put(name, entry)
        return Compiled(architecture, entry.content, tuple(map(Path, entry.inputs)), is_new)

    def _command(self, architecture: str) -> str:
        """Return all that decides on the object besides the files that are read."""
        environment = {name: os.environ[name] for name in _READ_BY_CLANG if name in os.environ}
        parts = [self.tools, self.tools.version, self._options(architecture), environment, __version__]
        return "\n".join(map(str, parts))

    def _includes(self, architecture: str) -> list[str]:
        return include_folders(self.folder, self.source, architecture)

    def _options(self, architecture: str) -> list[str]:
        return compiler_options(architecture, self._includes(architecture), self.cflags)

    def _compile(self, architecture: str, command: str) -> Entry:
        with _scratch_folder() as scratch:
            output, dependencies = scratch / "object.o", scratch / "object.d"
            prefix_map = f"-ffile-prefix-map={self.folder.resolve()}=."
            argv = [*self.tools.clang, *self._options(architecture), prefix_map]
            argv += [
                "-MD",
                "-MF",
                str(dependencies),
                "-MT",
                "object",
                "-c",
                str(self.source),
                "-o",
                str(output),
            ]
            self._run(argv)
            self._run([*self.tools.strip, "-g", str(output)])
            inputs = list(parse_dependencies(dependencies.read_text(errors="surrogateescape")))
            searched = [str(self.source.parent), *self._includes(architecture), *SYSTEM_INCLUDES]
            return Entry.of(
                self.folder,
                command=command,
                inputs=inputs,
                absent=[name for name in shadowing(inputs, searched) if not (self.folder / name).exists()],
                content=output.read_bytes(),
            )

    def _run(self, argv: list[str]) -> None:
        try:
            process.run(argv, cwd=self.folder, hint=HINT)
        except ToolError as error:
            if re.search(r"'bpf/\w+\.h' file not found", error.output):
                raise ToolError(argv, status=error.status, output=error.output, hint=HINT) from error
            raise


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
