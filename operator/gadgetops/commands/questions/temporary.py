"""`gadgetops temporary`: what is released at once."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gadgetops.commands.common.options import verb
from gadgetops.commands.common.value_types import count
from gadgetops.commands.options.question_options import fleet_options, opened, question

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters, GroupBy
    from gadgetops.report.answers import Forms


@verb(
    "temporary",
    example="gadgetops temporary program.gadgetrec\n"
    "gadgetops temporary program.gadgetrec --others 0 --group-by function",
)
@fleet_options
@click.option(
    "--others",
    type=count(0, 10**6),
    default=1,
    show_default=True,
    help="Allow N other allocations of the thread in between.",
)
@question("stack")
def command(recording: Path, others: int, filters: "Filters", group_by: "GroupBy") -> "Forms":
    """Show which allocations of RECORDING their own thread released at once.

    Many of them in one place are often a buffer that a loop could keep, or a container that grows step by
    step.
    """
    from gadgetops.questions.temporary import temporary
    from gadgetops.report.top import temporary_forms

    return temporary_forms(temporary(opened(recording, group_by), others, filters, group_by), group_by)
