"""`gadgetops diff`: what changed between two recordings."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gadgetops.commands.common.completers import recordings
from gadgetops.commands.common.options import verb
from gadgetops.commands.options.question_options import answer_options, print_answer, status_of

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters, GroupBy
    from gadgetops.questions.diff import Per
    from gadgetops.questions.top import Measure

_COLUMNS = ("change", "change_amount", "before_bytes", "before_count", "after_bytes", "after_count", "group")


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
@answer_options("stack")
def command(
    before: Path,
    after: Path,
    by: "Measure",
    per: "Per",
    filters: "Filters",
    group_by: "GroupBy",
    limit: int | None,
    output_format: str,
) -> int:
    """Show what is new, grown, shrunk or gone from the recording BEFORE to AFTER, by stack.

    Stacks are the same if their functions are, in files of the same names: whatever the addresses and lines,
    whenever it was compiled.
    """
    # Imported here: DuckDB would cost every `--help` a tenth of a second.
    from gadgetops.questions.diff import diff  # noqa: PLC0415
    from gadgetops.recording.reader import open_recording  # noqa: PLC0415
    from gadgetops.report.answers import one_line  # noqa: PLC0415
    from gadgetops.report.diff import diff_as_text  # noqa: PLC0415

    found = diff(open_recording(before), open_recording(after), by, per, filters, group_by)
    print_answer(
        output_format,
        text=lambda shown: diff_as_text(found, group_by, limit=shown),
        json_value=found.to_json,
        rows=lambda: [
            {
                "change": row.change,
                "change_amount": row.change_amount,
                "before_bytes": row.before.size_bytes,
                "before_count": row.before.count,
                "after_bytes": row.after.size_bytes,
                "after_count": row.after.count,
                "group": one_line(row.group),
            }
            for row in found.rows
            if row.change != "same"
        ],
        columns=_COLUMNS,
        limit=limit,
    )
    return status_of(found.certainty_before.word, found.certainty_after.word)
