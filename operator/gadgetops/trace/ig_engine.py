"""
Recording with `ig run` as the engine: containers on Kubernetes, and whatever else only `ig` reaches.

`ig` attaches and prints; what it prints is imported as it comes, and what it logs is part of the recording.
"""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

from gadgetops.errors import ToolError
from gadgetops.process import run
from gadgetops.recording.ig.importer import Importer, Summary, import_header

PROGRAM: Final = "ig"
_HINT: Final = "install ig from https://inspektor-gadget.io, or record with the engine libbpf"
_READ_BYTES: Final = 1 << 20
_POLL_S: Final = 0.1
_LAST_WORDS_S: Final = 10.0
"""How long `ig` may take to detach and to print what it still has."""
_KEPT_LOG_BYTES: Final = 64 << 10


@dataclass(frozen=True)
class IgRun:
    """
    What `ig` is to run.

    Attributes:
        image: Reference of the gadget, as `ig` resolves it.
        containers: Names; none for every container of the machine.
        host: Also what is in no container.
        pid: This process alone; None for all.
        collect_stacks: Ask for stacks.
        parameters: Further flags of `ig run` without the dashes, the gadget's and `ig`'s own.
    """

    image: str
    containers: Sequence[str] = ()
    host: bool = False
    pid: int | None = None
    collect_stacks: bool = True
    parameters: Mapping[str, str] = field(default_factory=dict)

    def argv(self) -> list[str]:
        """Return the command line; every value joined to its flag, so that none is taken for another flag."""
        flags = [f"--{name}={value}" for name, value in self.parameters.items()]
        if self.collect_stacks:
            flags.append("--collect-ustack=true")
        if self.host or self.pid is not None:
            flags.append("--host=true")
        if self.containers:
            flags.append(f"--containername={','.join(self.containers)}")
        if self.pid is not None:
            flags.append(f"--pid={self.pid}")
        return [PROGRAM, "run", self.image, "--output=json", "--auto-mount-filesystems=true", *flags]

    def header(self) -> dict[str, object]:
        """
        Return the header of the recording.

        Raises:
            ToolError: `ig` is missing.
        """
        version = run([PROGRAM, "version"], hint=_HINT).strip()
        return {
            **import_header(f"{PROGRAM} run"),
            "image": {"reference": self.image, "digest": None},
            "host": {
                "name": os.uname().nodename,
                "kernel": os.uname().release,
                "machine": os.uname().machine,
            },
            "target": {
                "containers": [*self.containers],
                "pid": self.pid,
                "host": self.host,
            },
            "parameters": {**self.parameters, "collect_stacks": self.collect_stacks},
            "engine": {"name": PROGRAM, "version": version, "argv": self.argv()},
        }


def record_with_ig(argv: Sequence[str], importer: Importer, why_stop: Callable[[], str | None]) -> Summary:
    """
    Run `ig` until it ends or *why_stop* gives a reason, and import what it prints meanwhile.

    Args:
        argv: The command line.
        importer: Takes what it prints; is finished afterwards, whatever happens.
        why_stop: Asked about ten times a second.

    Raises:
        ToolError: `ig` is missing, or failed by itself; what it printed before is in the recording.
        StorageError: The recording cannot be written.
    """
    child = _Child(argv)
    try:
        end = child.follow(importer, why_stop)
    except BaseException:
        importer.close("failed")
        raise
    finally:
        child.end()
    if end is None and child.status != 0:
        importer.close("failed")
        raise ToolError(argv, status=child.status, output=child.log.decode(errors="replace"))
    return importer.finish(end or "complete", keep_empty=True)


class _Child:
    """The running `ig`, and both its streams."""

    def __init__(self, argv: Sequence[str]) -> None:
        try:
            # In a session of its own: a Ctrl-C is ours to pass on, once, and then there is time to finish.
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise ToolError(argv, status=None, hint=_HINT) from error
        except OSError as error:
            raise ToolError(argv, status=126, output=error.strerror or str(error)) from error
        self.log = b""
        self._log_line = b""

    @property
    def status(self) -> int | None:
        """Its exit status, once it has ended."""
        return self._process.returncode

    def follow(self, importer: Importer, why_stop: Callable[[], str | None]) -> str | None:
        """Import until both streams end, and return why it was stopped; None if it ended by itself."""
        reason: str | None = None
        deadline = float("inf")
        with selectors.DefaultSelector() as selector:
            for stream in (self._process.stdout, self._process.stderr):
                selector.register(stream, selectors.EVENT_READ)  # type: ignore[arg-type]
            while selector.get_map() and time.monotonic() < deadline:
                if reason is None and (reason := why_stop()) is not None:
                    self._process.send_signal(signal.SIGINT)
                    deadline = time.monotonic() + _LAST_WORDS_S
                for key, _ in selector.select(_POLL_S):
                    if not self._read(key.fileobj, importer):  # type: ignore[arg-type]
                        selector.unregister(key.fileobj)
                importer.tick()
        self._log_lines(b"\n", importer)
        self._wait()
        return reason

    def end(self) -> None:
        """Kill what still runs, and let go of the streams."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _wait(self) -> None:
        try:
            self._process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _read(self, stream: IO[bytes], importer: Importer) -> bool:
        """Take in what *stream* has, and return whether more may come."""
        data = os.read(stream.fileno(), _READ_BYTES)
        if stream is self._process.stdout:
            importer.feed(data)
        else:
            self.log = (self.log + data)[-_KEPT_LOG_BYTES:]
            self._log_lines(data, importer)
        return bool(data)

    def _log_lines(self, data: bytes, importer: Importer) -> None:
        *lines, self._log_line = (self._log_line + data).split(b"\n")
        for line in lines:
            importer.log(line)
