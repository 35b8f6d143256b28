"""`gadgetops top`: who allocates most."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gadgetops.commands.common.options import verb
from gadgetops.commands.common.question_options import (
    answer_options,
    fleet_options,
    opened,
    print_answer,
    status_of,
)

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters, GroupBy
    from gadgetops.questions.top import Measure


@verb(
    "top",
    example="gadgetops top program.gadgetrec\n"
    "gadgetops top program.gadgetrec --by calls --group-by function --limit 5",
)
@fleet_options
@click.option(
    "--by",
    type=click.Choice(["bytes", "calls", "live", "temporary", "peak"]),
    default="bytes",
    show_default=True,
    help="What to count: bytes allocated, allocations, bytes not released, allocations released at once, "
    "bytes live at the peak.",
)
@answer_options("stack")
def command(
    recording: Path,
    by: "Measure",
    filters: "Filters",
    group_by: "GroupBy",
    limit: int | None,
    output_format: str,
) -> int:
    """Show which stacks of RECORDING have most, and their share of the whole."""
    return print_top(recording, by, filters, group_by, limit, output_format)


def print_top(
    recording: Path,
    by: "Measure",
    filters: "Filters | None",
    group_by: Any,
    limit: int | None,
    output_format: str,
) -> int:
    """Print the answer and return the exit status; None for no filters."""
    # Imported here: DuckDB would cost every `--help` a tenth of a second.
    from gadgetops.questions.asking.filters import ALL  # noqa: PLC0415
    from gadgetops.questions.top import top  # noqa: PLC0415
    from gadgetops.report.answers import one_line  # noqa: PLC0415
    from gadgetops.report.top import top_as_text  # noqa: PLC0415

    found = top(opened(recording, group_by), by, filters or ALL, group_by)
    print_answer(
        output_format,
        text=lambda shown: top_as_text(found, group_by, limit=shown),
        json_value=found.to_json,
        rows=lambda: [
            {
                "bytes": share.amount.size_bytes,
                "calls": share.amount.count,
                "share": share.share,
                "group": one_line(share.group),
            }
            for share in found.shares
        ],
        columns=("bytes", "calls", "share", "group"),
        limit=limit,
    )
    return status_of(found.certainty.word)
