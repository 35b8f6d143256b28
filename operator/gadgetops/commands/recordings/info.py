"""`gadgetops info`: what a recording holds, and what is missing."""

from pathlib import Path

import click

from gadgetops.commands.common.completers import recordings
from gadgetops.commands.common.options import table_or_json_option, verb
from gadgetops.commands.common.output import print_json
from gadgetops.commands.common.terminal import show


@verb("info", example="gadgetops info program.gadgetrec\ngadgetops info program.gadgetrec --format json")
@click.argument("recording", metavar="RECORDING", type=click.Path(path_type=Path), shell_complete=recordings)
@table_or_json_option()
def command(recording: Path, output_format: str) -> None:
    """Show what RECORDING is of, with which gadget, how it ended, how good its stacks are, what is missing.

    A recording that was cut off anywhere is read as far as it goes.
    """
    from gadgetops.questions.info import info
    from gadgetops.recording.reader import open_recording
    from gadgetops.report.info import info_as_text

    found = info(open_recording(recording))
    if output_format == "json":
        print_json(found.to_json())
    else:
        show(info_as_text(found))
