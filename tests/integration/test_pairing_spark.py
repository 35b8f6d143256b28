"""The texts that pair blocks give the same pairs on Spark as on DuckDB."""

import random
from decimal import Decimal
from typing import Any

import duckdb

from gadgetops.pairing.step import CALL_COLUMNS
from gadgetops.pairing.texts import text
from gadgetops.recording import operations
from gadgetops.recording.schema import EVENT_COLUMNS, PROCESS_COLUMNS

OPERATIONS = ["malloc", "calloc", "realloc", "realloc_free", "free", "free"]
TEXTS = ["lives", "calls", "void_releases", "deferred_releases", "block_calls", "blocks"]
PROCESSES = [
    (95, 2, "fork", 1, "p", None),
    (155, 2, "exec", None, "p", None),
    (305, 3, "exit", None, "p", None),
]


def events() -> list[tuple[Any, ...]]:
    """Return calls at few addresses, by a few threads of a few processes."""
    choose = random.Random(4)
    return [
        (
            *(seq, 10 * seq, choose.randint(1, 3), choose.randint(1, 2), choose.choice(OPERATIONS)),
            *(16 * choose.randint(0, 4), choose.randint(0, 9), choose.randint(0, 3), 0),
        )
        for seq in range(200)
    ]


def tables() -> dict[str, tuple[dict[str, str], list[tuple[Any, ...]]]]:
    """Return columns and rows of what the texts read."""
    return {
        "events": (EVENT_COLUMNS, events()),
        "processes": (PROCESS_COLUMNS, PROCESSES),
        "carried": (CALL_COLUMNS, []),
    }


def paired_by_duckdb(query: str) -> list[Any]:
    """Return what *query* finds."""
    with duckdb.connect() as connection:
        for name, (columns, rows) in tables().items():
            described = ", ".join(f"{column} {kind}" for column, kind in columns.items())
            connection.execute(f"create table {name} ({described})")
            marks = ", ".join("?" for _ in columns)
            if rows:
                connection.executemany(f"insert into {name} values ({marks})", rows)
        connection.execute(operations.VIEW)
        for name in TEXTS:
            connection.execute(f"create table {name} as {text(name)}")
        return connection.execute(query).fetchall()


def paired_by_spark(session: Any, query: str) -> list[Any]:
    """Return what *query* finds."""
    for name, (columns, rows) in tables().items():
        kinds = (f"{column} {kind.replace('varchar', 'string')}" for column, kind in columns.items())
        session.createDataFrame(rows, ", ".join(kinds)).createOrReplaceTempView(name)
    session.sql(operations.VIEW.replace("create temp view", "create or replace temp view"))
    for name in TEXTS:
        # Computed once: each is read by those that follow.
        session.sql(text(name)).localCheckpoint().createOrReplaceTempView(name)
    return list(session.sql(query).collect())


def plain(rows: list[Any]) -> list[tuple[Any, ...]]:
    """Return rows in an order that both give, with plain numbers."""
    found = [tuple(int(value) if isinstance(value, Decimal) else value for value in row) for row in rows]
    return sorted(found, key=lambda row: row[0])


def test_blocks_are_paired_alike_on_spark(spark: Any) -> None:
    """Row by row; so a fleet's recordings can be paired where one machine is too small."""
    query = "select seq, released_seq, released_ns, released_operation, reason from blocks"
    expected = plain(paired_by_duckdb(query))
    assert plain(paired_by_spark(spark.session.newSession(), query)) == expected
    assert {row[3] for row in expected} >= {None, "free", "realloc_free", "lost", "exit"}
