"""`gadgetops top`: who allocates most."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gadgetops.commands.common.options import verb
from gadgetops.commands.options.question_options import fleet_options, opened, question
from gadgetops.errors import UsageError

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters, GroupBy
    from gadgetops.questions.top import Measure
    from gadgetops.report.answers import Forms


@verb(
    "top",
    example="gadgetops top program.gadgetrec\n"
    "gadgetops top program.gadgetrec --by calls --group-by function --limit 5",
)
@fleet_options
@click.option(
    "--by",
    type=click.Choice(["bytes", "calls", "live", "temporary", "peak"]),
    default="bytes",
    show_default=True,
    help="What to count: bytes allocated, allocations, bytes not released, allocations released at once, "
    "bytes live at the peak.",
)
@click.option(
    "--inclusive",
    is_flag=True,
    help="Count for each function, or module, what it calls, too; groups by function unless by module.",
)
@question("stack")
def command(
    recording: Path, by: "Measure", inclusive: bool, filters: "Filters", group_by: "GroupBy"
) -> "Forms":
    """Show which stacks of RECORDING have most, and their share of the whole."""
    from gadgetops.questions.top import top, top_inclusive
    from gadgetops.report.top import top_forms

    if inclusive and group_by == "stack":
        group_by = "function"
    if inclusive and group_by not in ("function", "module"):
        raise UsageError(f"--inclusive goes with --group-by function or module, not {group_by}")
    ask = top_inclusive if inclusive else top
    return top_forms(ask(opened(recording, group_by), by, filters, group_by), group_by)
