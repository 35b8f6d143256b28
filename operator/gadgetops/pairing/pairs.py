"""
Allocations paired with their releases: the one definition, which all questions stand on.

`paired` adds to the views of a recording:

- `allocations`: one row a successful allocation, by `ALLOCATION_COLUMNS`. Nothing released it while
  `released_ns` is null. `released_operation` is the releasing event's (`mmap` where a mapping was mapped
  over), `exit` or `exec` where the process went (`released_seq` is null then), or `lost` where a later
  allocation was given the same address (`released_seq` and `released_ns` are that allocation's).
- `partial_releases`: of mappings, by `PARTIAL_COLUMNS`: every release that left some of it mapped. The
  release that ended it released the rest.
- `unmatched_releases`, by `UNMATCHED_COLUMNS`, and why they have no allocation.

At every moment allocated bytes are released plus live bytes, and so are counts. What is live is said in
docs/recording-format.md. Blocks are paired by SQL (`sql/blocks.sql`), mappings by `pairing.mappings`, both in
`pairing.step`. It is done once: `pairing.store` keeps the pairs, segment by segment.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb

from gadgetops.duckdb_sql import create_table, parquet_rows
from gadgetops.errors import RecordingError
from gadgetops.pairing.mappings import USUAL_PAGE_BYTES
from gadgetops.pairing.progress import listener
from gadgetops.pairing.step import CARRIED, STORED, write_step
from gadgetops.pairing.store import Busy, State, Store, store_of, temporary_store
from gadgetops.pairing.texts import text
from gadgetops.recording.files import Stamp, stamp
from gadgetops.recording.reader import Recording, open_recording

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ALLOCATION_COLUMNS: Final = (
    "seq",
    "timestamp_ns",
    "pid",
    "tid",
    "operation",
    "address",
    "size_bytes",
    "stack_id",
    "released_seq",
    "released_ns",
    "released_tid",
    "released_operation",
    "released_bytes",
)
_FIRST_LIFE: Final = -(2**63) + 1
PARTIAL_COLUMNS: Final = ("allocation_seq", "seq", "timestamp_ns", "tid", "released_bytes")
UNMATCHED_COLUMNS: Final = (
    "seq",
    "timestamp_ns",
    "pid",
    "tid",
    "operation",
    "address",
    "stack_id",
    "reason",
)


_LEAST_PATIENCE_S: Final = 0.2
_EVENT_S: Final = 1e-6
"""Pairing takes about so long, and so much more for each event."""
_STEP_SEGMENTS: Final = 4
"""So many segments are paired at once, where they are there: 4 million events take 0.7 GB."""


@contextlib.contextmanager
def paired(recording: Recording) -> Iterator["DuckDBPyConnection"]:
    """
    Give a DuckDB connection with the views of *recording* and those of this module.

    What is not paired yet is paired and stored first.

    Raises:
        RecordingError: A query failed, as on a damaged page, or for want of space to spill to.
        StorageError: There is no place to keep the pairs.
    """
    with stored(recording) as (store, state), connected(recording, store, state) as connection:
        yield connection


@contextlib.contextmanager
def connected(recording: Recording, store: Store, state: State) -> Iterator["DuckDBPyConnection"]:
    """
    Give a connection as `paired` does, from what `stored` gives.

    Raises:
        RecordingError: A query failed.
    """
    with recording.connect() as connection:
        try:
            _create_views(connection, store.paths(state))
            yield connection
        except duckdb.Error:
            # Whether it was the store is not known; making it anew costs little.
            store.drop()
            raise


@contextlib.contextmanager
def stored(recording: Recording) -> Iterator[tuple[Store, State]]:
    """
    Give the stored pairs of *recording*, all of it, and keep them from being deleted.

    Raises:
        RecordingError: A query failed, as on a damaged page, or for want of space to spill to.
        StorageError: There is no place to keep the pairs.
    """
    with contextlib.ExitStack() as stack:
        found = _kept(recording, stack)
        if found is not None:
            yield found
        else:
            # There is no place for pairs, or another process is in the way, or sees more of the recording.
            own = stack.enter_context(temporary_store())
            yield own, _extend_all(own, recording)


def _kept(recording: Recording, stack: contextlib.ExitStack) -> tuple[Store, State] | None:
    """Return the store that has all of *recording*, which *stack* keeps as it is; None if none has."""
    store = store_of(recording.path)
    if store is None:
        return None
    try:
        _extend(store, recording)
        stack.enter_context(store.reading(_patience_s(recording, State())))
    except (Busy, OSError):
        return None
    state = store.state()
    return (store, state) if _is_of(state, recording) else None


def extend(path: Path) -> None:
    """
    Pair what is new in the recording at *path* since the last time; to be called as its segments close.

    Raises:
        RecordingError: It cannot be read.
        StorageError: There is no place to keep the pairs.
    """
    store = store_of(path)
    if store is not None:
        with contextlib.suppress(Busy):
            _extend(store, open_recording(path))


def is_paired(recording: Recording) -> bool:
    """Return whether all of *recording* is paired, and the pairs are kept."""
    store = store_of(recording.path)
    return store is not None and _is_of(store.state(), recording)


def _extend(store: Store, recording: Recording) -> None:
    state = store.state()
    if _is_of(state, recording):
        return
    with store.extending(_patience_s(recording, state)):
        _extend_all(store, recording)


def _extend_all(store: Store, recording: Recording) -> State:
    """Pair what *store*, which nobody else extends, does not have of *recording*."""
    state = store.state()
    if not _goes_on(state, recording):
        state = State()
    todo = recording.segments[len(state.made_from) :]
    report = listener.get()
    for start in range(0, len(todo), _STEP_SEGMENTS):
        report(start, len(todo))
        state = _step(store, state, recording, todo[start : start + _STEP_SEGMENTS])
    report(len(todo), len(todo))
    return state


def _patience_s(recording: Recording, state: State) -> float:
    """Return about how long it takes to pair oneself what *state* lacks: nobody is waited for longer."""
    n_events = max(0, recording.n_events - state.extent.n_events)
    return _LEAST_PATIENCE_S + n_events * _EVENT_S


def _is_of(state: State, recording: Recording) -> bool:
    """Return whether *state* has all of *recording*, as its files are now."""
    return state.made_from == _stamps(recording, recording.segments) and _has_processes(state, recording)


def _has_processes(state: State, recording: Recording) -> bool:
    """Return whether the processes beside what *state* was made from are those that it knew."""
    return state.processes == _stamps(recording, _processes_beside(recording, state.made_from))


def _step(store: Store, state: State, recording: Recording, segments: Sequence[Path]) -> State:
    files = store.new_files(state)
    before = store.paths(state)
    part = replace(
        recording, segments=tuple(segments), tables={**recording.tables, "events": tuple(segments)}
    )
    part.check_events()
    with part.connect() as connection:
        for view, (table, columns) in CARRIED.items():
            _create_view(connection, view, before.get(table, []), columns)
        extent = write_step(connection, files, state.extent, _page_bytes(recording))
    made_from = (*state.made_from, *_stamps(recording, segments))
    return store.commit(state, files, segments, _processes_beside(recording, made_from), extent)


def _page_bytes(recording: Recording) -> int:
    """Return the size of pages where *recording* was made; the usual one if it says no power of two."""
    host = recording.header.get("host")
    size = host.get("page_bytes") if isinstance(host, dict) else None
    if isinstance(size, int) and size > 0 and not size & (size - 1):
        return size
    return USUAL_PAGE_BYTES


def _stamps(recording: Recording, paths: Sequence[Path]) -> tuple[Stamp, ...]:
    try:
        return tuple(map(stamp, paths))
    except OSError as error:
        raise RecordingError(recording.path, f"{Path(error.filename).name}: {error.strerror}") from error


def _processes_beside(recording: Recording, segments: Sequence[Stamp]) -> list[Path]:
    """Return the files of processes of *recording* that belong to *segments*."""
    names = {each.name.replace("events-", "processes-") for each in segments}
    return [path for path in recording.tables["processes"] if path.name in names]


def _goes_on(state: State, recording: Recording) -> bool:
    """Return whether *recording* begins with what *state* was made from, and nothing of it is new."""
    paired = recording.segments[: len(state.made_from)]
    if not paired or state.made_from != _stamps(recording, paired) or not _has_processes(state, recording):
        return False
    # A process that was seen late began or ended before calls that are paired already.
    known = {*_processes_beside(recording, state.made_from)}
    late = [path for path in recording.tables["processes"] if path not in known]
    if not late:
        return True
    with replace(recording, tables={**recording.tables, "processes": tuple(late)}).connect() as connection:
        [(first_ns,)] = connection.execute("select min(timestamp_ns) from processes").fetchall()
    return first_ns is None or first_ns > state.extent.last_ns


def _create_view(
    connection: "DuckDBPyConnection", name: str, paths: Sequence[Path], columns: Mapping[str, str]
) -> None:
    if paths:
        connection.execute(f"create temp view {name} as from {parquet_rows(paths)}")
    else:
        described = ", ".join(f"{column} {sql_type}" for column, sql_type in columns.items())
        connection.execute(f"create temp table {name} ({described})")


def _create_views(connection: "DuckDBPyConnection", files: Mapping[str, Sequence[Path]]) -> None:
    for table, columns in STORED.items():
        _create_view(connection, f"stored_{table}", files.get(table, []), columns)
    create_pair_views(connection)


def create_pair_views(connection: "DuckDBPyConnection") -> None:
    """Create the views of this module in *connection*, which has `processes` and those of what is stored."""
    connection.execute("create temp view partial_releases as from stored_parts")
    connection.execute(f"create temp view allocations as {text('allocations')}")
    connection.execute(f"create temp view open_releases as {text('open_releases')}")
    _create_ancestors(connection)
    for view in ("inherited_releases", "unmatched_releases"):
        connection.execute(f"create temp view {view} as {text(view)}")


def _create_ancestors(connection: "DuckDBPyConnection") -> None:
    """Create `ancestors`: for each life that a fork began, whose memory it has, and as it was when."""
    connection.execute(f"create temp view lives as {text('lives')}")
    forks = connection.execute(
        "select pid, timestamp_ns, parent_pid from processes where event = 'fork' and parent_pid is not null"
    ).fetchall()
    lives = connection.execute("select pid, life_ns, end_ns from lives").fetchall() if forks else []
    columns = ("pid", "life_ns", "ancestor_pid", "ancestor_life_ns", "fork_ns")
    create_table(connection, "ancestors", dict.fromkeys(columns, "bigint"), _ancestors(forks, lives))


def _ancestors(
    forks: Sequence[tuple[Any, ...]], lives: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[int, ...]]:
    """Yield pid, life, ancestor's pid and life, and when the ancestor's memory was copied."""
    parents = {(pid, fork_ns): parent for pid, fork_ns, parent in forks}
    lives_of: dict[int, list[tuple[int, int | None]]] = {}
    for pid, life_ns, end_ns in lives:
        lives_of.setdefault(pid, []).append((life_ns, end_ns))
    for pid, life_ns in parents:
        life, seen = (pid, life_ns), set()
        while life in parents and life not in seen:
            seen.add(life)
            ancestor, fork_ns = parents[life], life[1]
            begins = [
                begin
                for begin, end in lives_of.get(ancestor, [(_FIRST_LIFE, None)])
                if begin < fork_ns and (end is None or fork_ns <= end)
            ]
            if not begins:
                break
            life = (ancestor, max(begins))
            yield pid, life_ns, *life, fork_ns
