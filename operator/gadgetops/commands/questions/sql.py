"""`gadgetops sql`: any question."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import format_option, verb
from gadgetops.commands.common.output import print_table
from gadgetops.commands.common.output_file import read_text
from gadgetops.commands.common.value_types import count
from gadgetops.commands.options.question_options import recording_argument

if TYPE_CHECKING:
    from gadgetops.questions.free_query import Table

_SHOWN_ROWS = 1000


@verb(
    "sql",
    example="gadgetops sql program.gadgetrec 'select operation, count(*) from events group by all'\n"
    'gadgetops sql program.gadgetrec "from allocations where size_bytes > 1e6" --format csv',
)
@recording_argument
@click.argument("query", metavar="QUERY|-")
@click.option(
    "--limit",
    type=count(),
    help=f"Show the first N rows.  [default: {_SHOWN_ROWS:,}; all as JSON or CSV]",
)
@format_option
def command(recording: Path, query: str, limit: int | None, output_format: str) -> int:
    """Ask RECORDING a QUERY in DuckDB's SQL.

    Its views are events, stacks, frames, modules, processes, allocations, partial_releases and
    unmatched_releases; docs/answers.md has their columns. A query reads these and no other file, and writes
    none.
    """
    from gadgetops.questions.free_query import query as ask
    from gadgetops.recording.reader import open_recording

    with ask(open_recording(recording), read_text(query)) as table:
        if output_format == "table":
            _print_table(table, _SHOWN_ROWS if limit is None else limit)
        elif output_format == "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(table.columns)
            writer.writerows(islice(table.rows, limit))
        else:
            _print_json(table.columns, islice(table.rows, limit))
    return 0


def _print_table(table: "Table", limit: int) -> None:
    from gadgetops.report.answers import printable

    rows = [*islice(table.rows, limit + 1)]
    shown = [["-" if value is None else printable(str(value)) for value in row] for row in rows[:limit]]
    print_table(shown, table.columns)
    if not rows:
        messages.say("no rows")
    if len(rows) > limit:
        messages.say("there are more rows; --limit shows them")


def _print_json(columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Print a list with an object for each row, while rows come: they may be millions."""
    names = [*columns]
    objects = (dict(zip(names, row, strict=True)) for row in rows)
    lines = (json.dumps(each, ensure_ascii=False, default=str) for each in objects)
    click.echo("[")
    for line in _with_commas(lines):
        click.echo(f"  {line}")
    click.echo("]")


def _with_commas(lines: Iterator[str]) -> Iterator[str]:
    """Yield *lines* with a comma after all but the last."""
    before = next(lines, None)
    for line in lines:
        yield f"{before},"
        before = line
    if before is not None:
        yield before
