"""`gadgetops timeline`: live memory and the rate of allocations over time."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gadgetops.commands.common.options import verb
from gadgetops.commands.common.value_types import count
from gadgetops.commands.options.question_options import fleet_options, opened, question

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters, GroupBy
    from gadgetops.report.answers import Forms
    from gadgetops.report.drawing import Drawing


@verb(
    "timeline",
    example="gadgetops timeline program.gadgetrec\n"
    "gadgetops timeline program.gadgetrec --group-by thread --limit 5\n"
    "gadgetops timeline program.gadgetrec --buckets 1000 --format csv",
)
@fleet_options
@click.option(
    "--buckets",
    type=count(1, 100_000),
    default=60,
    show_default=True,
    help="Cut the time into N equal parts.",
)
@question(None, is_drawn=True)
def command(
    recording: Path, buckets: int, filters: "Filters", group_by: "GroupBy | None", drawing: "Drawing"
) -> "Forms":
    """Show how the live bytes of RECORDING went, and how many allocations a second there were.

    The chart is as wide as the terminal; what stands for a part is what was live at its end. CSV has a row
    for each part and group; --limit counts groups.
    """
    from gadgetops.questions.timeline import timeline
    from gadgetops.report.timeline import timeline_forms

    found = timeline(opened(recording, group_by), buckets, filters, group_by)
    return timeline_forms(found, group_by, drawing)
