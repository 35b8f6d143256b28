"""`gadgetops record --engine ig`: `ig run` attaches, what it prints becomes the recording."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from gadgetops.commands.common import messages
from gadgetops.commands.recordings.import_ import say_findings
from gadgetops.commands.recordings.record_target import TargetRequest
from gadgetops.errors import GadgetOpsError, UsageError
from gadgetops.units import plural

USTACK_IMAGE: Final = "trace_malloc_ustack"
"""Our gadget with the map without which ig 0.46 to 0.55 panics when it collects stacks."""


def record_ig(
    request: TargetRequest,
    output: Path,
    image: str,
    *,
    parameters: Mapping[str, str],
    collect_stacks: bool,
    duration_s: float | None,
    labels: Mapping[str, str],
) -> int:
    """
    Record what *request* asks for with `ig run`, until it ends, a signal comes, or the time is over.

    Raises:
        UsageError: `ig` cannot record that.
        ToolError: `ig` is missing or failed.
    """
    from gadgetops.recording.ig.importer import Importer
    from gadgetops.recording.writer import RecordingWriter
    from gadgetops.trace.ig_engine import IgRun, record_with_ig
    from gadgetops.trace.signals import stop_signals

    _check(request)
    run = IgRun(
        image,
        containers=[request.container] if request.container else [],
        host=request.host,
        pid=int(request.pid) if request.pid else None,
        collect_stacks=collect_stacks,
        parameters=parameters,
    )
    header = {**run.header(), "labels": labels}
    importer = Importer(lambda: RecordingWriter.create(output, header), source="ig run")
    messages.detail(" ".join(run.argv()))
    try:
        with stop_signals() as stopped:
            record_with_ig(run.argv(), importer, _reason(stopped, duration_s))
    finally:
        say_findings(importer.summary)
    messages.say(f"recorded {plural(importer.summary.n_events, 'event')} in {output}")
    return 0


def default_image(without_stacks: str, *, collect_stacks: bool, store: str) -> str:
    """
    Return which image ig runs unless another one is asked for.

    For stacks that is `USTACK_IMAGE`, if the store has it; where nothing is built ig fetches the other one.
    """
    if not collect_stacks:
        return without_stacks
    if _is_in_store(USTACK_IMAGE, store):
        return USTACK_IMAGE
    if _is_in_store(without_stacks, store):
        messages.warn(
            f"{without_stacks} collects no stacks under ig 0.46 to 0.55: run"
            f" `gadgetops build --bundled {USTACK_IMAGE}`"
        )
    return without_stacks


def _is_in_store(image: str, store: str) -> bool:
    from gadgetops.oci.layout.store import open_store
    from gadgetops.oci.reference import Reference

    try:
        open_store(store, create=False).resolve(Reference.parse(image))
    except GadgetOpsError:
        return False
    return True


def _check(request: TargetRequest) -> None:
    if request.command_line:
        raise UsageError(
            "the engine ig starts no command",
            hint="give --container, --host or --pid, or leave --engine ig out",
        )
    if request.pid and not request.pid.isdecimal():
        raise UsageError(f"--pid {request.pid}: the engine ig takes the number of one process")
    if request.no_children or request.docker_host:
        raise UsageError(
            "--no-children and --docker-host do not go with --engine ig",
            hint="--param sets any flag of `ig run`, such as docker-socketpath=PATH",
        )


def _reason(stopped: list[int], duration_s: float | None) -> Callable[[], str | None]:
    deadline = None if duration_s is None else time.monotonic() + duration_s

    def why_stop() -> str | None:
        if stopped:
            return "interrupted"
        return "duration" if deadline is not None and time.monotonic() >= deadline else None

    return why_stop
