"""
One step of pairing: events, and what earlier steps left open, into files.

A step over all events gives what steps over a few segments each give together. What a step leaves open is
carried on as the events it came from: live allocations; those that a process took with it after the last
event of the step, since an event of before may still come; and releases by a realloc() that may still fail.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gadgetops.duckdb_sql import create_table, quoted
from gadgetops.pairing.endings import BIN, FEWEST, Counted, begins_at, ending
from gadgetops.pairing.mappings import Call, MappingPairs, Range, pair_mappings
from gadgetops.pairing.texts import text

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
    "parts_bytes": "bigint",
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
    "timestamp_ns": "bigint",
    "pid": "integer",
    "life_ns": "bigint",
    "address": "ubigint",
    "size_bytes": "bigint",
    "start_address": "decimal(38,0)",
    "end_address": "decimal(38,0)",
}
"""Column -> SQL type of an open range; ours alone, so that no other engine has to read unsigned numbers."""

GROWTH_COLUMNS: Final = {
    "stack_id": "integer",
    "is_mapping": "boolean",
    "slot_ns": "bigint",
    "slot_seq": "bigint",
    "allocated_bytes": "decimal(38,0)",
    "allocated_count": "bigint",
    "released_bytes": "decimal(38,0)",
    "released_count": "bigint",
}
"""Column -> SQL type of what a stack allocated and the program released, by cell."""

SURVIVOR_COLUMNS: Final = {
    "stack_id": "integer",
    "is_mapping": "boolean",
    "slot_ns": "bigint",
    "slot_seq": "bigint",
    "live_bytes": "decimal(38,0)",
    "live_count": "bigint",
    "first_ns": "bigint",
    "last_ns": "bigint",
}
"""Column -> SQL type of what the program never released, by the cell it was allocated in."""

CELL_COLUMNS: Final = {
    "slot_ns": "bigint",
    "slot_seq": "bigint",
    "event_count": "bigint",
    "first_ns": "bigint",
}
"""Column -> SQL type of the cells: slots of time cut by slots of sequence numbers."""

ADDED: Final = ("closed", "releases", "parts")
"""What a step writes besides what the steps before wrote."""
REPLACED: Final = ("open", "ranges", "growth", "exited", "closing", "survivors", "cells")
"""What a step writes in place of what the step before wrote."""
CARRIED: Final = {
    "open_before": ("open", PAIR_COLUMNS),
    "carried_ranges": ("ranges", RANGE_COLUMNS),
    "growth_before": ("growth", GROWTH_COLUMNS),
    "exited_before": ("exited", SURVIVOR_COLUMNS),
    "closing_before": ("closing", SURVIVOR_COLUMNS),
    "cells_before": ("cells", CELL_COLUMNS),
}
"""View that a step reads -> table of the step before, and its columns."""

_COPY: Final = "(format parquet, compression zstd, compression_level 1, row_group_size 262144)"
_END_COLUMNS: Final = {
    "seq": "bigint",
    "released_seq": "bigint",
    "released_ns": "bigint",
    "released_tid": "integer",
    "released_operation": "varchar",
    "parts_bytes": "bigint",
}
STORED: Final = {
    "closed": PAIR_COLUMNS,
    "open": PAIR_COLUMNS,
    "releases": PAIR_COLUMNS,
    "parts": PART_COLUMNS,
    "growth": GROWTH_COLUMNS,
    "survivors": SURVIVOR_COLUMNS,
    "closing": SURVIVOR_COLUMNS,
    "cells": CELL_COLUMNS,
}
"""Table -> columns of what answers are made of; `stored_growth` and so on beside the views of `pairing`."""

MAX_SLOTS: Final = 64
"""
Growth is kept in so many slots of time at most, cut by as many of sequence numbers. Both widen as a recording
grows.
"""

_SURVIVORS: Final = ", ".join(SURVIVOR_COLUMNS)
_WRITTEN: Final = {
    "closed": "from closed_pairs",
    "open": "from open_pairs",
    "releases": "from lone_releases",
    "parts": "from step_parts",
    # A range whose mapping went with its process is not open.
    "ranges": "from step_ranges where seq in (select seq from open_pairs where operation = 'mmap')",
    "growth": "from step_growth",
    "exited": f"select {_SURVIVORS} from left_by_cell where how = 'exited'",  # noqa: S608 - our own names
    "closing": f"select {_SURVIVORS} from left_by_cell where how = 'closing'",  # noqa: S608 - our own names
    "survivors": "from survivors",
    "cells": "from step_cells",
}
_FIRST_WIDTH_NS: Final = 1 << 20
_NO_SEQ: Final = (1 << 63) - 1
"""Beyond all events."""


@dataclass(frozen=True)
class Extent:
    """
    What the steps so far have seen.

    Args:
        n_events: How many.
        first_ns: Time of the first; None while there is none.
        last_ns: Time of the latest.
        width_ns: Of a slot of time, a power of two.
        width_seq: Of a slot of sequence numbers, a power of two.
        lost: Events lost up to the last one.
        failed_stacks: Events whose stack could not be collected.
        unseen_releases: See `certainty.Seen`.
    """

    n_events: int = 0
    first_ns: int | None = None
    last_ns: int = 0
    width_ns: int = _FIRST_WIDTH_NS
    width_seq: int = 1
    lost: int = 0
    failed_stacks: int = 0
    unseen_releases: int = 0


def write_step(
    connection: "DuckDBPyConnection", files: Mapping[str, Path], before: Extent, page_bytes: int
) -> Extent:
    """
    Pair what *connection* has, write it to *files*, and return what is seen now.

    Args:
        connection: With `events` (of this step alone), `processes` (all of them, so far), and the views of
            `CARRIED`.
        files: Where to write each table of `ADDED` and `REPLACED`.
        before: What the steps before have seen.
        page_bytes: Mappings are made of pages of this size.
    """
    for kind, name in (
        ("table", "lives"),
        ("view", "carried"),
        ("view", "calls"),
        ("table", "void_releases"),
        ("table", "deferred_releases"),
        ("view", "block_calls"),
    ):
        _create(connection, kind, name)
    _pair_mappings(connection, page_bytes, before.last_ns)
    connection.execute(f"create temp table pairs as {text('blocks')} union all {text('mappings')}")
    extent = _extent(connection, before)
    for name in ("closed_pairs", "open_pairs", "lone_releases"):
        _create(connection, "view", name)
    _find_endings(connection)
    _create(connection, "table", "left_by_cell")
    _create(connection, "view", "survivors")
    connection.execute(f"create temp view step_growth as {text('growth')}")
    connection.execute(f"create temp view step_cells as {text('cells')}")
    for table, query in _WRITTEN.items():
        _copy(connection, query, files[table])
    unseen = "select count(*) from closed_pairs where released_operation = 'lost'"
    return replace(extent, unseen_releases=before.unseen_releases + _row(connection, unseen)[0])


def _extent(connection: "DuckDBPyConnection", before: Extent) -> Extent:
    """Return what is seen with the events of this step, and create `watermark` and `slots` of it."""
    n_events, first_ns, last_ns, first_seq, last_seq, lost, failed = _row(connection, text("extent"))
    first_ns = min((each for each in (before.first_ns, first_ns) if each is not None), default=None)
    last_ns = max(before.last_ns, last_ns or 0)
    width_ns = before.width_ns
    while (last_ns - (first_ns or 0)) // width_ns >= MAX_SLOTS:
        width_ns *= 2
    width_seq = before.width_seq
    while (last_seq or 0) // width_seq >= MAX_SLOTS:
        width_seq *= 2
    connection.execute(f"create temp table watermark as select cast({last_ns} as bigint) as timestamp_ns")
    # A step without events has nothing new: what it carries was counted by the steps before.
    new_seq = _NO_SEQ if first_seq is None else first_seq
    slots = {"width_ns": width_ns, "width_seq": width_seq, "first_seq": new_seq, "no_seq": _NO_SEQ}
    columns = ", ".join(f"cast({value} as bigint) as {name}" for name, value in slots.items())
    connection.execute(f"create temp table slots as select {columns}")
    return Extent(
        before.n_events + n_events,
        first_ns,
        last_ns,
        width_ns,
        width_seq,
        max(before.lost, lost or 0),
        before.failed_stacks + int(failed or 0),
    )


def _row(connection: "DuckDBPyConnection", query: str) -> tuple[Any, ...]:
    [row] = connection.execute(query).fetchall()
    return tuple(row)


def _create(connection: "DuckDBPyConnection", kind: str, name: str) -> None:
    connection.execute(f"create temp {kind} {name} as {text(name)}")


def _pair_mappings(connection: "DuckDBPyConnection", page_bytes: int, since_ns: int) -> None:
    """Create `mapping_ends`, `idle_unmaps`, `step_parts` and `step_ranges`."""
    calls = connection.execute(text("mapping_calls")).fetchall()
    before = [Range(*map(int, row)) for row in connection.execute("select * from carried_ranges").fetchall()]
    carried = {piece.seq for piece in before}
    new = (Call(*row) for row in calls if row[0] not in carried)
    found = pair_mappings(new, before, page_bytes, since_ns)
    create_table(connection, "mapping_ends", _END_COLUMNS, [*_ends(found)])
    create_table(connection, "idle_unmaps", {"seq": "bigint"}, [(call.seq,) for call in found.idle])
    parts = [(seq, call.seq, call.timestamp_ns, call.tid, size) for seq, call, size in found.parts]
    create_table(connection, "step_parts", PART_COLUMNS, parts)
    create_table(connection, "step_ranges", RANGE_COLUMNS, found.open)


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


def _find_endings(connection: "DuckDBPyConnection") -> None:
    """Create `endings`: the first release by which each process that has ended gave back what it had."""
    bins: dict[int, list[Counted]] = {}
    for pid, *counts in connection.execute(text("ending_bins"), {"bin": BIN}).fetchall():
        bins.setdefault(int(pid), []).append(Counted(*map(int, counts)))
    found = []
    for pid, counted in bins.items():
        rough = ending(counted)
        if rough is None and sum(each.n_releases for each in counted[-2:]) < FEWEST:
            continue
        first_seq = counted[-1].seq if rough is None else rough.seq
        parameters = {"pid": pid, "first_seq": first_seq - BIN, "end_seq": first_seq + BIN}
        calls = connection.execute(text("ending_calls"), parameters).fetchall()
        later = [each for each in counted if each.seq > first_seq]
        seq = begins_at([Counted(*map(int, call)) for call in calls], later)
        if seq is not None:
            found.append((pid, seq))
    create_table(connection, "endings", {"pid": "integer", "first_seq": "bigint"}, found)


def _copy(connection: "DuckDBPyConnection", query: str, path: Path) -> None:
    connection.execute(f"copy ({query}) to {quoted(str(path))} {_COPY}")
