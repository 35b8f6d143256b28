"""Results on standard output: tables for people, JSON and CSV for programs."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    output_format: str,
    *,
    json_value: Any = None,
) -> None:
    """
    Print *rows* as `table`, `json` or `csv`.

    Args:
        rows: One mapping a row.
        columns: Key of a row -> heading, in order; table and CSV show these alone.
        output_format: `"table"`, `"json"` or `"csv"`.
        json_value: Printed as JSON instead of *rows*, where the JSON says more than the table.
    """
    if output_format == "json":
        print_json(list(rows) if json_value is None else json_value)
    elif output_format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([row[key] for key in columns] for row in rows)
    else:
        print_table([[_cell(row[key]) for key in columns] for row in rows], list(columns.values()))


def print_json(value: Any) -> None:
    """Print *value* as JSON, two spaces a level, members in the order they have."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(rows: Sequence[Sequence[str]], headings: Sequence[str]) -> None:
    """Print *rows* under *headings*, columns aligned and never cut; nothing if there are no rows."""
    if not rows:
        return
    lines = [[heading.upper() for heading in headings], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
