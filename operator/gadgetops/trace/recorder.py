"""
Driving one recording: a session over one target, from before its first event until everything is on disk.

What happens is told to a `Listener`; nothing is printed here, and no target is told apart from another.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol

from gadgetops.recording.writer import RecordingWriter
from gadgetops.trace.machine import mount_file_systems
from gadgetops.trace.modules import ModuleTracker
from gadgetops.trace.session import Session, follow

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Target(Protocol):
    """
    What is recorded.

    Attributes:
        description: `target` of the recording's header; what is added while it runs is written at the end.
    """

    description: dict[str, Any]

    def opened(self) -> AbstractContextManager[None]:
        """Return a context in which the target is there, and, if it is ours to start, has not begun."""

    def attach(self, session: Session, tracker: ModuleTracker) -> None:
        """Put the probes in, and follow the mappings."""

    def start(self) -> None:
        """Let it begin, if it is ours to start."""

    def end(self) -> str | None:
        """Return how the target ended the recording, or None while it goes on."""


class Listener(Protocol):
    """Who is told what happens."""

    def say(self, sentence: str) -> None:
        """Take a sentence for everybody."""


@dataclass(frozen=True)
class Limits:
    """
    When a recording ends though its target goes on.

    Attributes:
        duration_s: After so many seconds; None for never.
    """

    duration_s: float | None = None


def record(
    session: Session,
    target: Target,
    output: Path,
    header: Mapping[str, Any],
    *,
    limits: Limits,
    listener: Listener,
) -> dict[str, int]:
    """
    Record *target* into the new folder *output* and return its counters: `events`, `lost`, `failed_stacks`.

    Raises:
        TraceError: It cannot be traced.
        StorageError: The recording cannot be written; what was closed before stays readable.
    """
    for sentence in mount_file_systems():
        listener.say(sentence)
    with _stop_signals() as stopped, target.opened(), session.loaded(), ModuleTracker() as tracker:
        target.attach(session, tracker)
        target.description["attached"] = session.attached.programs
        target.description["missing"] = session.attached.missing
        full = {**header, "target": target.description, "started_at_ns": time.time_ns()}
        writer = RecordingWriter.create(output, full)
        target.start()
        end = follow(session, tracker, writer, why_stop=_reason(target, stopped, limits))
        session.close(writer, tracker, end=end)
        return session.counters()


def _reason(target: Target, stopped: list[int], limits: Limits) -> Callable[[], str | None]:
    deadline = None if limits.duration_s is None else time.monotonic() + limits.duration_s

    def why_stop() -> str | None:
        if stopped:
            return "interrupted"
        if deadline is not None and time.monotonic() >= deadline:
            return "duration"
        return target.end()

    return why_stop


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect the signals that end a recording for the length of the block instead of dying of them."""
    caught: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        caught.append(number)

    before = {number: signal.signal(number, note) for number in _STOP_SIGNALS}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
