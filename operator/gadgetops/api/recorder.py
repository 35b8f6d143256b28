"""Recording from Python: the program `gadgetops record`, in a process of its own, for as long as a `with`."""

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from gadgetops.api.recording import Recording
from gadgetops.errors import TraceError, UsageError
from gadgetops.recording.schema import HEADER_NAME

_POLL_S: Final = 0.01
_ERROR: Final = "gadgetops: error: "


@contextlib.contextmanager
def record(
    command: Sequence[str] | None = None,
    *,
    pid: int | None = None,
    container: str | None = None,
    output: "str | Path | None" = None,
    options: Sequence[str] = (),
) -> Iterator[Recording]:
    """
    Record while the `with` lasts, and give the recording, which can be asked meanwhile and afterwards.

    A running process or container is recorded from the beginning of the `with` to its end; a command is
    waited for there. Recording needs root.

    Args:
        command: What to run, as a list of words.
        pid: The running process to record; `os.getpid()` would record the caller.
        container: The container to record.
        output: The folder to write; a new one in the folder for temporary files if none is given.
        options: Further options of `gadgetops record`, such as `["--no-stacks"]`.

    Raises:
        UsageError: Not exactly one of *command*, *pid* and *container* is given.
        TraceError: It cannot be recorded; with the words of `gadgetops record`.
    """
    target = _target(command, pid, container)
    folder = Path(output or Path(tempfile.mkdtemp(prefix="gadgetops-")) / "python.gadgetrec")
    argv = [sys.executable, "-m", "gadgetops", "record", "--quiet", "-o", str(folder), *options, *target]
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(argv, stderr=errors) as recorder:
        try:
            _wait_until_begun(recorder, folder, errors)
            yield Recording(folder)
        finally:
            if command is None and recorder.poll() is None:
                recorder.send_signal(signal.SIGINT)
            recorder.wait()


def _target(command: Sequence[str] | None, pid: int | None, container: str | None) -> list[str]:
    ways = [
        [] if pid is None else ["--pid", str(pid)],
        [] if container is None else ["--container", container],
        [] if command is None else ["--", *map(str, command)],
    ]
    given = [way for way in ways if way]
    if len(given) != 1:
        raise UsageError("give one thing to record: a command, pid or container")
    return given[0]


def _wait_until_begun(recorder: "subprocess.Popen[bytes]", folder: Path, errors: IO[str]) -> None:
    """Return once probes are in place and the recording is there; else raise what the recorder said."""
    while not (folder / HEADER_NAME).exists():
        status = recorder.poll()
        if status is not None and not (folder / HEADER_NAME).exists():
            errors.seek(0)
            raise _error(errors.read(), status)
        time.sleep(_POLL_S)


def _error(errors_text: str, status: int) -> TraceError:
    """Return the error that the recorder printed last, as one of ours."""
    _, _, said = errors_text.rpartition(_ERROR)
    problem, _, hint = said.strip().partition("\n")
    return TraceError(problem or f"the recorder ended with status {status}", hint=hint or None)
