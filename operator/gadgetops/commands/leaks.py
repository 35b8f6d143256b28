"""`gadgetops leaks`: what was never released, by stack."""

from pathlib import Path

import click

from gadgetops.commands.options import format_option, verb
from gadgetops.commands.output import print_rows

_SHOWN_STACKS = 20
_INCONCLUSIVE = 4
_COLUMNS = {"bytes": "bytes", "count": "count", "stack": "stack"}


@verb(
    "leaks",
    example="gadgetops leaks program.gadgetrec --limit 5\ngadgetops leaks program.gadgetrec --format json",
)
@click.argument("recording", metavar="RECORDING", type=click.Path(path_type=Path))
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=0),
    help=f"Show the N largest stacks.  [default: {_SHOWN_STACKS}; all as JSON or CSV]",
)
@format_option
def command(recording: Path, limit: int | None, output_format: str) -> int:
    """Show what RECORDING allocated and never released, by stack, largest first.

    The first word says how far to believe it: certain, possible (events or stacks are missing; what is live
    at least is shown too), or inconclusive (nothing was recorded; exit status 4). Live means not released
    when the recording ended, which is not yet a fault of the program.
    """
    # Imported here: DuckDB would cost every `--help` a tenth of a second.
    from gadgetops.analysis.leaks import leaks  # noqa: PLC0415
    from gadgetops.recording.reader import open_recording  # noqa: PLC0415
    from gadgetops.report.leaks import folded, leaks_as_text  # noqa: PLC0415

    found = leaks(open_recording(recording))
    if output_format == "table":
        click.echo(leaks_as_text(found, limit=_SHOWN_STACKS if limit is None else limit))
    else:
        shown = found.leaks[:limit]
        rows = [{"bytes": leak.live_bytes, "count": leak.live_count, "stack": folded(leak)} for leak in shown]
        document = {**found.to_json(), "leaks": [leak.to_json() for leak in shown]}
        print_rows(rows, _COLUMNS, output_format, json_value=document)
    return _INCONCLUSIVE if found.certainty == "inconclusive" else 0
