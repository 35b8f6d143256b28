"""The recorder that a live view began: a process of its own, which goes on when the view is left."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gadgetops.errors import AlreadyExists, StorageError, ToolError
from gadgetops.recording.schema import HEADER_NAME

_LOOK_S: Final = 0.05
_LOG_CHARACTERS: Final = 4000


class RecorderProcess:
    """
    `gadgetops record …` in a session of its own: no key of this terminal reaches it.

    Args:
        arguments: After `gadgetops`; they name *recording* as output.
        recording: The folder that it makes.

    Raises:
        AlreadyExists: A file is there already that its messages would go to.
    """

    def __init__(self, arguments: Sequence[str], recording: Path) -> None:
        self.log = recording.with_name(f"{recording.name}.log")
        self._recording = recording
        try:
            log = self.log.open("xb")
        except FileExistsError as error:
            raise AlreadyExists(str(self.log), hint="choose another name with -o, or remove it") from error
        except OSError as error:
            raise StorageError.from_os_error(error, self.log) from error
        with log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gadgetops", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def wait_for_recording(self) -> bool:
        """
        Wait until the recording has begun; return False if the recorder ended without one.

        Its messages are in `log` then.
        """
        while not (self._recording / HEADER_NAME).exists():
            if self._process.poll() is not None:
                return (self._recording / HEADER_NAME).exists()
            time.sleep(_LOOK_S)
        return True

    def failure(self) -> ToolError:
        """Return what went wrong, for one that ended without a recording; its log is removed."""
        said = self.log.read_text(encoding="utf-8", errors="replace")[-_LOG_CHARACTERS:]
        self.log.unlink(missing_ok=True)
        return ToolError(["gadgetops record"], status=self._process.wait(), output=said)

    def end(self) -> None:
        """Have it end the recording, with all that had happened; it takes a moment."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait until it has ended and return its exit status."""
        return self._process.wait()
