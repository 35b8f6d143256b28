"""`gadgetops peak`: what was live when most bytes were."""

from pathlib import Path
from typing import TYPE_CHECKING

from gadgetops.commands.common.options import verb
from gadgetops.commands.options.question_options import fleet_options, opened, question

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters, GroupBy
    from gadgetops.report.answers import Forms


@verb(
    "peak",
    example="gadgetops peak program.gadgetrec\n"
    "gadgetops peak program.gadgetrec --thread 4712 --group-by module",
)
@fleet_options
@question("stack")
def command(recording: Path, filters: "Filters", group_by: "GroupBy") -> "Forms":
    """Show what RECORDING had live at the moment when most bytes were, exactly.

    With filters: the moment when most bytes of the chosen allocations were live. Of several moments the
    first.
    """
    from gadgetops.questions.peak import peak
    from gadgetops.report.top import peak_forms

    return peak_forms(peak(opened(recording, group_by), filters, group_by), group_by)
