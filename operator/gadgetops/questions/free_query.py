"""
Any question in SQL, over the views that the answers are made of.

The query is one statement that reads. It sees the recording's files and what pairing stored beside them, and
nothing else of the machine: DuckDB is told so and its configuration locked before it reads the query.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Final, TypeVar

import duckdb

from gadgetops.errors import QueryError
from gadgetops.pairing.pairs import paired
from gadgetops.recording.reader import Recording

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

T = TypeVar("T")

VIEWS: Final = (
    "events",
    "stacks",
    "frames",
    "modules",
    "processes",
    "allocations",
    "partial_releases",
    "unmatched_releases",
)
"""What a query can ask; docs/answers.md says which columns they have."""

_FILE: Final = re.compile(r"'((?:[^']|'')*\.parquet)'")
"""A path in the text of a view, as `read_parquet` takes it: quotes doubled, wildcards in brackets."""
_BATCH_ROWS: Final = 10_000
_HINT: Final = f"the views are {', '.join(VIEWS)}; docs/answers.md has their columns"


@dataclass(frozen=True)
class Table:
    """
    What a query gives.

    Args:
        columns: Their names, in order; no two are the same.
        rows: Values as Python has them; read as they are asked for, once.
    """

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


@contextlib.contextmanager
def query(recording: Recording, sql: str) -> Iterator[Table]:
    """
    Give what the statement *sql* selects from the views of *recording*.

    Raises:
        QueryError: It is no single statement that reads, or DuckDB refuses it.
        RecordingError: The recording could not be paired, or read.
    """
    with _asked(recording) as connection:
        # A subquery would change what `describe` and `summarize` mean, so statements run as they are.
        connection.execute(_statement(connection, sql))
        columns = _distinct([str(column[0]) for column in connection.description or ()])
        yield Table(columns, _rows(connection))


def fetched(recording: Recording, sql: str, fetch: Callable[["DuckDBPyRelation"], T]) -> T:
    """
    Return what *fetch* makes of what the statement *sql* selects; errors as of `query`.

    Args:
        recording: What is asked.
        sql: The query.
        fetch: Takes the result from DuckDB as a whole, as an Arrow table, say.
    """
    with _asked(recording) as connection:
        _statement(connection, sql)
        return fetch(connection.sql(sql))


@contextlib.contextmanager
def _asked(recording: Recording) -> Iterator["DuckDBPyConnection"]:
    """Give a connection that reads the views and nothing else; what DuckDB refuses is a `QueryError`."""
    with paired(recording) as connection:
        _lock(connection)
        try:
            yield connection
        except duckdb.IOException:
            # A damaged or vanished file, or a full disk: no fault of the query.
            raise
        except duckdb.Error as error:
            raise QueryError(_sentence(error), hint=_HINT) from error


def _lock(connection: "DuckDBPyConnection") -> None:
    """Let *connection* read what its views read, spill to its own scratch folder, and touch nothing else."""
    [(scratch,)] = connection.execute("select current_setting('temp_directory')").fetchall()
    connection.execute("set allowed_directories = $folders", {"folders": [scratch]})
    connection.execute("set allowed_paths = $paths", {"paths": _files(connection)})
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def _files(connection: "DuckDBPyConnection") -> list[str]:
    """Return the paths of the files that the views of *connection* are made of."""
    views = connection.execute("select sql from duckdb_views() where not internal").fetchall()
    patterns = {name.replace("''", "'") for (sql,) in views for name in _FILE.findall(sql)}
    # DuckDB asks for the pattern before it asks for the file that the pattern means.
    return sorted(patterns | {re.sub(r"\[([*?\[\]])\]", r"\1", pattern) for pattern in patterns})


def _statement(connection: "DuckDBPyConnection", sql: str) -> duckdb.Statement:
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError(f"expected one statement, got {len(statements)}", hint=_HINT)
    if statements[0].type != duckdb.StatementType.SELECT:
        raise QueryError(f"only reading is allowed, not {statements[0].type.name}", hint="ask with `select`")
    return statements[0]


def _rows(connection: "DuckDBPyConnection") -> Iterator[tuple[Any, ...]]:
    while batch := connection.fetchmany(_BATCH_ROWS):
        yield from batch


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return *names*, with `_1` and so on behind those that were there before."""
    found: dict[str, None] = {}
    for name in names:
        candidates = chain([name], (f"{name}_{number}" for number in count(1)))
        found[next(candidate for candidate in candidates if candidate not in found)] = None
    return tuple(found)


def _sentence(error: duckdb.Error) -> str:
    """Return DuckDB's message without its pointer into the query, which is empty lines and a caret."""
    return " ".join(str(error).split("\n\nLINE ", maxsplit=1)[0].split())
