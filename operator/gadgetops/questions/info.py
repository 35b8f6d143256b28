"""
What a recording holds and how good it is: who, what, when, with what, how it ended, and what is missing.

No event is looked at but to count the stacks.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from gadgetops.recording.reader import Recording
from gadgetops.recording.schema import FAILED_STACK, MAX_WALKED_FRAMES, NO_STACK

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ROOTS: Final = (
    "_start",
    "__libc_start_main",
    "__libc_start_call_main",
    "__libc_start_main_impl",
    "__libc_start_main_alias_1",
    "__libc_start_main_alias_2",
    "generic_start_main",
    "start_thread",
    "start",
    "clone",
    "clone3",
    "__clone",
    "__clone3",
)
"""Functions in which a whole stack may end: starts of programs and threads in glibc and musl."""

_STACKS: Final = """
    select
        count(*) as n_events,
        coalesce(sum(case when stack_id = $none then 1 else 0 end), 0) as without,
        coalesce(sum(case when stack_id = $failed then 1 else 0 end), 0) as failed,
        coalesce(sum(case when len(frame_ids) = 0 then 1 else 0 end), 0) as empty
    from events left join stacks using (stack_id)
"""
_WAITING: Final = "select count(*) from slices where stack_id not in (select stack_id from stacks)"
_MODULES: Final = """
    select
        modules.path,
        max(modules.build_id) as build_id,
        count(distinct frames.frame_id) as n_addresses,
        count(distinct case when frames.function is not null then frames.frame_id end) as n_symbolised
    from frames join modules using (module_id)
    group by modules.path
    order by n_addresses desc, modules.path
"""
_CUT_STACKS: Final = """
    select path, count(*) as n_stacks
    from (
        select
            stack_id,
            coalesce(max_by(path, depth) filter (where path is not null), 'unknown code') as path,
            max_by(path, depth) as last_path,
            flatten(max_by(coalesce(functions, []), depth, 2)) as last_functions
        from (
            select stack_id, depth, path, functions
            from (
                select stack_id, unnest(frame_ids) as frame_id, unnest(range(1, len(frame_ids) + 1)) as depth
                from stacks
                where len(frame_ids) not in (0, $depth, $depth + 1)
            ) as calls
            left join (
                select frame_id, any_value(modules.path) as path, list(function) as functions
                from frames left join modules using (module_id)
                group by frame_id
            ) as places using (frame_id)
        ) as located
        group by stack_id
    ) as ends
    where not coalesce(list_has_any(last_functions, $roots), false)
        and not coalesce(regexp_matches(last_path, '/(libc[.-]|ld-|libc\\.musl|libpthread)[^/]*$'), false)
    group by path
    order by n_stacks desc, path
"""
"""
A walk that goes astray often finds one more address, in no file: the last file is the one to blame. In a
stripped program `_start` has no name, but the function before it has.
"""


@dataclass(frozen=True)
class ModuleInfo:
    """
    One file, in whichever processes.

    Args:
        path: As the processes saw it.
        build_id: In hex; None where it has none.
        n_addresses: Distinct return addresses in it.
        n_symbolised: How many of them have a function.
    """

    path: str
    build_id: str | None
    n_addresses: int
    n_symbolised: int


@dataclass(frozen=True)
class StackHealth:
    """
    How good the stacks are; events are counted, but where it says stacks.

    Args:
        n_events: All of them.
        without: No stack was asked for.
        failed: The kernel had no room for the stack: a collision.
        empty: The stack has no frame.
        n_stacks: Distinct stacks.
        waiting: Slices of which no stack has been made yet.
        truncated: Distinct stacks that were as deep as the kernel goes.
        cut_short: Distinct stacks that end in a file, by its path, and not where programs and threads start.
    """

    n_events: int
    without: int
    failed: int
    empty: int
    n_stacks: int
    waiting: int
    truncated: int
    cut_short: Mapping[str, int]


@dataclass(frozen=True)
class Info:
    """
    What is known about a recording.

    Args:
        path: The folder.
        header: recording.json.
        n_segments: Readable segments.
        size_bytes: On disk.
        n_missing: Events that cannot be read; None where nobody knows.
        lacks_symbols: Whether functions and lines were not looked for yet.
        n_processes: Distinct processes that were followed.
        stacks: How good they are.
        modules: Files that addresses lie in, those with most addresses first.
        problems: What is missing, a sentence each.
        is_checked: Whether it has checksums, to which its files were compared.
    """

    path: str
    header: Mapping[str, Any]
    n_segments: int
    size_bytes: int
    n_missing: int | None
    lacks_symbols: bool
    n_processes: int
    stacks: StackHealth
    modules: tuple[ModuleInfo, ...]
    problems: tuple[str, ...]
    is_checked: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return it with the names of the attributes."""
        return asdict(self)


def info(recording: Recording) -> Info:
    """
    Return what is known about *recording*.

    Raises:
        RecordingError: It cannot be read.
    """
    with recording.connect() as connection:
        [(n_processes,)] = connection.execute("select count(distinct pid) from processes").fetchall()
        return Info(
            path=str(recording.path),
            header=recording.header,
            n_segments=len(recording.segments),
            size_bytes=sum(file.lstat().st_size for file in recording.path.iterdir() if file.is_file()),
            n_missing=recording.n_missing,
            lacks_symbols=recording.lacks_symbols,
            n_processes=n_processes,
            stacks=_health(connection, recording.counters.get("truncated_stacks", 0)),
            modules=tuple(ModuleInfo(*row) for row in connection.execute(_MODULES).fetchall()),
            problems=recording.problems,
            is_checked=recording.is_checked,
        )


def _health(connection: "DuckDBPyConnection", truncated: int) -> StackHealth:
    kinds = {"none": NO_STACK, "failed": FAILED_STACK}
    [(n_events, without, failed, empty)] = connection.execute(_STACKS, kinds).fetchall()
    [(n_stacks,)] = connection.execute("select count(*) from stacks").fetchall()
    [(waiting,)] = connection.execute(_WAITING).fetchall()
    cut_short = connection.execute(_CUT_STACKS, {"roots": [*_ROOTS], "depth": MAX_WALKED_FRAMES}).fetchall()
    return StackHealth(
        n_events, int(without), int(failed), int(empty), n_stacks, waiting, truncated, dict(cut_short)
    )
