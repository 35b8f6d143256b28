"""`gadgetops peak`: what was live when most bytes were."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gadgetops.commands.common.options import verb
from gadgetops.commands.common.value_types import nanoseconds
from gadgetops.commands.options.question_options import fleet_options, opened, question
from gadgetops.errors import UsageError

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters, GroupBy
    from gadgetops.report.answers import Forms


@verb(
    "peak",
    example="gadgetops peak program.gadgetrec\n"
    "gadgetops peak program.gadgetrec --thread 4712 --group-by module\n"
    "gadgetops peak program.gadgetrec --from 10s --to 20s",
)
@fleet_options
@click.option(
    "--from",
    "from_ns",
    metavar="TIME",
    type=nanoseconds(),
    default=0,
    help="Look for the moment from TIME on, after the first event; what was allocated before counts, too.",
)
@click.option("--to", "to_ns", metavar="TIME", type=nanoseconds(), help="Look for the moment before TIME.")
@question("stack")
def command(
    recording: Path, from_ns: int, to_ns: int | None, filters: "Filters", group_by: "GroupBy"
) -> "Forms":
    """Show what RECORDING had live at the moment when most bytes were, exactly.

    With filters: the moment when most bytes of the chosen allocations were live. Of several moments the
    first. --from and --to choose moments, filters choose allocations.
    """
    if to_ns is not None and to_ns <= from_ns:
        raise UsageError(
            "--to is not after --from: no moment is left", hint="both count from the first event"
        )
    from gadgetops.questions.peak import peak
    from gadgetops.report.top import peak_forms

    found = peak(opened(recording, group_by), filters, group_by, from_ns=from_ns, to_ns=to_ns)
    return peak_forms(found, group_by)
