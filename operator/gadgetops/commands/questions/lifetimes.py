"""`gadgetops lifetimes`: how long allocations lived."""

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

_COLUMNS = ("released_count", "other_count", "p50_ns", "p90_ns", "p99_ns", "max_ns")


@verb(
    "lifetimes",
    example="gadgetops lifetimes program.gadgetrec\n"
    "gadgetops lifetimes program.gadgetrec --group-by function --min-size 64k",
)
@fleet_options
@ascii_option
@answer_options("stack")
def command(
    recording: Path,
    filters: "Filters",
    group_by: "GroupBy",
    limit: int | None,
    output_format: str,
    is_ascii: bool,
) -> int:
    """Show how long the allocations of RECORDING lived until they were released.

    What is live at the end, or went with its process, has no lifetime and is only counted.
    """
    # Imported here: DuckDB would cost every `--help` a tenth of a second.
    from gadgetops.questions.lifetimes import lifetimes  # noqa: PLC0415
    from gadgetops.report.answers import one_line  # noqa: PLC0415
    from gadgetops.report.sizes import lifetimes_as_text  # noqa: PLC0415

    found = lifetimes(opened(recording, group_by), filters, group_by)
    print_answer(
        output_format,
        text=lambda shown: lifetimes_as_text(found, group_by, limit=shown, drawing=drawing(is_ascii)),
        json_value=found.to_json,
        rows=lambda: [
            {**{name: getattr(row, name) for name in _COLUMNS}, "group": one_line(row.group)}
            for row in found.rows
        ],
        columns=(*_COLUMNS, "group"),
        limit=limit,
    )
    return status_of(found.certainty.word)
