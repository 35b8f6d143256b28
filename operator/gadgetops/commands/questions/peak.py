"""`gadgetops peak`: what was live when most bytes were."""

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
    "peak",
    example="gadgetops peak program.gadgetrec\n"
    "gadgetops peak program.gadgetrec --thread 4712 --group-by module",
)
@fleet_options
@answer_options("stack")
def command(
    recording: Path, filters: "Filters", group_by: "GroupBy", limit: int | None, output_format: str
) -> int:
    """Show what RECORDING had live at the moment when most bytes were, exactly.

    With filters: the moment when most bytes of the chosen allocations were live. Of several moments the
    first.
    """
    # Imported here: DuckDB would cost every `--help` a tenth of a second.
    from gadgetops.questions.peak import peak  # noqa: PLC0415
    from gadgetops.report.answers import one_line  # noqa: PLC0415
    from gadgetops.report.top import peak_as_text  # noqa: PLC0415

    found = peak(opened(recording, group_by), filters, group_by)
    print_answer(
        output_format,
        text=lambda shown: peak_as_text(found, group_by, limit=shown),
        json_value=found.to_json,
        rows=lambda: [
            {
                "bytes": row.live.size_bytes,
                "count": row.live.count,
                "share": found.share(row),
                "group": one_line(row.group),
            }
            for row in found.rows
        ],
        columns=("bytes", "count", "share", "group"),
        limit=limit,
    )
    return status_of(found.certainty.word)
