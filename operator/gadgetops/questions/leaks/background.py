"""
Pairing a recording while it is made, in a process of its own.

It is `python -m gadgetops.questions.leaks.background PATH`.

The recorder holds the other end of this process's standard input and never waits for it. When that end is
closed, however the recorder ended, what is left is paired and the answer for `leaks` is kept, and then this
process ends. While the recorder runs it takes only time that nobody else wants. It says nothing, and what it
could not do the first question does.
"""

import contextlib
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gadgetops.errors import GadgetOpsError

_LOWEST: Final = 19
_PAUSE_S: Final = 1.0
"""How long it waits before it looks for new segments."""
_SHARE: Final = 10
"""It waits so many times what its last step took of a processor: that grows with the number of files."""
_AUTOGROUP: Final = Path("/proc/self/autogroup")


@contextlib.contextmanager
def paired_beside(path: Path) -> Iterator[None]:
    """
    Pair the recording *path*, which the block makes, while it grows; what is left at the end after the block.

    Where no process can be started, nothing happens: the first question pairs.
    """
    process = _started(path)
    try:
        yield
    finally:
        if process is not None and process.stdin is not None:
            process.stdin.close()
            # It forked what does the work long ago: nothing is waited for.
            process.wait()


def _started(path: Path) -> "subprocess.Popen[bytes] | None":
    try:
        return subprocess.Popen(
            # Not from the current folder: what lies there is the user's.
            [sys.executable, "-P", "-m", __name__, str(path.absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            # The terminal's Ctrl-C is for the recorder.
            start_new_session=True,
        )
    except OSError:
        return None


def follow(path: Path, recorder: int) -> None:
    """
    Pair the recording in the folder *path*, segment by segment, until *recorder* is closed at its other end.

    What cannot be paired now is paired with the next segment, or at the end.
    """
    n_segments, pause_s = 0, _PAUSE_S
    while not select.select([recorder], [], [], pause_s)[0]:
        n_found = sum(1 for _ in path.glob("events-*.parquet"))
        if n_found == n_segments:
            continue
        n_segments, start_s = n_found, time.process_time()
        with contextlib.suppress(GadgetOpsError, OSError):
            _extend(path)
        pause_s = max(_PAUSE_S, _SHARE * (time.process_time() - start_s))


def finish(path: Path) -> None:
    """
    Pair what is left, and keep the answer for `leaks` if the recording has all that it needs.

    Raises:
        GadgetOpsError: It cannot be read, or the pairs cannot be kept.
    """
    # Imported here and below when there is work: at its start the recorder has most to do.
    from gadgetops.questions.leaks.leaks import leaks_in  # noqa: PLC0415
    from gadgetops.recording.reader import open_recording  # noqa: PLC0415

    if path.is_dir():
        _extend(path)
        # Without symbols it would be another one after `gadgetops symbolize`.
        if not open_recording(path).lacks_symbols:
            leaks_in(path)


def _extend(path: Path) -> None:
    from gadgetops.pairing.pairs import extend  # noqa: PLC0415

    extend(path)


def _set_priority(value: int) -> None:
    """Set what this thread yields to others, and those it starts; a session may be weighed as a whole."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, value)
    with contextlib.suppress(OSError):
        _AUTOGROUP.write_text(str(value), encoding="ascii")


def _tidy(path: Path) -> None:
    """Leave nothing where the recording was removed meanwhile."""
    from gadgetops.pairing.place import FOLDER  # noqa: PLC0415

    if not any(each.name != FOLDER for each in (path.iterdir() if path.is_dir() else ())):
        shutil.rmtree(path / FOLDER, ignore_errors=True)
        with contextlib.suppress(OSError):
            path.rmdir()


def main() -> None:
    """Do the work in a child, so that the recorder has no process to wait for."""
    if os.fork():
        return
    path, usual = Path(sys.argv[1]), os.getpriority(os.PRIO_PROCESS, 0)
    # There is nobody to tell, and the first question does it and says what is wrong.
    with contextlib.suppress(GadgetOpsError, OSError):
        _set_priority(_LOWEST)
        follow(path, sys.stdin.fileno())
        # Whoever asks from now on waits for it.
        _set_priority(usual)
        finish(path)
    with contextlib.suppress(OSError):
        _tidy(path)


if __name__ == "__main__":
    main()
