"""`gadgetops temporary`: what is released at once."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gadgetops.commands.common.options import verb
from gadgetops.commands.common.value_types import count
from gadgetops.commands.options.question_options import (
    answer_options,
    fleet_options,
    opened,
    print_answer,
    status_of,
)

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters, GroupBy


@verb(
    "temporary",
    example="gadgetops temporary program.gadgetrec\n"
    "gadgetops temporary program.gadgetrec --others 0 --group-by function",
)
@fleet_options
@click.option(
    "--others",
    type=count(0, 10**6),
    default=1,
    show_default=True,
    help="Allow N other allocations of the thread in between.",
)
@answer_options("stack")
def command(
    recording: Path,
    others: int,
    filters: "Filters",
    group_by: "GroupBy",
    limit: int | None,
    output_format: str,
) -> int:
    """Show which allocations of RECORDING their own thread released at once.

    Many of them in one place are often a buffer that a loop could keep, or a container that grows step by
    step.
    """
    # Imported here: DuckDB would cost every `--help` a tenth of a second.
    from gadgetops.questions.temporary import temporary  # noqa: PLC0415
    from gadgetops.report.answers import one_line  # noqa: PLC0415
    from gadgetops.report.top import temporary_as_text  # noqa: PLC0415

    found = temporary(opened(recording, group_by), others, filters, group_by)
    print_answer(
        output_format,
        text=lambda shown: temporary_as_text(found, group_by, limit=shown),
        json_value=found.to_json,
        rows=lambda: [
            {
                "temporary_bytes": row.temporary.size_bytes,
                "temporary_calls": row.temporary.count,
                "calls": row.allocated.count,
                "share": row.share,
                "group": one_line(row.group),
            }
            for row in found.rows
            if row.temporary.count
        ],
        columns=("temporary_bytes", "temporary_calls", "calls", "share", "group"),
        limit=limit,
    )
    return status_of(found.certainty.word)
