"""`gadgetops top`: who allocates most."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gadgetops.commands.common.options import verb
from gadgetops.commands.options.question_options import (
    answer_options,
    fleet_options,
    opened,
    print_answer,
    status_of,
)
from gadgetops.errors import UsageError

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
@click.option(
    "--inclusive",
    is_flag=True,
    help="Count for each function, or module, what it calls, too; groups by function unless by module.",
)
@answer_options("stack")
def command(
    recording: Path,
    by: "Measure",
    inclusive: bool,
    filters: "Filters",
    group_by: "GroupBy",
    limit: int | None,
    output_format: str,
) -> int:
    """Show which stacks of RECORDING have most, and their share of the whole."""
    if inclusive and group_by == "stack":
        group_by = "function"
    return print_top(recording, by, filters, group_by, limit, output_format, inclusive=inclusive)


def print_top(
    recording: Path,
    by: "Measure",
    filters: "Filters | None",
    group_by: Any,
    limit: int | None,
    output_format: str,
    *,
    inclusive: bool = False,
) -> int:
    """Print the answer and return the exit status; None for no filters."""
    # Imported here: DuckDB would cost every `--help` a tenth of a second.
    from gadgetops.questions.asking.filters import ALL  # noqa: PLC0415
    from gadgetops.questions.top import top, top_inclusive  # noqa: PLC0415
    from gadgetops.report.answers import one_line  # noqa: PLC0415
    from gadgetops.report.top import top_as_text  # noqa: PLC0415

    if inclusive and group_by not in ("function", "module"):
        raise UsageError(f"--inclusive goes with --group-by function or module, not {group_by}")
    ask = top_inclusive if inclusive else top
    found = ask(opened(recording, group_by), by, filters or ALL, group_by)
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
