"""`gadgetops lifetimes`: how long allocations lived."""

from pathlib import Path
from typing import TYPE_CHECKING

from gadgetops.commands.common.options import verb
from gadgetops.commands.options.question_options import fleet_options, opened, question

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters, GroupBy
    from gadgetops.report.answers import Forms
    from gadgetops.report.drawing import Drawing


@verb(
    "lifetimes",
    example="gadgetops lifetimes program.gadgetrec\n"
    "gadgetops lifetimes program.gadgetrec --group-by function --min-size 64k",
)
@fleet_options
@question("stack", is_drawn=True)
def command(recording: Path, filters: "Filters", group_by: "GroupBy", drawing: "Drawing") -> "Forms":
    """Show how long the allocations of RECORDING lived until they were released.

    What is live at the end, or went with its process, has no lifetime and is only counted.
    """
    from gadgetops.questions.lifetimes import lifetimes
    from gadgetops.report.sizes import lifetimes_forms

    return lifetimes_forms(lifetimes(opened(recording, group_by), filters, group_by), group_by, drawing)
