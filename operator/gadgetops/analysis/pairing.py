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
`pairing_step`.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gadgetops.analysis.pairing_step import CALL_COLUMNS, RANGE_COLUMNS, TABLES, write_step
from gadgetops.analysis.texts import text
from gadgetops.recording.reader import Recording

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


@contextlib.contextmanager
def paired(recording: Recording) -> Iterator["DuckDBPyConnection"]:
    """
    Give a DuckDB connection with the views of *recording* and those of this module.

    Raises:
        RecordingError: A query failed, as on a damaged page, or for want of space to spill to.
        StorageError: There is no place to keep the pairs.
    """
    with tempfile.TemporaryDirectory(prefix="gadgetops-pairs-") as folder:
        files = {table: Path(folder) / f"{table}.parquet" for table in TABLES}
        with recording.connect() as connection:
            _create_empty(connection, "carried", CALL_COLUMNS)
            _create_empty(connection, "carried_ranges", RANGE_COLUMNS)
            write_step(connection, files)
        with recording.connect() as connection:
            _create_views(connection, {table: [path] for table, path in files.items()})
            yield connection


def _create_empty(connection: "DuckDBPyConnection", name: str, columns: Mapping[str, str]) -> None:
    described = ", ".join(f"{column} {sql_type}" for column, sql_type in columns.items())
    connection.execute(f"create temp table {name} ({described})")


def _create_views(connection: "DuckDBPyConnection", files: Mapping[str, Sequence[Path]]) -> None:
    for table in ("closed", "open", "releases", "parts"):
        connection.execute(f"create view stored_{table} as from {_source(files[table])}")
    connection.execute("create view partial_releases as from stored_parts")
    connection.execute(f"create view allocations as {text('allocations')}")
    connection.execute(f"create view open_releases as {text('open_releases')}")
    _create_ancestors(connection)
    for view in ("inherited_releases", "unmatched_releases"):
        connection.execute(f"create view {view} as {text(view)}")


def _create_ancestors(connection: "DuckDBPyConnection") -> None:
    """Create `ancestors`: for each life that a fork began, whose memory it has, and as it was when."""
    connection.execute(f"create view lives as {text('lives')}")
    forks = connection.execute(
        "select pid, timestamp_ns, parent_pid from processes where event = 'fork' and parent_pid is not null"
    ).fetchall()
    lives = connection.execute("select pid, life_ns, end_ns from lives").fetchall() if forks else []
    rows = [*_ancestors(forks, lives)]
    columns = ("pid", "life_ns", "ancestor_pid", "ancestor_life_ns", "fork_ns")
    selected = ", ".join(f"unnest(cast(${column} as bigint[])) as {column}" for column in columns)
    values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
    connection.execute(
        f"create temp table ancestors as select {selected}", dict(zip(columns, values, strict=True))
    )


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


def _source(paths: Sequence[Path]) -> str:
    literals = ("'" + str(path).replace("'", "''") + "'" for path in paths)
    return f"read_parquet([{', '.join(literals)}])"
