"""`gadgetops tree`: who calls what allocates."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gadgetops.commands.common.options import table_or_json_option, verb
from gadgetops.commands.common.output import print_json
from gadgetops.commands.common.terminal import show
from gadgetops.commands.common.value_types import percent
from gadgetops.commands.options.question_options import filter_options, fleet_options, opened, status_of

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters
    from gadgetops.questions.top import Measure


@verb(
    "tree",
    example="gadgetops tree program.gadgetrec\ngadgetops tree program.gadgetrec --by live --up --min-share 5",
)
@fleet_options
@click.option(
    "--by",
    type=click.Choice(["bytes", "calls", "live", "temporary", "peak"]),
    default="bytes",
    show_default=True,
    help="What to count, as in `top`.",
)
@click.option("--up", is_flag=True, help="Begin with the functions that allocate, then their callers.")
@click.option(
    "--min-share",
    type=percent(),
    default=1.0,
    show_default=True,
    help="Fold branches away that have less of the whole.",
)
@filter_options
@table_or_json_option()
def command(
    recording: Path, by: "Measure", up: bool, min_share: float, filters: "Filters", output_format: str
) -> int:
    """Show the calls of RECORDING as a tree, each function with all that is allocated below it.

    From the callers down; with --up from the functions that allocate, wrappers such as xmalloc left out.
    """
    from gadgetops.questions.tree import tree
    from gadgetops.report.top import MEASURED
    from gadgetops.report.tree import tree_as_text

    found = tree(opened(recording), by, filters, "up" if up else "down", min_share / 100)
    if output_format == "json":
        print_json(found.to_json())
    else:
        show(tree_as_text(found, MEASURED[by]))
    return status_of(found.certainty.word)
