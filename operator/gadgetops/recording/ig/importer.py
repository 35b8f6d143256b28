"""
A stream of what `ig` printed, into a recording as it comes; nothing that is left out is left out silently.

A line that is neither an event nor a log line counts as a lost event: it may have been one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
import yaml

from gadgetops.errors import IgOutputError
from gadgetops.recording.ig.decoder import Columns, Decoder, Event, columns
from gadgetops.recording.ig.documents import MAX_DOCUMENT_BYTES, Piece, Splitter
from gadgetops.recording.ig.log import LogLine, parse_log_line
from gadgetops.recording.ig.registry import Registry
from gadgetops.recording.schema import FAILED_STACK
from gadgetops.recording.writer import RecordingWriter
from gadgetops.units import format_bytes

SHOWN_PROBLEMS: Final = 5
"""How many of the lines that cannot be read are kept, with the reason."""
_KEPT_MESSAGES: Final = 100
_EXCERPT_CHARACTERS: Final = 120
_LONGEST_LOG_LINE: Final = 4096
_NO_EVENT: Final = (msgspec.MsgspecError, yaml.YAMLError, ValueError, RecursionError)
_QUIET_LEVELS: Final = frozenset({"trace", "debug", "info"})


@dataclass(frozen=True)
class Problem:
    """
    A line that is no event.

    Attributes:
        line: From 1.
        reason: Why not.
        excerpt: Its beginning, printable.
    """

    line: int
    reason: str
    excerpt: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}: {self.excerpt}"


@dataclass
class Summary:
    """
    What an import found so far.

    Attributes:
        form: `json`, `jsonpretty` or `yaml`; None as long as nothing came.
        n_events: Events.
        n_unreadable: Lines that are neither events nor logged.
        problems: The first of those.
        messages: The first warnings and errors that `ig` logged.
        n_messages: How many there were.
        lost: Events known to be missing.
        knows_lost: Whether *lost* is all: the gadget counts what it loses.
        failed_stacks: Events whose stack could not be read.
        unknown_operations: Names of operations that no answer knows.
        containers: What is known about each container.
        nodes: Machines that events came from, sorted; empty but on Kubernetes.
    """

    form: str | None = None
    n_events: int = 0
    n_unreadable: int = 0
    problems: list[Problem] = field(default_factory=list)
    messages: list[LogLine] = field(default_factory=list)
    n_messages: int = 0
    lost: int = 0
    knows_lost: bool = True
    failed_stacks: int = 0
    unknown_operations: Sequence[str] = ()
    containers: Sequence[dict[str, str]] = ()
    nodes: Sequence[str] = ()

    def counters(self) -> dict[str, int | None]:
        """Return the counters of recording.json; `lost` is None where nobody knows."""
        lost = {"lost": self.lost} if self.knows_lost else {"lost": None, "lost_at_least": self.lost}
        return {**lost, "failed_stacks": self.failed_stacks, "unreadable": self.n_unreadable}

    def facts(self, source: str) -> dict[str, Any]:
        """Return the members of recording.json that say what was imported from *source*."""
        return {
            "import": {
                "source": source,
                "form": self.form,
                "unreadable": [vars(problem) for problem in self.problems],
                "messages": [vars(message) for message in self.messages],
                "unknown_operations": [*self.unknown_operations],
                "nodes": [*self.nodes],
            },
            "containers": [*self.containers],
        }


class Importer:
    """
    Writes what it is fed to a recording. The recording is created with its first event.

    Args:
        create: Makes the recording.
        source: What is read, as errors and the recording name it.
        strict: Raise at the first line that is no event.
    """

    def __init__(self, create: Callable[[], RecordingWriter], *, source: str, strict: bool = False) -> None:
        self._create = create
        self._source = source
        self._strict = strict
        self._writer: RecordingWriter | None = None
        self._splitter = Splitter()
        self._registry = Registry()
        self._decoder = Decoder(self._registry)
        self._summary = Summary()
        self._lost_on_the_way = 0
        self._lost_in_kernel = 0

    @property
    def summary(self) -> Summary:
        """What was found so far."""
        registry, summary = self._registry, self._summary
        summary.form = self._splitter.form
        summary.lost = registry.lost + self._also_lost
        summary.knows_lost = not registry.lacks_lost
        summary.unknown_operations = registry.unknown_operations
        summary.containers = [*registry.containers.values()]
        summary.nodes = sorted(registry.nodes)
        return summary

    def feed(self, data: bytes) -> None:
        """
        Take in the next bytes of the stream.

        Raises:
            IgOutputError: A line is no event, and the import is strict.
            AlreadyExists, RecordingError, StorageError: The recording cannot be written.
        """
        self._take(self._splitter.feed(data))

    def log(self, line: bytes) -> None:
        """Take in a line that `ig` wrote to standard error."""
        logged = parse_log_line(line)
        text = line.decode(errors="replace").strip()
        if logged or text:
            self._note(logged or LogLine("error", text))

    def tick(self) -> None:
        """Make durable what is old enough; to be called now and then while nothing comes."""
        if self._writer is not None:
            self._writer.tick()

    def finish(self, end: str, *, keep_empty: bool = False) -> Summary:
        """
        Take in what is left, and complete the recording.

        Args:
            end: How it ended, as recording.json says it.
            keep_empty: Write a recording although there was no event.

        Raises:
            As `feed`; the recording is complete then, too.
        """
        try:
            self._take(self._splitter.finish())
        except IgOutputError:
            end = "failed"
            raise
        finally:
            self.close(end, keep_empty=keep_empty)
        return self.summary

    def close(self, end: str, *, keep_empty: bool = False) -> None:
        """Complete the recording with what was written so far; nothing happens if there is none."""
        if self._writer is None and keep_empty:
            self._writer = self._create()
        if self._writer is not None:
            summary = self.summary
            self._writer.close(counters=summary.counters(), end=end, facts=summary.facts(self._source))
            self._writer = None

    @property
    def _also_lost(self) -> int:
        """What was lost besides what the gadget counts; it counts what `ig` says of the kernel's buffers."""
        return self._lost_on_the_way + (self._lost_in_kernel if self._registry.lacks_lost else 0)

    def _take(self, pieces: Iterable[Piece]) -> None:
        events = _Batch()
        try:
            for piece in pieces:
                block = None if self._is_document(piece) else self._decoder.lines(piece.data, piece.ends)
                if block is not None:
                    self._write(events.take())
                    block["lost"] = block["lost"] + self._also_lost
                    self._write(block)
                    continue
                for part in [piece] if self._is_document(piece) else _lines(piece):
                    self._decode(part, events)
        finally:
            # Also when a strict import ends here: what came before is in the recording.
            self._write(events.take())

    def _is_document(self, piece: Piece) -> bool:
        return self._splitter.form in ("jsonpretty", "yaml") or piece.is_too_long

    def _decode(self, piece: Piece, events: "_Batch") -> None:
        """Add the event that *piece* is to *events*, or take note of what it is instead."""
        logged = parse_log_line(piece.data) if len(piece.data) < _LONGEST_LOG_LINE else None
        if logged is not None:
            self._note(logged)
            return
        try:
            event = self._event(piece)
        except _NO_EVENT as error:
            self._miss(piece, error)
        else:
            if event is not None:
                events.add(event, self._also_lost)

    def _event(self, piece: Piece) -> Event | None:
        """Return the event that *piece* is; None if it is blank. Raises one of `_NO_EVENT`."""
        if piece.is_too_long:
            raise ValueError(f"is longer than {format_bytes(MAX_DOCUMENT_BYTES)}")
        if not piece.data.strip():
            return None
        return (self._decoder.yaml if self._splitter.form == "yaml" else self._decoder.json)(piece.data)

    def _miss(self, piece: Piece, error: Exception) -> None:
        """Count what is no event; raises if the import is strict."""
        reason = "is cut off" if piece.is_cut else _reason(error)
        problem = Problem(piece.line, reason, _excerpt(piece.data))
        self._summary.n_unreadable += 1
        self._lost_on_the_way += 1
        if len(self._summary.problems) < SHOWN_PROBLEMS:
            self._summary.problems.append(problem)
        if self._strict:
            raise IgOutputError(self._source, problem.line, f"{reason}: {problem.excerpt}")

    def _note(self, logged: LogLine) -> None:
        self._lost_on_the_way += logged.dropped
        self._lost_in_kernel += logged.lost_in_kernel
        if logged.level not in _QUIET_LEVELS:
            self._summary.n_messages += 1
            if len(self._summary.messages) < _KEPT_MESSAGES:
                self._summary.messages.append(logged)

    def _write(self, events: Columns) -> None:
        n_events = len(events["pid"])
        if n_events == 0:
            return
        if self._writer is None:
            self._writer = self._create()
        self._registry.write(self._writer)
        self._writer.write_events(events, self._registry.operations)
        self._summary.n_events += n_events
        self._summary.failed_stacks += int(np.count_nonzero(events["stack_id"] == FAILED_STACK))


def import_header(source: str) -> dict[str, Any]:
    """
    Return the header of a recording of *source*; its times are since 1970, not since boot.

    `import` is filled in at the end, and tells readers of a recording that was cut off what it is.
    """
    return {
        "image": {"reference": None, "digest": None},
        "host": {},
        "target": {"imported_from": source},
        "parameters": {},
        "clock": {"boottime_ns": 0, "realtime_ns": 0},
        "import": None,
    }


class _Batch:
    """Events that were decoded one by one, with what was lost before each besides what the gadget counts."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._also_lost: list[int] = []

    def add(self, event: Event, also_lost: int) -> None:
        """Append one."""
        self._events.append(event)
        self._also_lost.append(also_lost)

    def take(self) -> Columns:
        """Return them as columns, and begin anew."""
        events, also_lost = self._events, self._also_lost
        self._events, self._also_lost = [], []
        return columns(events, also_lost)


def _lines(piece: Piece) -> Iterator[Piece]:
    """Yield each line of a block; only the last one can be cut."""
    lines = piece.data.split(b"\n")
    if not lines[-1]:
        del lines[-1]
    for place, line in enumerate(lines):
        yield Piece(line, piece.line + place, piece.is_cut and place == len(lines) - 1)


def _reason(error: Exception) -> str:
    """Return why something is no event, in one line; what the libraries say begins with a capital."""
    text = " ".join(str(error).split())[:200]
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _excerpt(data: bytes) -> str:
    text = " ".join(data[: 4 * _EXCERPT_CHARACTERS].decode(errors="replace").split())
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return shown if len(shown) <= _EXCERPT_CHARACTERS else f"{shown[:_EXCERPT_CHARACTERS]}…"
