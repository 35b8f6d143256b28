"""`gadgetops leaks`: what was never released, by stack."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import format_option, verb
from gadgetops.commands.common.output import print_rows
from gadgetops.commands.common.terminal import show
from gadgetops.commands.common.value_types import count
from gadgetops.commands.options.drawing_option import ascii_option, drawing
from gadgetops.commands.options.question_options import (
    filter_options,
    fleet_options,
    group_by_option,
    is_fleet,
    opened,
    print_forms,
    status_of,
)
from gadgetops.errors import UsageError

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters, GroupBy
    from gadgetops.questions.leaks.rules import Kind
    from gadgetops.report.answers import Forms
    from gadgetops.report.leaks import Memory, Sort

_SHOWN_STACKS = 20
_BY_STACK = "stack"
_COLUMNS = {"bytes": "bytes", "count": "count", "trend": "trend", "stack": "stack"}


@verb(
    "leaks",
    example="gadgetops leaks program.gadgetrec --limit 5\n"
    "gadgetops leaks program.gadgetrec --suppressions known.supp\n"
    "gadgetops leaks program.gadgetrec --module libssl --since 10s --format json\n"
    "gadgetops leaks 'fleet/**/*.gadgetrec' --group-by label:version",
)
@fleet_options
@group_by_option(_BY_STACK)
@click.option(
    "--limit",
    type=count(),
    help=f"Show the first N stacks.  [default: {_SHOWN_STACKS}; all as JSON or CSV]",
)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(["growing", "levelling", "plateau", "startup", "recent", "unclear"]),
    help="Show only stacks with this verdict; may be repeated.",
)
@click.option(
    "--sort",
    type=click.Choice(["verdict", "bytes", "count", "age", "speed"]),
    default="verdict",
    show_default=True,
    help="What stands first; verdict: what grows, then what is left of a time, then start-up.",
)
@click.option(
    "--memory",
    type=click.Choice(["heap", "mappings", "all"]),
    help="Show the heap (the malloc family), mappings by mmap, or both.  [default: heap; all as JSON]",
)
@click.option(
    "--suppressions",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Leave out the stacks that its lines match, `leak:PATTERN` as LeakSanitizer has them.",
)
@filter_options
@format_option
@ascii_option
def command(
    recording: Path,
    limit: int | None,
    kinds: "tuple[Kind, ...]",
    sort: "Sort",
    memory: "Memory | None",
    suppressions: Sequence[Path],
    group_by: "GroupBy",
    filters: "Filters",
    output_format: str,
    is_ascii: bool,
) -> int:
    """Show what RECORDING allocated and the program never released, by stack, what grows first.

    The first word says how far to believe it: certain, possible (something is missing; how much there is at
    least is shown too), or inconclusive (nothing was recorded; exit status 4). Below each stack's amount
    stands whether it grows like a leak or rests like a cache, and why; docs/verdicts.md has the rules.
    RECORDING may still be written. On a terminal the course of each stack's live bytes is drawn.

    Of many recordings, as 'fleet/**/*.gadgetrec', or by other groups than stacks, the answer is that of
    `top --by live`.
    """
    if group_by != _BY_STACK or is_fleet(recording):
        if suppressions:
            raise UsageError("--suppressions goes with the stacks of one recording alone")
        return print_forms(_by_other_groups(recording, filters, group_by), output_format, limit)
    from gadgetops.questions.leaks.leaks import leaks_in
    from gadgetops.questions.leaks.suppressions import read_suppressions
    from gadgetops.report.leaks import View, chosen_leaks, folded, leaks_as_text

    patterns = read_suppressions(suppressions)
    found = leaks_in(recording, filters).without(patterns)
    if not filters.is_empty and not found.allocated.count:
        messages.warn("the filters choose no allocation of this recording")
    memory = memory or ("all" if output_format == "json" else "heap")
    drawn = drawing(is_ascii) if is_ascii or sys.stdout.isatty() else None
    view = View(_SHOWN_STACKS if limit is None else limit, memory, kinds, sort, drawn)
    if output_format == "table":
        show(leaks_as_text(found, view))
    else:
        shown = chosen_leaks(found, view)[:limit]
        rows = [
            {
                "bytes": leak.live_bytes,
                "count": leak.live_count,
                "trend": leak.trend.kind,
                "stack": folded(leak),
            }
            for leak in shown
        ]
        document = {**found.to_json(), "leaks": [leak.to_json() for leak in shown]}
        print_rows(rows, _COLUMNS, output_format, json_value=document)
    return status_of(found.certainty.word)


def _by_other_groups(recording: Path, filters: "Filters", group_by: "GroupBy") -> "Forms":
    from gadgetops.questions.top import top
    from gadgetops.report.top import top_forms

    return top_forms(top(opened(recording, group_by), "live", filters, group_by), group_by)
