"""
Driving one recording: a session over one target, from before its first event until everything is on disk.

What happens is told to a `Listener`; nothing is printed here, and no target is told apart from another.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from gadgetops.errors import GadgetOpsError, Interrupted, StorageError
from gadgetops.recording.writer import RecordingWriter
from gadgetops.trace.address_spaces import AddressSpaces, ModuleTracker
from gadgetops.trace.attachment import Attachment
from gadgetops.trace.cost.pace import Budget, Pace
from gadgetops.trace.cost.watchdog import Watchdog
from gadgetops.trace.events.live_estimate import LiveEstimate
from gadgetops.trace.events.priority import FIRST, going_first
from gadgetops.trace.machine import mount_file_systems
from gadgetops.trace.resident import ResidentMeter
from gadgetops.trace.session import Session, Source
from gadgetops.trace.signals import GroupWitness, StopRequest, stop_signals
from gadgetops.trace.targets.base import Target

_IDLE_SLEEP_S: Final = 0.005
"""How long it sleeps when nothing was read."""
_PROGRESS_S: Final = 0.5
_MEASURE_S: Final = 0.2
EXCUSED: Final = (
    "the command got this Ctrl-C, too: recording until it has ended; Ctrl-C again ends the recording"
)
"""Said when a first Ctrl-C is left to the command."""
_BYTES_PER_EVENT: Final = 12
"""What an event that is not on disk yet will take there at most (bench/bytes_per_event.py)."""


@dataclass(frozen=True)
class Progress:
    """
    How a recording goes.

    Attributes:
        n_events: Recorded so far.
        events_per_s: Since the last time.
        live_bytes: Allocated since the recording began and not released, estimated (`LiveEstimate`).
        n_lost: Events lost so far.
        is_alive: Whether the target runs.
    """

    n_events: int
    events_per_s: float
    live_bytes: int
    n_lost: int
    is_alive: bool


class Listener(Protocol):
    """Who is told what happens."""

    @property
    def wants_progress(self) -> bool:
        """Whether `progress` and `stage` are of any use; they cost some time."""

    def say(self, sentence: str) -> None:
        """Take a sentence for everybody."""

    def progress(self, progress: Progress) -> None:
        """Take how it goes, now and then."""

    def stage(self, what: str, done: int = 0, of: int = 0) -> None:
        """Take what is done when nothing is recorded any more, now and then; *of* is 0 where nobody knows."""


@dataclass(frozen=True)
class Limits:
    """
    When a recording ends though its target goes on, None for never; and when its segments do.

    Attributes:
        duration_s: After so many seconds.
        max_events: With exactly so many events.
        max_bytes: As soon as the recording would take more on disk, within a few percent.
        segment_s: A segment ends so many seconds after its first event; None for `SEGMENT_SECONDS`.
    """

    duration_s: float | None = None
    max_events: int | None = None
    max_bytes: int | None = None
    segment_s: float | None = None


def record(
    attachment: Attachment,
    target: Target,
    output: Path,
    header: Mapping[str, Any],
    *,
    limits: Limits,
    listener: Listener,
    on_begun: Callable[[], None] = lambda: None,
    budget: Budget | None = None,
) -> dict[str, int]:
    """
    Record *target* into the new folder *output* and return its counters: `events`, `lost`, `failed_stacks`.

    SIGINT, SIGTERM and SIGHUP end it, with everything that had happened by then; the first Ctrl-C on a
    terminal is left to a command of ours (`StopRequest`). What else is to be done beside it, *on_begun*
    begins: before that, nothing is to come in between. With a *budget* it records in windows where that is
    needed to keep it (`Pace`).

    Raises:
        Interrupted: A signal came before the target began, or was attached to.
        TraceError: It cannot be traced.
        StorageError: The recording cannot be written; what was closed before stays readable.
    """
    for sentence in mount_file_systems():
        listener.say(sentence)
    with (
        stop_signals() as signals,
        witness(target) as group,
        watchdog(target) as dog,
        target.opened(),
    ):
        target.restrict(attachment.loader)
        attachment.loader.begin()
        attachment.find_places(target.allocators)
        with attachment.loaded(output.parent), ModuleTracker(target.container_of) as tracker:
            pace = None if budget is None else Pace(budget, attachment, target.pids, listener.say)
            if pace is not None:
                pace.begin()
            target.attach(attachment, tracker)
            if signals:
                raise Interrupted(signals[0])
            target.description["attached"] = attachment.attached.programs
            target.description["missing"] = attachment.attached.missing
            target.description["left_out"] = attachment.attached.left_out

            def update() -> None:
                target.update(attachment, tracker)
                attachment.renew()

            full = {**header, "attach": attachment.loader.attach_way}
            stop = StopRequest(signals, group, target.gets_interrupts, lambda: listener.say(EXCUSED))
            return follow(
                attachment,
                tracker,
                target,
                output,
                full,
                limits=limits,
                listener=listener,
                stop=stop,
                update=update,
                on_begun=on_begun,
                pace=pace,
                dog=dog,
            )


def follow(
    source: Source,
    tracker: AddressSpaces,
    target: Target,
    output: Path,
    header: Mapping[str, Any],
    *,
    limits: Limits,
    listener: Listener,
    stop: StopRequest,
    update: Callable[[], None],
    on_begun: Callable[[], None],
    nice: int = FIRST,
    pace: Pace | None = None,
    dog: Watchdog | None = None,
) -> dict[str, int]:
    """
    Record what *source* sends of *target*, from its start until it ends or is to; return its counters.

    Args:
        source: Is there, and sends nothing yet.
        tracker: Says what addresses mean.
        target: Is ready to start.
        output: The new recording.
        header: Of the recording, without its target.
        limits: When it ends besides.
        listener: Is told what happens.
        stop: Ends it, too.
        update: Called now and then while the target runs.
        on_begun: Begins what is done beside it.
        nice: Priority while the target runs, as setpriority(2) has it.
        pace: Keeps a budget.
        dog: Ends the recorder when it stands still.

    Raises:
        StorageError: As `record`.
    """
    full = {**header, "target": target.description, "started_at_ns": time.time_ns()}
    session = Session(source, tracker, RecordingWriter.create(output, full, segment_s=limits.segment_s))
    run = _Run(session, target, _Ends(limits, stop, output), listener, update, nice, pace, dog)
    run.to_its_end(on_begun)
    return session.counters()


def watchdog(target: Target) -> contextlib.AbstractContextManager[Watchdog | None]:
    """Return what ends a recorder that stands still; a command of ours is stopped with it."""
    return contextlib.nullcontext() if target.is_ours else Watchdog()


def witness(target: Target) -> contextlib.AbstractContextManager[GroupWitness | None]:
    """Return what notices that a command of ours got the terminal's Ctrl-C, too."""
    return GroupWitness() if target.is_ours else contextlib.nullcontext()


class _Run:
    """The part of a recording in which events come."""

    def __init__(
        self,
        session: Session,
        target: Target,
        ends: "_Ends",
        listener: Listener,
        update: Callable[[], None],
        nice: int,
        pace: Pace | None,
        dog: Watchdog | None,
    ) -> None:
        self._nice = nice
        self._dog = dog
        self._pace = pace
        self._session = session
        self._writer = session.writer
        self._target = target
        self._ends = ends
        self._listener = listener
        self._update = update
        self._meter = _Meter(session, target)
        self._resident = ResidentMeter()
        if listener.wants_progress:
            session.on_events = self._meter.estimate.add

    def to_its_end(self, on_begun: Callable[[], None]) -> None:
        """Let the target begin, follow it, and close the recording, whatever happens."""
        try:
            with going_first(self._nice):
                self._target.start()
            on_begun()
            with going_first(self._nice):
                end = self._follow()
                self._drain()
            self._close(end)
        except StorageError as error:
            self._close_failed()
            hint = f"what was written before can be read in {self._writer.path}"
            raise StorageError(error.path, error.reason, hint=hint) from error
        except GadgetOpsError:
            self._close_failed()
            raise

    def _close_failed(self) -> None:
        self._detach()
        with contextlib.suppress(GadgetOpsError):
            self._close("failed")

    def _close(self, end: str) -> None:
        stop = self._ends.stop
        facts = {} if self._pace is None else self._pace.facts()
        self._session.close(
            end=end, is_hurried=lambda: stop.is_hurried, on_stage=self._listener.stage, facts=facts
        )

    def _follow(self) -> str:
        """Read events until there is a reason to stop, and return it."""
        while True:
            if self._dog is not None:
                self._dog.pulse()
            end = self._ends.reason(self._session.n_events, self._writer.n_events) or self._target.end()
            has_read = self._read()
            self._update()
            if self._pace is not None and end is None:
                self._pace.step(self._session.n_events)
            if self._resident.is_due:
                self._writer.write_resident(self._resident.measure([*self._session.tracker.spaces]))
            news = self._target.news()
            if news is not None:
                self._listener.say(news)
            if end is not None:
                return end
            if self._listener.wants_progress and self._meter.is_due():
                self._listener.progress(self._meter.measure())
            if not has_read:
                time.sleep(_IDLE_SLEEP_S)

    def _read(self) -> bool:
        return self._session.read(self._ends.room(self._session.n_events))

    def _drain(self) -> None:
        """Detach, and take in everything that was still in the ring buffer."""
        self._detach()
        while self._read():
            pass

    def _detach(self) -> None:
        self._session.detach()
        if self._dog is not None:
            self._dog.rest()


class _Ends:
    """Why a recording is to stop."""

    def __init__(self, limits: Limits, stop: StopRequest, output: Path) -> None:
        self._limits = limits
        self.stop = stop
        self._output = output
        self._deadline = None if limits.duration_s is None else time.monotonic() + limits.duration_s
        self._measure_at = 0.0

    def room(self, n_events: int) -> int | None:
        """Return how many events may follow *n_events*; None for any number."""
        return None if self._limits.max_events is None else max(0, self._limits.max_events - n_events)

    def reason(self, n_events: int, n_events_on_disk: int) -> str | None:
        """Return why it is to stop now, if it is."""
        if self.stop.is_made():
            return "interrupted"
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return "duration"
        if self.room(n_events) == 0:
            return "max-events"
        if self._is_full(n_events - n_events_on_disk):
            return "max-bytes"
        return None

    def _is_full(self, n_open_events: int) -> bool:
        if self._limits.max_bytes is None or time.monotonic() < self._measure_at:
            return False
        self._measure_at = time.monotonic() + _MEASURE_S
        return size_bytes(self._output) + n_open_events * _BYTES_PER_EVENT >= self._limits.max_bytes


def size_bytes(folder: Path) -> int:
    """Return the size of the files in *folder*, those that vanish meanwhile left out."""
    total = 0
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


class _Meter:
    """Measures the progress of a session."""

    def __init__(self, session: Session, target: Target) -> None:
        self.estimate = LiveEstimate()
        self._target = target
        self._session = session
        self._n_events = 0
        self._measured_at = time.monotonic()

    def is_due(self) -> bool:
        """Return whether it is time for the next measurement."""
        return time.monotonic() - self._measured_at >= _PROGRESS_S

    def measure(self) -> Progress:
        """Return how it goes since the last time."""
        now, counters = time.monotonic(), self._session.counters()
        rate = (counters["events"] - self._n_events) / max(now - self._measured_at, 1e-9)
        self._measured_at, self._n_events = now, counters["events"]
        live_bytes, is_alive = self.estimate.live_bytes, self._target.is_alive()
        return Progress(counters["events"], rate, live_bytes, counters["lost"], is_alive)
