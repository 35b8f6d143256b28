"""`gadgetops summary`: a recording at a glance."""

from pathlib import Path
from typing import TYPE_CHECKING

from gadgetops.commands.common.options import format_option, verb
from gadgetops.commands.options.question_options import (
    filter_options,
    fleet_options,
    opened,
    print_forms,
)

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters


@verb(
    "summary",
    example="gadgetops summary program.gadgetrec\n"
    "gadgetops summary program.gadgetrec --since 10s --until 1min",
)
@fleet_options
@filter_options
@format_option
def command(recording: Path, filters: "Filters", output_format: str) -> int:
    """Show what RECORDING comes to: allocations, peak, what is not released, rates, and how sure that is.

    CSV has the functions that allocated, with their bytes and calls.
    """
    from gadgetops.questions.summary import summary
    from gadgetops.report.summary import summary_forms

    return print_forms(summary_forms(summary(opened(recording), filters)), output_format)
