"""Record a command by the library that it preloads, which needs no right and no kernel feature."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gadgetops.errors import Interrupted
from gadgetops.trace.events.priority import BACK
from gadgetops.trace.preload.source import PreloadSource
from gadgetops.trace.preload.target import PreloadedCommand
from gadgetops.trace.preload.tracker import ReportedSpaces
from gadgetops.trace.recorder import EXCUSED, Limits, Listener, follow, witness
from gadgetops.trace.signals import StopRequest, stop_signals


def record_preloaded(
    source: PreloadSource,
    target: PreloadedCommand,
    output: Path,
    header: Mapping[str, Any],
    *,
    limits: Limits,
    listener: Listener,
    on_begun: Callable[[], None] = lambda: None,
) -> dict[str, int]:
    """
    Record *target* into the new folder *output* and return its counters, as `trace.recorder.record` does.

    Raises:
        Interrupted: A signal came before the command began.
        StorageError: There is no room for the ring buffer, or the recording cannot be written.
    """
    with (
        stop_signals() as signals,
        witness(target) as group,
        source.opened(output.parent),
        ReportedSpaces() as tracker,
        target.prepared(source, tracker),
    ):
        if signals:
            raise Interrupted(signals[0])

        def describe() -> None:
            target.description |= tracker.description()

        tracker.on_finish = describe
        stop = StopRequest(signals, group, target.gets_interrupts, lambda: listener.say(EXCUSED))
        return follow(
            source,
            tracker,
            target,
            output,
            header,
            limits=limits,
            listener=listener,
            stop=stop,
            update=describe,
            on_begun=on_begun,
            nice=BACK,
        )
