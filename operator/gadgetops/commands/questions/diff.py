"""`gadgetops diff`: what changed between two recordings."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gadgetops.commands.common.completers import recordings
from gadgetops.commands.common.options import verb
from gadgetops.commands.options.question_options import question

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters, GroupBy
    from gadgetops.questions.diff import Per
    from gadgetops.questions.top import Measure
    from gadgetops.report.answers import Forms


@verb(
    "diff",
    example="gadgetops diff before.gadgetrec after.gadgetrec\n"
    "gadgetops diff before.gadgetrec after.gadgetrec --by calls --per second",
)
@click.argument("before", metavar="BEFORE", type=click.Path(path_type=Path), shell_complete=recordings)
@click.argument("after", metavar="AFTER", type=click.Path(path_type=Path), shell_complete=recordings)
@click.option(
    "--by",
    type=click.Choice(["bytes", "calls", "live", "temporary", "peak"]),
    default="live",
    show_default=True,
    help="What to compare, as `gadgetops top --by` counts it.",
)
@click.option(
    "--per",
    type=click.Choice(["recording", "second", "call"]),
    default="recording",
    show_default=True,
    help="Scale BEFORE to the duration of AFTER (second), or to its number of allocations (call).",
)
@question("stack")
def command(
    before: Path,
    after: Path,
    by: "Measure",
    per: "Per",
    filters: "Filters",
    group_by: "GroupBy",
) -> "Forms":
    """Show what is new, grown, shrunk or gone from the recording BEFORE to AFTER, by stack.

    Stacks are the same if their functions are, in files of the same names: whatever the addresses and lines,
    whenever it was compiled.
    """
    from gadgetops.questions.diff import diff
    from gadgetops.recording.reader import open_recording
    from gadgetops.report.diff import diff_forms

    found = diff(open_recording(before), open_recording(after), by, per, filters, group_by)
    return diff_forms(found, group_by)
