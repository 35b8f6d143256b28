"""`gadgetops sizes`: how large allocations are."""

from pathlib import Path
from typing import TYPE_CHECKING

from gadgetops.commands.common.options import verb
from gadgetops.commands.options.drawing_option import ascii_option, drawing
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
    "sizes",
    example="gadgetops sizes program.gadgetrec\n"
    "gadgetops sizes program.gadgetrec --group-by function --limit 3",
)
@fleet_options
@ascii_option
@answer_options(None)
def command(
    recording: Path,
    filters: "Filters",
    group_by: "GroupBy | None",
    limit: int | None,
    output_format: str,
    is_ascii: bool,
) -> int:
    """Show how large the allocations of RECORDING are, from each power of two to the next."""
    # Imported here: DuckDB would cost every `--help` a tenth of a second.
    from gadgetops.questions.sizes import sizes  # noqa: PLC0415
    from gadgetops.report.answers import one_line  # noqa: PLC0415
    from gadgetops.report.sizes import sizes_as_text  # noqa: PLC0415

    found = sizes(opened(recording, group_by), filters, group_by)
    print_answer(
        output_format,
        text=lambda shown: sizes_as_text(found, group_by, limit=shown, drawing=drawing(is_ascii)),
        json_value=found.to_json,
        rows=lambda: [
            {
                "min_bytes": bucket.min_bytes,
                "max_bytes": bucket.max_bytes,
                "bytes": bucket.allocated.size_bytes,
                "calls": bucket.allocated.count,
                "live_bytes": bucket.live.size_bytes,
                "live_count": bucket.live.count,
                "group": one_line(group.group),
            }
            for group in found.groups[:limit]
            for bucket in group.buckets
        ],
        columns=("min_bytes", "max_bytes", "bytes", "calls", "live_bytes", "live_count", "group"),
        limit=limit if output_format != "csv" else None,
    )
    return status_of(found.certainty.word)
