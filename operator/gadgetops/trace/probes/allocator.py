"""
Which files hold the allocator of a program: those in which its calls of malloc and its kin end up.

Names are looked up as the dynamic linker does it, in the objects of a program in their order: a library that
is preloaded, or linked before the C library, comes first, and for what it does not define the C library
remains. So one program may have several such files. Functions of an allocator under names of its own count.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

from gadgetops.errors import GadgetOpsError, NoAllocator, TraceError
from gadgetops.recording.operations import OPERATIONS
from gadgetops.trace.probes.executable import Executable, Function, read_executable
from gadgetops.trace.probes.link_map import Mapped, mapped_objects
from gadgetops.trace.probes.program import Executed, executed_by, objects_of, why_unseen
from gadgetops.trace.probes.prologue import is_forwarder
from gadgetops.trace.probes.returns import NO_WITNESSES, Witnesses, is_return_seen
from gadgetops.trace.probes.variants import BY_REALLOC, FAMILIES, LIBRARY, Variant

FUNCTIONS: Final = tuple(each.name for each in OPERATIONS if each.n_arguments is not None)
"""What is looked for."""
PREFIXES: Final = ("je_", "_rjem_", "tc_", "mi_", "scalable_", "sn_", "rp")
"""Under which allocators have the same functions: jemalloc, also in Rust, tcmalloc, mimalloc, TBB, others."""
_NOTHROW, _ALIGNED = "RKSt9nothrow_t", "St11align_val_t"
_EQUIVALENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "malloc": (
        "mallocx",
        *(
            f"_Z{kind}m{rest}"
            for kind in ("nw", "na")
            for rest in ("", _NOTHROW, _ALIGNED, _ALIGNED + _NOTHROW)
        ),
    ),
    "free": (
        "cfree",
        "dallocx",
        "sdallocx",
        *(
            f"_Z{kind}Pv{rest}"
            for kind in ("dl", "da")
            for rest in ("", "m", _NOTHROW, _ALIGNED, f"m{_ALIGNED}", _ALIGNED + _NOTHROW)
        ),
    ),
    "realloc": ("rallocx",),
    "mmap": ("mmap64",),
}
"""
Functions of an allocator that do the same with the same first arguments: jemalloc's own, and `operator new`
and `delete` where the allocator itself defines them. Those of libstdc++ call malloc and free. Others are in
`variants`.
"""
_C_LIBRARY: Final = ("__libc_start_main",)
"""Functions that every C library has, and no allocator."""
_SETTINGS: Final = ("malloc_conf", "je_malloc_conf", "_rjem_malloc_conf")
"""Variables by which a program sets jemalloc up."""
_GO_REASON: Final = "a Go program has no malloc: Go's runtime allocates by itself"
_GO_HINT: Final = "use Go's own profiler, pprof; programs with cgo are seen as far as their C code allocates"
_RELEASES: Final = ("free",)
_WITHOUT_RETURN: Final = (*_RELEASES, "munmap")
"""What is reported when it is called."""


@dataclass(frozen=True)
class Allocator:
    """
    A file whose functions are probed.

    Attributes:
        path: As the target sees it.
        probed: The file to put probes on: the same, a private copy, or the way to it through /proc.
        functions: Where each function is, by the name in `FUNCTIONS`; never empty.
        executable: What is in the file.
        pid: The process to which probes are limited; None for all that map the file.
        witnesses: Who else looks at the stacks of its program.
        imported: Names of its variants (`variants`) that a file of the program takes from another one.
    """

    path: Path
    probed: Path
    functions: Mapping[str, tuple[Function, ...]] = field(hash=False)
    executable: Executable = field(compare=False)
    pid: int | None = None
    witnesses: Witnesses = NO_WITNESSES
    imported: frozenset[str] = field(default=frozenset(), compare=False)


class CommandAllocators(NamedTuple):
    """
    Where a command's allocators are.

    Args:
        found: Files whose functions are to be probed; may be none.
        unseen: Why nothing can be seen of what its last program allocates; None if it can.
    """

    found: list[Allocator]
    unseen: str | None


@dataclass(frozen=True)
class _Object:
    path: Path
    probed: Path
    executable: Executable


def allocators_of_process(pid: int, library: Path | None = None) -> list[Allocator]:
    """
    Return the files that hold the allocator of process *pid*, never none.

    Files that are mapped a second time are not read again.

    Args:
        pid: The process.
        library: Look here first, as the process sees it, whether it maps it or not.

    Raises:
        TraceError: No such process, or nothing that it maps, or *library*, defines an allocating function.
    """
    mapped = mapped_objects(pid)
    if library is not None:
        wanted = Mapped(library, Path(f"/proc/{pid}/root") / library.relative_to("/"))
        mapped = [next((m for m in mapped if m.path == library), wanted), *mapped]
    return _allocators(mapped, pid, f"process {pid}", library)


def allocators_of_command(argv: Sequence[str], library: Path | None = None) -> CommandAllocators:
    """
    Return the files that will hold the allocators of what *argv* executes in its first process.

    Args:
        argv: The command.
        library: Look here first.

    Raises:
        NoSuchProgram: It will not be found, or lacks its interpreter.
        NotExecutable: The kernel will refuse it.
        TraceError: *library* defines no allocating function.
    """
    found: list[Allocator] = []
    unseen: NoAllocator | None = None
    for executed in executed_by(argv):
        try:
            allocators = _of_executed(executed, library)
            unseen = None
        except NoAllocator as error:
            allocators, unseen = [], error
        found += [allocator for allocator in allocators if allocator not in found]
    return CommandAllocators(found, None if unseen is None else unseen.problem)


def _of_executed(executed: Executed, library: Path | None) -> list[Allocator]:
    reason = why_unseen(executed.path)
    if reason is not None:
        raise NoAllocator(str(executed.path), reason)
    paths = objects_of(executed)
    if library is not None:
        paths = [library, *paths]
    mapped = [Mapped(path, path) for path in map(Path.resolve, paths)]
    return _allocators(mapped, None, str(executed.path), library)


def _allocators(
    mapped: Iterable[Mapped], pid: int | None, whose: str, library: Path | None
) -> list[Allocator]:
    objects = [*_readable({m.path: m for m in mapped}.values(), library)]
    executables = [each.executable for each in objects]
    witnesses = Witnesses(_has_profiler(pid, executables), _has_debugger(pid, executables))
    resolved = _resolved(executables, witnesses)
    found = [
        Allocator(
            each.path,
            each.probed,
            functions,
            each.executable,
            pid,
            witnesses,
            frozenset(_imported_variants(functions, executables)),
        )
        for each, functions in zip(objects, resolved, strict=True)
        if functions
    ]
    if library is not None and (not found or found[0].path != objects[0].path):
        raise TraceError(f"{library}: defines no allocating function", hint="leave --library out to search")
    if not any("malloc" in allocator.functions for allocator in found):
        if executables and executables[0].is_go:
            raise NoAllocator(whose, _GO_REASON, hint=_GO_HINT)
        looked_at = ", ".join(str(each.path) for each in objects[:3])
        raise NoAllocator(
            whose, f"no malloc in {looked_at or 'what it maps'}{', …' if len(objects) > 3 else ''}"
        )
    return found


def _imported_variants(
    functions: Mapping[str, Sequence[Function]], executables: Sequence[Executable]
) -> Iterator[str]:
    for places in functions.values():
        for place in places:
            if place.cookie and any(each.imports([place.name]) for each in executables):
                yield place.name


def _has_profiler(pid: int | None, executables: Iterable[Executable]) -> bool:
    """Return whether jemalloc is told to profile (`jemalloc(3)`, TUNING) in *pid*, or in our own if None."""
    if any(each.has_own_data(name) for each in executables for name in _SETTINGS):
        # What it says is only known at run time.
        return True
    root = Path("/" if pid is None else f"/proc/{pid}/root")
    settings = []
    with contextlib.suppress(OSError):
        environment = Path(f"/proc/{pid or 'self'}/environ").read_text(errors="replace")
        settings += [each for each in environment.split("\0") if "MALLOC_CONF=" in each]
    with contextlib.suppress(OSError):
        settings.append(str((root / "etc/malloc.conf").readlink()))
    return any("prof:true" in each for each in settings)


def _has_debugger(pid: int | None, executables: Sequence[Executable]) -> bool:
    """Return whether the program, in *pid* if it runs, traces others or is traced."""
    if executables and executables[0].imports(["ptrace"]):
        return True
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(errors="replace") if pid is not None else ""
        return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in status.splitlines())
    return False


def _readable(mapped: Iterable[Mapped], library: Path | None) -> Iterator[_Object]:
    for each in mapped:
        try:
            yield _Object(each.path, each.probed, read_executable(each.probed))
        except GadgetOpsError:
            # Mapped as code and yet no executable: the others count.
            if library is not None and each.path == library:
                raise


_Places = dict[str, list[Function]]
"""By the name in `FUNCTIONS`."""


def _resolved(
    objects: Sequence[Executable], witnesses: Witnesses = NO_WITNESSES
) -> list[dict[str, tuple[Function, ...]]]:
    """Return what to probe in each of *objects*, which are in the order of lookup."""
    found: list[_Places] = [{} for _ in objects]
    searches = [_Search(each, places, witnesses) for each, places in zip(objects, found, strict=True)]
    for name in FUNCTIONS:
        _add_first(searches, name, name)
    for search in searches:
        search.add_prefixed()
    for name, others in _EQUIVALENTS.items():
        for other in others:
            _add_first(searches, name, other, only_beside=name)
    for variant in LIBRARY:
        _add_first(
            searches, variant.operation, variant.name, only_beside=variant.operation, cookie=variant.cookie
        )
    for search in searches:
        search.add_own_variants()
    return [{name: _each_place_once(places) for name, places in each.items()} for each in found]


def _add_first(
    searches: Iterable["_Search"], name: str, spelled: str, only_beside: str | None = None, cookie: int = 0
) -> None:
    """Add *spelled* of the object that a program finds it in, if *only_beside* was found there as well."""
    for search in searches:
        places = [replace(place, cookie=cookie) for place in search.exported(name, spelled)]
        if not places:
            # What hands on to the next object that has it is seen there.
            continue
        is_seen_anyway = spelled in BY_REALLOC and search.executable.defines(_C_LIBRARY)
        if (only_beside is None or only_beside in search.found) and not is_seen_anyway:
            search.add(name, places)
        return


@dataclass
class _Search:
    """
    The search for functions in one object.

    Attributes:
        executable: The object.
        found: What was found.
        witnesses: Who else looks at the stacks of the program.
    """

    executable: Executable
    found: _Places
    witnesses: Witnesses

    def exported(self, name: str, spelled: str) -> list[Function]:
        """Return the functions *spelled* that do the same as *name*, as other files may call them."""
        return self._seen(name, self.executable.functions(spelled, exported_only=self.executable.is_dynamic))

    def add_prefixed(self) -> None:
        """Add functions under an allocator's own names; most are the plain ones once more."""
        for prefix in PREFIXES:
            if not self.executable.functions(f"{prefix}malloc", exported_only=False):
                continue
            for name in FUNCTIONS:
                for spelled in (name, *_EQUIVALENTS.get(name, ())):
                    places = self.executable.functions(prefix + spelled, exported_only=False)
                    self.add(name, self._seen(name, places))

    def add_own_variants(self) -> None:
        """Add what allocators have under names of their own with arguments in other places."""
        for family in FAMILIES:
            if self.executable.defines(family.markers):
                for variant in family.variants():
                    self._add_variant(variant)

    def _add_variant(self, variant: Variant) -> None:
        places = self.executable.functions(variant.name, exported_only=False)
        found = [replace(place, cookie=variant.cookie) for place in places]
        self.add(variant.operation, self._seen(variant.operation, found))

    def add(self, name: str, places: list[Function]) -> None:
        """Add *places* to those of *name*."""
        known = self.found.get(name, [])
        if known and name in _RELEASES:
            # A release that only hands on to another one would be seen twice.
            addresses = {function.address for function in known}
            places = [place for place in places if not is_forwarder(self.executable, place, addresses)]
        if places:
            self.found[name] = known + places

    def _seen(self, name: str, places: list[Function]) -> list[Function]:
        """Return those of *places* whose calls can be seen to the end, which those of a release need not."""
        if name in _WITHOUT_RETURN:
            return places
        return [place for place in places if is_return_seen(self.executable, place, self.witnesses)]


def _each_place_once(places: Iterable[Function]) -> tuple[Function, ...]:
    return tuple({place.address: place for place in reversed([*places])}.values())[::-1]
