"""`gadgetops timeline`: live memory and the rate of allocations over time."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gadgetops.commands.common.options import verb
from gadgetops.commands.common.value_types import count
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
    from gadgetops.questions.timeline import Timeline

_COLUMNS = ("end_ns", "live_bytes", "live_count", "allocated_bytes", "allocated_count", "group")


@verb(
    "timeline",
    example="gadgetops timeline program.gadgetrec\n"
    "gadgetops timeline program.gadgetrec --group-by thread --limit 5\n"
    "gadgetops timeline program.gadgetrec --buckets 1000 --format csv",
)
@fleet_options
@ascii_option
@click.option(
    "--buckets",
    type=count(1, 100_000),
    default=60,
    show_default=True,
    help="Cut the time into N equal parts.",
)
@answer_options(None)
def command(
    recording: Path,
    buckets: int,
    filters: "Filters",
    group_by: "GroupBy | None",
    limit: int | None,
    output_format: str,
    is_ascii: bool,
) -> int:
    """Show how the live bytes of RECORDING went, and how many allocations a second there were.

    The chart is as wide as the terminal; what stands for a part is what was live at its end. CSV has a row
    for each part and group; --limit counts groups.
    """
    # Imported here: DuckDB would cost every `--help` a tenth of a second.
    from gadgetops.questions.timeline import timeline  # noqa: PLC0415
    from gadgetops.report.timeline import timeline_as_text  # noqa: PLC0415

    found = timeline(opened(recording, group_by), buckets, filters, group_by)
    print_answer(
        output_format,
        text=lambda shown: timeline_as_text(found, group_by, limit=shown, drawing=drawing(is_ascii)),
        json_value=found.to_json,
        rows=lambda: [*_rows(found, limit)],
        columns=_COLUMNS,
        limit=limit if output_format != "csv" else None,
    )
    return status_of(found.certainty.word)


def _rows(timeline: "Timeline", limit: int | None) -> Iterator[dict[str, Any]]:
    from gadgetops.report.answers import one_line  # noqa: PLC0415

    for series in timeline.series[:limit] or (timeline.total,):
        for number in range(len(series.live_bytes)):
            row = {name: getattr(series, name)[number] for name in _COLUMNS[1:-1]}
            end_ns = timeline.start_ns + timeline.width_ns * (number + 1)
            yield {"end_ns": end_ns, **row, "group": one_line(series.group)}
