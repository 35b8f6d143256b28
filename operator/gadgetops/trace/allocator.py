"""Which file holds the allocator of a program, and where in it the functions begin."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from elftools.elf.segments import InterpSegment

from gadgetops import process
from gadgetops.errors import StorageError, TraceError
from gadgetops.trace.target import find_program


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
