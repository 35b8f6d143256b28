"""
One step of pairing: events, and what earlier steps left open, into files.

A step over all events gives what steps over a few segments each give together. What a step leaves open is
carried on as the events it came from: live allocations; those that a process took with it after the last
event of the step, since an event of before may still come; and releases by a realloc() that may still fail.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gadgetops.analysis.pairing_mappings import Call, MappingPairs, Range, pair_mappings
from gadgetops.analysis.texts import text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CALL_COLUMNS: Final = {
    "seq": "bigint",
    "timestamp_ns": "bigint",
    "pid": "integer",
    "tid": "integer",
    "operation": "varchar",
    "address": "bigint",
    "size_bytes": "bigint",
    "stack_id": "integer",
    "lost": "bigint",
    "life_ns": "bigint",
}
"""Column -> SQL type of what is paired."""

PAIR_COLUMNS: Final = {
    **CALL_COLUMNS,
    "is_release": "boolean",
    "released_seq": "bigint",
    "released_ns": "bigint",
    "released_tid": "integer",
    "released_operation": "varchar",
    "released_bytes": "bigint",
    "reason": "varchar",
}
"""Column -> SQL type of an allocation with what ended it, or of a release without allocation."""

PART_COLUMNS: Final = {
    "allocation_seq": "bigint",
    "seq": "bigint",
    "timestamp_ns": "bigint",
    "tid": "integer",
    "released_bytes": "bigint",
}
"""Column -> SQL type of a release of a part."""

RANGE_COLUMNS: Final = {
    "seq": "bigint",
    "pid": "integer",
    "life_ns": "bigint",
    "address": "ubigint",
    "size_bytes": "bigint",
    "start_address": "hugeint",
    "end_address": "hugeint",
}
"""Column -> SQL type of an open range; ours alone, so that no other engine has to read unsigned numbers."""

TABLES: Final = {
    "closed": PAIR_COLUMNS,
    "open": PAIR_COLUMNS,
    "releases": PAIR_COLUMNS,
    "parts": PART_COLUMNS,
    "ranges": RANGE_COLUMNS,
}
"""Table -> columns of what a step writes: `open` and `ranges` replace those of the step before."""

_COPY: Final = "(format parquet, compression zstd, compression_level 1, row_group_size 262144)"
_END_COLUMNS: Final = {
    "seq": "bigint",
    "released_seq": "bigint",
    "released_ns": "bigint",
    "released_tid": "integer",
    "released_operation": "varchar",
    "parts_bytes": "bigint",
}
_STEP_TABLES: Final = {
    "closed": text("closed_pairs"),
    "open": text("open_pairs"),
    "releases": text("lone_releases"),
    "parts": "select * from step_parts",
    # A range whose mapping went with its process is not open.
    "ranges": "select * from step_ranges where seq in (select seq from open_mappings)",
}


def write_step(connection: "DuckDBPyConnection", files: dict[str, Path]) -> None:
    """
    Pair what *connection* has and write the tables of `TABLES` to *files*, each under the name of its table.

    Args:
        connection: With `events` (of this step alone), `processes` (all of them, so far), and `carried` and
            `carried_ranges`, what the step before left open.
        files: Where to write each table.
    """
    for kind, name in (
        ("table", "lives"),
        ("view", "calls"),
        ("table", "void_releases"),
        ("table", "deferred_releases"),
        ("view", "block_calls"),
    ):
        connection.execute(f"create temp {kind} {name} as {text(name)}")
    _pair_mappings(connection)
    connection.execute(f"create temp table pairs as {text('blocks')} union all {text('mappings')}")
    _create_watermark(connection)
    for table, query in _STEP_TABLES.items():
        _copy(connection, query, files[table])


def _create_watermark(connection: "DuckDBPyConnection") -> None:
    """Create `watermark`, the time of the last event: what a process took with it later is open yet."""
    connection.execute("create temp table watermark as select max(timestamp_ns) as timestamp_ns from events")
    open_mappings = f"select seq from ({text('open_pairs')}) as pairs where operation = 'mmap'"  # noqa: S608 - our own text
    connection.execute(f"create temp view open_mappings as {open_mappings}")


def _pair_mappings(connection: "DuckDBPyConnection") -> None:
    """Create `mapping_ends`, `idle_unmaps`, `step_parts` and `step_ranges`."""
    calls = connection.execute(text("mapping_calls")).fetchall()
    before = [Range(*row) for row in connection.execute("select * from carried_ranges").fetchall()]
    carried = {piece.seq for piece in before}
    found = pair_mappings((Call(*row) for row in calls if row[0] not in carried), before)
    _create(connection, "mapping_ends", _END_COLUMNS, [*_ends(found)])
    _create(connection, "idle_unmaps", {"seq": "bigint"}, [(call.seq,) for call in found.idle])
    parts = [(seq, call.seq, call.timestamp_ns, call.tid, size) for seq, call, size in found.parts]
    _create(connection, "step_parts", PART_COLUMNS, parts)
    _create(connection, "step_ranges", RANGE_COLUMNS, found.open)


def _ends(found: MappingPairs) -> Iterator[tuple[Any, ...]]:
    """What became of each mapping, as a row of `_END_COLUMNS`; of an open one how much of it is gone."""
    for seq, call in found.ends:
        yield seq, call.seq, call.timestamp_ns, call.tid, call.operation, None
    live: Counter[int] = Counter()
    sizes = {}
    for piece in found.open:
        live[piece.seq] += piece.live_bytes
        sizes[piece.seq] = piece.size_bytes
    for seq, size_bytes in sizes.items():
        yield seq, None, None, None, None, size_bytes - live[seq]


def _create(
    connection: "DuckDBPyConnection", name: str, columns: dict[str, str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Create a table of *rows*, column by column: row by row takes 50 times as long."""
    values = [*zip(*rows, strict=True)] or [()] * len(columns)
    selected = ", ".join(
        f"unnest(cast(${column} as {sql_type}[])) as {column}" for column, sql_type in columns.items()
    )
    parameters = {column: list(value) for column, value in zip(columns, values, strict=True)}
    connection.execute(f"create temp table {name} as select {selected}", parameters)


def _copy(connection: "DuckDBPyConnection", query: str, path: Path) -> None:
    target = str(path).replace("'", "''")
    connection.execute(f"copy ({query}) to '{target}' {_COPY}")
