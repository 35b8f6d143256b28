"""`gadgetops summary`: a recording at a glance."""

from pathlib import Path
from typing import TYPE_CHECKING

from gadgetops.commands.common.options import format_option, verb
from gadgetops.commands.common.output import print_json, print_rows
from gadgetops.commands.common.terminal import show
from gadgetops.commands.options.question_options import (
    filter_options,
    fleet_options,
    opened,
    status_of,
)

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters

_COLUMNS = ("operation", "bytes", "calls")


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
    # Imported here: DuckDB would cost every `--help` a tenth of a second.
    from gadgetops.questions.summary import summary  # noqa: PLC0415
    from gadgetops.report.summary import summary_as_text  # noqa: PLC0415

    found = summary(opened(recording), filters)
    if output_format == "table":
        show(summary_as_text(found))
    elif output_format == "json":
        print_json(found.to_json())
    else:
        rows = [
            {"operation": name, "bytes": amount.size_bytes, "calls": amount.count}
            for name, amount in found.operations.items()
        ]
        print_rows(rows, {column: column for column in _COLUMNS}, output_format)
    return status_of(found.certainty.word)
