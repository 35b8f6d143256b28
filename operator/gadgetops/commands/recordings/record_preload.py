"""`gadgetops record --engine preload`: a command records itself by a library that it preloads."""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gadgetops import __version__
from gadgetops.commands.common.progress_line import ProgressLine
from gadgetops.commands.recordings.record_target import (
    TargetRequest,
    exit_status,
    runtime_environment,
    said_what_goes_on,
)
from gadgetops.errors import UsageError

_DEFAULT_BUFFER_BYTES: Final = 32 << 20
"""Programs wait for the recorder where it has no room: more would only take memory."""


def record_preload(
    request: TargetRequest,
    output: Path,
    *,
    parameters: Mapping[str, str],
    buffer_bytes: int | None,
    collect_stacks: bool,
    symbolise: bool,
    limits: tuple[float | None, int | None, int | None, float | None],
    labels: Mapping[str, str],
    with_pairs: bool,
) -> tuple[Mapping[str, int], Mapping[str, Any], int]:
    """
    Record the command that *request* has, and return counters, what is known of it, and its exit status.

    Raises:
        UsageError: It is no command, or the library has no such parameter.
        TraceError: There is no library for this machine.
        StorageError: There is no room for the ring buffer or the recording.
    """
    from gadgetops.questions.leaks.background import paired_beside
    from gadgetops.trace.preload.engine import record_preloaded
    from gadgetops.trace.preload.library import find_library
    from gadgetops.trace.preload.source import PreloadSource, Wishes
    from gadgetops.trace.preload.target import PreloadedCommand
    from gadgetops.trace.recorder import Limits

    if not request.command_line:
        raise UsageError(
            "the engine preload records a command that it starts",
            hint="give one after `--`, or leave --engine out",
        )
    wishes = Wishes(parameters, buffer_bytes or _DEFAULT_BUFFER_BYTES, collect_stacks, symbolise)
    wishes.settings()
    library = find_library()
    target = PreloadedCommand(request.command_line, with_children=not request.no_children)
    with said_what_goes_on(target), ProgressLine() as line, contextlib.ExitStack() as beside:
        counters = record_preloaded(
            PreloadSource(library, wishes),
            target,
            output,
            {
                **_header(library, wishes),
                "labels": labels,
                "environment": runtime_environment(request),
            },
            limits=Limits(*limits),
            listener=line,
            on_begun=lambda: beside.enter_context(paired_beside(output)) if with_pairs else None,
        )
    return counters, target.description, exit_status(target)


def _header(library: Path, wishes: Any) -> dict[str, Any]:
    uname = os.uname()
    return {
        "tool": f"gadgetops {__version__}",
        "engine": "preload",
        "library": str(library),
        "host": {"name": uname.nodename, "kernel": uname.release, "machine": uname.machine},
        "parameters": {
            **wishes.parameters,
            "buffer_bytes": wishes.buffer_bytes,
            "collect_stacks": wishes.collect_stacks,
        },
        "clock": {
            "boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            "realtime_ns": time.clock_gettime_ns(time.CLOCK_REALTIME),
        },
    }
