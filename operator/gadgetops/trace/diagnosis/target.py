"""What can be recorded of one running process, and what a recording of it costs."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from gadgetops import process
from gadgetops.errors import GadgetOpsError, ToolError, TraceError
from gadgetops.findings import Finding, asked
from gadgetops.stacks.naming.files import build_id_of
from gadgetops.stacks.naming.symbols import DEBUG_FOLDER, debug_files
from gadgetops.stacks.unwinding.frame_pointers import need_no_slices
from gadgetops.system_packages import debug_package
from gadgetops.trace.cost.price import price_of
from gadgetops.trace.probes.allocator import Allocator, allocators_of_process
from gadgetops.trace.probes.executable import read_executable
from gadgetops.trace.probes.link_map import Mapped, mapped_objects
from gadgetops.trace.processes import descendants_of, name_of, threads_of
from gadgetops.trace.targets.refusals import check_process
from gadgetops.units import plural

_PROCESS: Final = "process"
_MOST_FILES: Final = 6
_KNOWN_ALLOCATORS: Final = ("jemalloc", "tcmalloc", "mimalloc", "tbbmalloc", "snmalloc", "rpmalloc")
_C_LIBRARIES: Final = ("libc.", "libc-", "ld-musl")
_GLIBC: Final = re.compile(rb"GNU C Library [^\n]*? version (\d+\.\d+)")
_INTERPRETERS: Final[Mapping[str, tuple[str, str | None]]] = {
    r"libpython[\d.]+|python[\d.]*": (
        "Python",
        "start it with PYTHONMALLOC=malloc to see every object; pymalloc takes whole arenas",
    ),
    "libjvm": ("Java", "Java's heap is not seen: only what the JVM and native code allocate"),
    "node|nodejs": ("node", "V8's heap is not seen: only what node and native code allocate"),
    r"libruby[\d.-]*|ruby[\d.]*": ("Ruby", "Ruby's heap is seen as pages; what objects point to is seen"),
    "libperl|perl": ("Perl", None),
}
"""Names of files, without `.so` and what follows -> the interpreter, and what to know about it."""


def process_findings(pid: int) -> Iterator[Finding]:
    """
    Yield what was found of process *pid*.

    Its calls are counted for a quarter of a second, by probes like those of a recording.
    """
    try:
        check_process(pid)
        mapped = mapped_objects(pid)
    except TraceError as error:
        yield Finding(_PROCESS, "process", "missing", error.problem, error.hint, is_needed=True)
        return
    yield Finding(_PROCESS, "process", "works", f"{pid} ({name_of(pid)}), {_relatives(pid)}")
    allocators: list[Allocator] = []
    yield asked(_PROCESS, "allocator", lambda: _allocator(pid, allocators), is_needed=True)
    yield _c_library(mapped)
    yield from _interpreter(mapped)
    yield _stacks(pid, mapped)
    yield _debug_files(pid, mapped)
    if allocators:
        yield asked(_PROCESS, "cost", lambda: _cost(allocators), otherwise="unknown")


def _relatives(pid: int) -> str:
    children = descendants_of([pid])
    recorded = ", recorded with it unless --no-children" if children else ""
    return f"{plural(len(threads_of(pid)), 'thread')}, {plural(len(children), 'child', 'children')}{recorded}"


def _allocator(pid: int, found: list[Allocator]) -> str:
    found += allocators_of_process(pid)
    files = [each for each in found if "malloc" in each.functions]
    return ", ".join(_named(each) for each in files)


def _named(allocator: Allocator) -> str:
    return f"{_kind(allocator)} in {allocator.path}"


def _kind(allocator: Allocator) -> str:
    name = allocator.path.name
    if known := next((known for known in _KNOWN_ALLOCATORS if known in name), None):
        return known
    if name.startswith(_C_LIBRARIES):
        return "the C library's"
    return next((known for known, mark in _MARKS.items() if _defines(allocator, mark)), "its own")


_MARKS: Final = {"jemalloc": "mallctl", "tcmalloc": "MallocExtension_Initialize", "mimalloc": "mi_malloc"}
"""Allocator -> a function that it alone has, for programs that it is linked into."""


def _defines(allocator: Allocator, function: str) -> bool:
    return bool(allocator.executable.functions(function, exported_only=False))


def _c_library(mapped: Sequence[Mapped]) -> Finding:
    for each in mapped:
        if each.path.name.startswith(("ld-musl", "libc.musl")):
            return Finding(_PROCESS, "C library", "works", f"musl, {each.path}")
        if each.path.name.startswith(("libc.so", "libc-2")):
            return Finding(_PROCESS, "C library", "works", f"glibc{_glibc_version(each.probed)}, {each.path}")
    return Finding(_PROCESS, "C library", "works", "none is mapped: a static program")


def _glibc_version(path: Path) -> str:
    try:
        found = _GLIBC.search(path.read_bytes())
    except OSError:
        return ""
    return f" {found[1].decode()}" if found else ""


def _interpreter(mapped: Sequence[Mapped]) -> Iterator[Finding]:
    if mapped and _is_go(mapped[0]):
        yield Finding(_PROCESS, "language", "limited", "Go, which allocates by itself", "use Go's own pprof")
    for each in mapped:
        stem = each.path.name.partition(".so")[0]
        for pattern, (language, advice) in _INTERPRETERS.items():
            if re.fullmatch(pattern, stem):
                yield Finding(_PROCESS, "language", "works", f"{language}, {each.path}", advice)
                return


def _is_go(mapped: Mapped) -> bool:
    try:
        return read_executable(mapped.probed).is_go
    except GadgetOpsError:
        return False


def _stacks(pid: int, mapped: Sequence[Mapped]) -> Finding:
    without = [each.path for each in mapped if not need_no_slices(pid, frozenset([str(each.path)]))]
    if not without:
        return Finding(_PROCESS, "stacks", "works", "all code keeps frame pointers: the cheapest stacks")
    detail = f"no frame pointers in {_few(without)}: stacks are copied and unwound"
    return Finding(
        _PROCESS, "stacks", "works", detail, "--unwind fp is cheaper, and cuts stacks that pass through them"
    )


def _debug_files(pid: int, mapped: Sequence[Mapped]) -> Finding:
    without = [each.path for each in mapped if not _has_names(pid, each)]
    if not without:
        return Finding(_PROCESS, "names", "works", "all files have their symbols, or debug files")
    packages = dict.fromkeys(filter(None, map(_package_of, without[:_MOST_FILES])))
    ways = dict.fromkeys(filter(None, map(debug_package, packages)))
    return Finding(
        _PROCESS,
        "names",
        "limited",
        f"without debug files: {_few(without)}",
        "; ".join(ways) or "keep the files with symbols beside them, or build with -g",
    )


def _has_names(pid: int, mapped: Mapped) -> bool:
    try:
        elf = read_executable(mapped.probed)
    except GadgetOpsError:
        return True  # no ELF file: nothing that could have names
    folder = Path(f"/proc/{pid}/root{mapped.path.parent}")
    roots = [DEBUG_FOLDER, Path(f"/proc/{pid}/root{DEBUG_FOLDER}")]
    has_file = debug_files(mapped.probed, build_id_of(mapped.probed), folder, str(mapped.path.parent), roots)
    return bool(has_file) or elf.has_all_functions


def _package_of(path: Path) -> str | None:
    """Return the Debian or RPM package that *path* is from; None where nobody knows."""
    without_usr = Path("/", *path.parts[2:]) if path.parts[1:2] == ("usr",) else path
    commands = (
        ["dpkg", "-S", str(path)],
        ["dpkg", "-S", str(without_usr)],
        ["rpm", "-qf", "--qf", "%{name}", str(path)],
    )
    for command in commands:
        with contextlib.suppress(ToolError):
            return process.run(command).partition(":")[0].strip() or None
    return None


def _cost(allocators: Sequence[Allocator]) -> str:
    return price_of(allocators).sentence


def _few(paths: Sequence[Path]) -> str:
    names = ", ".join(str(path) for path in paths[:3])
    return names if len(paths) <= 3 else f"{names} and {len(paths) - 3} more"
