"""`gadgetops faults`: calls that were wrong, or went wrong."""

from pathlib import Path
from typing import TYPE_CHECKING

from gadgetops.commands.common.options import verb
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
    "faults",
    example="gadgetops faults program.gadgetrec\ngadgetops faults program.gadgetrec --group-by function",
)
@fleet_options
@answer_options("stack")
def command(
    recording: Path, filters: "Filters", group_by: "GroupBy", limit: int | None, output_format: str
) -> int:
    """Show double releases, releases of what is not allocated, or not in that way, and failed allocations.

    Stacks and filters are those of the faulty call. A release has no size: it counts as 0 bytes.
    """
    # Imported here: DuckDB would cost every `--help` a tenth of a second.
    from gadgetops.questions.faults import faults  # noqa: PLC0415
    from gadgetops.report.answers import one_line  # noqa: PLC0415
    from gadgetops.report.faults import faults_as_text  # noqa: PLC0415

    found = faults(opened(recording, group_by), filters, group_by)
    print_answer(
        output_format,
        text=lambda shown: faults_as_text(found, group_by, limit=shown),
        json_value=found.to_json,
        rows=lambda: [
            {
                "kind": fault.kind,
                "operation": fault.operation,
                "calls": fault.count,
                "bytes": fault.size_bytes,
                "first_ns": fault.first_ns,
                "group": one_line(fault.group),
            }
            for fault in found.faults
        ],
        columns=("kind", "operation", "calls", "bytes", "first_ns", "group"),
        limit=limit,
    )
    return status_of(found.certainty.word)
