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
docs/recording-format.md. Blocks are paired by SQL (`sql/blocks.sql`), mappings by `pairing_mappings`, both in
`pairing_step`. It is done once: `pairing_store` keeps it beside the recording, segment by segment.
"""

import contextlib
import tempfile
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
from gadgetops.pairing.store import FOLDER, State, Store, stamp, store_of
from gadgetops.pairing.texts import text
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
    with _made_store(recording) as store, store.reading():
        state = store.state()
        if state.made_from != _stamps(recording):
            # Extended by someone who sees more or less of the recording: not for us.
            with tempfile.TemporaryDirectory(prefix="gadgetops-pairs-") as folder:
                own = Store(Path(folder))
                _extend(own, recording)
                yield own, own.state()
        else:
            yield store, state


@contextlib.contextmanager
def _made_store(recording: Recording) -> Iterator[Store]:
    """Give a store that has all of *recording*; also one that this user may only read."""
    beside = Store(recording.path / FOLDER)
    if beside.state().made_from == _stamps(recording) != ():
        yield beside
        return
    with store_of(recording.path) as store:
        _extend(store, recording)
        yield store


def extend(path: Path) -> None:
    """
    Pair what is new in the recording at *path* since the last time; to be called as its segments close.

    Raises:
        RecordingError: It cannot be read.
        StorageError: There is no place to keep the pairs.
    """
    recording = open_recording(path)
    with store_of(path) as store:
        _extend(store, recording)


def _extend(store: Store, recording: Recording) -> None:
    stamps = _stamps(recording)
    if store.state().made_from == stamps:
        return
    with store.extending():
        state = store.state()
        if not _goes_on(state, recording, stamps):
            state = State()
        todo = recording.segments[len(state.made_from) :]
        report = listener.get()
        for start in range(0, len(todo), _STEP_SEGMENTS):
            report(start, len(todo))
            state = _step(store, state, recording, todo[start : start + _STEP_SEGMENTS])
        report(len(todo), len(todo))


def _step(store: Store, state: State, recording: Recording, segments: Sequence[Path]) -> State:
    files = store.new_files(state)
    before = store.paths(state)
    part = replace(
        recording, segments=tuple(segments), tables={**recording.tables, "events": tuple(segments)}
    )
    with part.connect() as connection:
        for view, (table, columns) in CARRIED.items():
            _create_view(connection, view, before.get(table, []), columns)
        extent = write_step(connection, files, state.extent, _page_bytes(recording))
    return store.commit(state, files, segments, extent)


def _page_bytes(recording: Recording) -> int:
    """Return the size of pages where *recording* was made; the usual one if it says no power of two."""
    host = recording.header.get("host")
    size = host.get("page_bytes") if isinstance(host, dict) else None
    if isinstance(size, int) and size > 0 and not size & (size - 1):
        return size
    return USUAL_PAGE_BYTES


def _stamps(recording: Recording) -> tuple[tuple[str, int, int], ...]:
    try:
        return tuple(map(stamp, recording.segments))
    except OSError as error:
        raise RecordingError(recording.path, f"{Path(error.filename).name}: {error.strerror}") from error


def _goes_on(state: State, recording: Recording, stamps: tuple[tuple[str, int, int], ...]) -> bool:
    """Return whether *recording* begins with what *state* was made from, and nothing of it is new."""
    if not state.made_from or state.made_from != stamps[: len(state.made_from)]:
        return False
    # A process that was seen late began or ended before calls that are paired already.
    late = [path for path in recording.tables["processes"] if path.name not in _processes_of(state)]
    if not late:
        return True
    with replace(recording, tables={**recording.tables, "processes": tuple(late)}).connect() as connection:
        [(first_ns,)] = connection.execute("select min(timestamp_ns) from processes").fetchall()
    return first_ns is None or first_ns > state.extent.last_ns


def _processes_of(state: State) -> set[str]:
    """Return the names of the process files beside the segments that *state* was made from."""
    return {name.replace("events-", "processes-") for name, _, _ in state.made_from}


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
