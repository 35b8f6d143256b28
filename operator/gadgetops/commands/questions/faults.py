"""`gadgetops faults`: calls that were wrong, or went wrong."""

from pathlib import Path
from typing import TYPE_CHECKING

from gadgetops.commands.common.options import verb
from gadgetops.commands.options.question_options import fleet_options, opened, question

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters, GroupBy
    from gadgetops.report.answers import Forms


@verb(
    "faults",
    example="gadgetops faults program.gadgetrec\ngadgetops faults program.gadgetrec --group-by function",
)
@fleet_options
@question("stack")
def command(recording: Path, filters: "Filters", group_by: "GroupBy") -> "Forms":
    """Show double releases, releases of what is not allocated, or not in that way, and failed allocations.

    Stacks and filters are those of the faulty call. A release has no size: it counts as 0 bytes.
    """
    from gadgetops.questions.faults import faults
    from gadgetops.report.faults import faults_forms

    return faults_forms(faults(opened(recording, group_by), filters, group_by), group_by)
