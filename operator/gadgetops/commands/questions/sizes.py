"""`gadgetops sizes`: how large allocations are."""

from pathlib import Path
from typing import TYPE_CHECKING

from gadgetops.commands.common.options import verb
from gadgetops.commands.options.question_options import fleet_options, opened, question

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters, GroupBy
    from gadgetops.report.answers import Forms
    from gadgetops.report.drawing import Drawing


@verb(
    "sizes",
    example="gadgetops sizes program.gadgetrec\n"
    "gadgetops sizes program.gadgetrec --group-by function --limit 3",
)
@fleet_options
@question(None, is_drawn=True)
def command(recording: Path, filters: "Filters", group_by: "GroupBy | None", drawing: "Drawing") -> "Forms":
    """Show how large the allocations of RECORDING are, from each power of two to the next."""
    from gadgetops.questions.sizes import sizes
    from gadgetops.report.sizes import sizes_forms

    return sizes_forms(sizes(opened(recording, group_by), filters, group_by), group_by, drawing)
