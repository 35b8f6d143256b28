"""`gadgetops live`: a recording while it grows."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import verb
from gadgetops.commands.common.output_file import make_room
from gadgetops.commands.options.drawing_option import ascii_option, drawing
from gadgetops.errors import RecordingError, UsageError

if TYPE_CHECKING:
    from gadgetops.live.recorder import RecorderProcess

_SEGMENT_SECONDS = 2
"""How often a recorder that a view begins closes a segment."""
_LINE_S = 1.0


@verb(
    "live",
    example="gadgetops live server.gadgetrec\n"
    "gadgetops live --pid 4711 -o server.gadgetrec\n"
    "gadgetops live server.gadgetrec | tee server.log",
)
@click.argument(
    "recording", metavar="[RECORDING]", required=False, type=click.Path(path_type=Path, exists=False)
)
@click.option("-p", "--pid", metavar="N[,N…]", help="Record these running processes, and watch.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Recording of --pid; NAME.gadgetrec.")
@click.option("--image", metavar="REF|OBJECT.o", help="Gadget that --pid loads, as in `record`.")
@click.option("--max-slowdown", metavar="PERCENT", help="How much slower --pid may become, as in `record`.")
@click.option("--force", "is_forced", is_flag=True, help="Record everything of --pid, whatever it costs.")
@ascii_option
def command(
    recording: Path | None,
    pid: str | None,
    output: Path | None,
    image: str | None,
    max_slowdown: str | None,
    is_forced: bool,
    is_ascii: bool,
) -> int:
    """Watch RECORDING while it grows: live memory, rates, and what grows like a leak.

    On a terminal: Enter opens a stack, s sorts, m marks a moment and shows what came since, f chooses a
    process or thread, g shows a flame graph, p pauses the view, d leaves it while the recording goes on, e
    ends a recording that was begun here. On a pipe it prints a line a second until the recording ends.

    What is shown is what has been written: a recorder closes a segment every ten seconds, one that was begun
    by --pid or `record --live` every two. Watching takes at most a twentieth of one processor.
    """
    if (recording is None) == (pid is None):
        raise UsageError("give one thing to watch: RECORDING or --pid")
    if recording is not None:
        if output is not None or image is not None or max_slowdown is not None or is_forced:
            raise UsageError("-o, --image, --max-slowdown and --force go with --pid")
        if not recording.exists():
            raise RecordingError(recording, "no such recording", hint="`gadgetops record --live` makes one")
        return watch(recording, None, is_ascii=is_ascii)
    path = output or Path(f"pid-{str(pid).replace(',', '-')}.gadgetrec")
    gadget = [] if image is None else ["--image", image]
    budget = [] if max_slowdown is None else ["--max-slowdown", max_slowdown]
    force = ["--force"] if is_forced else []
    return record_and_watch(["record", *gadget, *budget, *force, "--pid", str(pid)], path, is_ascii=is_ascii)


def record_and_watch(arguments: Sequence[str], path: Path, *, is_ascii: bool) -> int:
    """
    Begin a recorder in the background, watch its recording, and return its exit status; 0 if it goes on.

    Args:
        arguments: `record` and its options, without the output.
        path: The output.
        is_ascii: Whether charts are drawn in ASCII alone.

    Raises:
        AlreadyExists: There is such a recording.
        ToolError: The recorder could not record.
    """
    from gadgetops.live.recorder import RecorderProcess

    make_room(path)
    own = ["-o", str(path.absolute()), "--segment-seconds", str(_SEGMENT_SECONDS)]
    recorder = RecorderProcess([arguments[0], *own, *arguments[1:]], path.absolute())
    if not recorder.wait_for_recording():
        raise recorder.failure()
    return watch(path, recorder, is_ascii=is_ascii)


def watch(path: Path, recorder: "RecorderProcess | None", *, is_ascii: bool) -> int:
    """
    Watch the recording *path* on the terminal, or print a line a second, and return the exit status.

    Args:
        path: The recording.
        recorder: What makes it, if that was begun here.
        is_ascii: Whether charts are drawn in ASCII alone.
    """
    from gadgetops.pairing.progress import listener

    # The terminal is the view's.
    listener.set(lambda _done, _of: None)
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        _print_lines(path, recorder)
        return 0 if recorder is None else recorder.wait()
    try:
        from gadgetops.live.app import LiveApp
    except ImportError as error:
        raise UsageError(
            "watching on a terminal needs the package `textual`",
            hint="install gadgetops[live], or print lines: gadgetops live … | cat",
        ) from error
    from gadgetops.live.follower import Follower

    app = LiveApp(Follower(path), path.name, can_end=recorder is not None, drawing=drawing(is_ascii))
    wish = app.run()
    return 0 if recorder is None else _left(recorder, path, wish)


def _left(recorder: "RecorderProcess", path: Path, wish: str | None) -> int:
    if wish == "end":
        messages.say("ending the recording …")
        recorder.end()
    elif recorder.status is None:
        messages.say(
            f"recording goes on as process {recorder.pid}: `gadgetops live {path}` shows it, "
            f"`kill {recorder.pid}` ends it"
        )
        return 0
    status = recorder.wait()
    messages.say(f"recorded in {path}; what the recorder and the command printed is in {recorder.log}")
    return status


def _print_lines(path: Path, recorder: "RecorderProcess | None") -> None:
    from gadgetops.live.follower import Follower
    from gadgetops.live.lines import line_of
    from gadgetops.live.pace import Pace

    follower, pace, snapshot = Follower(path), Pace(), None
    while snapshot is None or not snapshot.is_ended:
        is_over = recorder is not None and recorder.status is not None
        if pace.is_due or is_over:
            snapshot = follower.poll() or snapshot
            pace.looked()
        click.echo("waiting for the first events" if snapshot is None else line_of(snapshot))
        if snapshot is None or not snapshot.is_ended:
            time.sleep(_LINE_S)
