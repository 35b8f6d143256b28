"""`gadgetops resizes`: what realloc resized."""

from pathlib import Path
from typing import TYPE_CHECKING

from gadgetops.commands.common.options import verb
from gadgetops.commands.options.question_options import fleet_options, opened, question

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters, GroupBy
    from gadgetops.report.answers import Forms


@verb(
    "resizes",
    example="gadgetops resizes program.gadgetrec\n"
    "gadgetops resizes program.gadgetrec --group-by function --min-size 64k",
)
@fleet_options
@question("stack")
def command(recording: Path, filters: "Filters", group_by: "GroupBy") -> "Forms":
    """Show which allocations of RECORDING realloc resized, and how many bytes they held.

    Many large ones are a buffer that grows step by step: reserve its size at once, or double it.
    """
    from gadgetops.questions.figures import FIGURE_QUESTIONS, answer_figures
    from gadgetops.report.answers import figure_forms

    asked = FIGURE_QUESTIONS["resizes"]
    return figure_forms(answer_figures(opened(recording, group_by), asked, filters, group_by), group_by)
