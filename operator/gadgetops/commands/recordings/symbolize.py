"""`gadgetops symbolize`: functions and lines for a recording that has addresses only."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.completers import recordings
from gadgetops.commands.common.options import verb
from gadgetops.commands.common.progress_line import ProgressLine
from gadgetops.units import plural

if TYPE_CHECKING:
    from gadgetops.stacks.naming.symbolize import Finder

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@verb(
    "symbolize",
    example=(
        "gadgetops symbolize server.gadgetrec\n"
        "gadgetops symbolize server.gadgetrec --sysroot /srv/rootfs --debug-dir ~/symbols"
    ),
)
@click.argument("recording", metavar="RECORDING", type=click.Path(path_type=Path), shell_complete=recordings)
@click.option(
    "--sysroot",
    metavar="DIR",
    type=_FOLDER,
    default=Path("/"),
    show_default=True,
    help="Where the recorded machine's files are.",
)
@click.option(
    "--debug-dir",
    "debug_folders",
    metavar="DIR",
    type=_FOLDER,
    multiple=True,
    help="Folder with debug files, searched before /usr/lib/debug; may be repeated.",
)
@click.option("--keep-slices", is_flag=True, help="Keep copies of stacks, which hold memory of the program.")
def command(recording: Path, sysroot: Path, debug_folders: tuple[Path, ...], keep_slices: bool) -> None:
    """Find functions and lines for RECORDING's addresses, in place of those that it has.

    For recordings made with `record --symbols late` or not ended, also on another machine. A file whose build
    id differs from the recorded one is not asked; debug files are found by build id, as
    DIR/.build-id/ab/cdef.debug, and by .gnu_debuglink. If nothing is found, what is there stays. Stacks that
    are still copies are unwound first, and the copies dropped; those that end in a file that is not here stay
    copies. What was interrupted goes on where it was.
    """
    from gadgetops.recording.reader import open_recording
    from gadgetops.recording.writer import write_symbols
    from gadgetops.stacks.naming.symbolize import Finder, symbols_of
    from gadgetops.stacks.naming.symbols import DEBUG_FOLDER

    finder = Finder(sysroot=sysroot, debug_folders=(*debug_folders, DEBUG_FOLDER))
    with ProgressLine() as line:
        _unwind(recording, finder, line, keep_slices=keep_slices)
        line.stage("finding functions and lines")
        opened = open_recording(recording)
        rows = [*symbols_of(opened, finder)]
        n_found, n_addresses = len({row.frame_id for row in rows}), opened.n_addresses()
        if n_found:
            write_symbols(recording, rows)
        line.say(f"{n_found:,} of {n_addresses:,} addresses symbolised")
        if n_found < n_addresses:
            line.say(f"`gadgetops info {recording}` shows modules without symbols")


def _unwind(recording: Path, finder: "Finder", line: ProgressLine, *, keep_slices: bool) -> None:
    from gadgetops.recording.reader import open_recording
    from gadgetops.recording.writer import StackAppender
    from gadgetops.stacks.unwinding.unwind_recording import Unwinding

    opened = open_recording(recording)
    if not opened.tables["slices"]:
        return
    unwinding = Unwinding(opened, finder, leaves_missing=True)
    with StackAppender(recording) as sink:
        unwinding.write(
            sink,
            keep_slices=keep_slices,
            on_progress=lambda done, of: line.stage("unwinding stacks", done, of),
        )
    n_unwound = sum(unwinding.ends.values()) - unwinding.ends["joined"]
    if n_unwound:
        whole = unwinding.ends["complete"]
        line.say(f"{n_unwound:,} stacks unwound, {whole:,} of them to their beginning")
    for path, count in sorted(unwinding.missing.items()):
        line.say(
            f"{plural(count, 'stack')} left for later: {path} of the recorded machine is not here (--sysroot)"
        )
    for problem in unwinding.problems:
        messages.warn(problem)
