"""`gadgetops record`: the allocations of a command or a running process, into a recording."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from gadgetops import __version__
from gadgetops.commands import messages
from gadgetops.commands.options import verb
from gadgetops.commands.store_option import store_option
from gadgetops.errors import AlreadyExists, NotFound, UsageError
from gadgetops.gadget.subject import Subject, open_subject
from gadgetops.units import format_bytes, parse_bytes, plural

DEFAULT_IMAGE = "trace_malloc"


@verb(
    "record",
    example=(
        "gadgetops record -o app.gadgetrec -- ./app --its-own-option\n"
        "gadgetops record -o server.gadgetrec --duration 60 --pid 4711"
    ),
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@click.argument("command_line", metavar="[-- CMD…]", nargs=-1, type=click.UNPROCESSED)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder to write; NAME.gadgetrec.")
@click.option("-p", "--pid", type=click.IntRange(min=1), help="Record this running process.")
@click.option("--duration", type=click.FloatRange(min=0), metavar="S", help="Stop after so many seconds.")
@click.option("--image", metavar="REF|OBJECT.o", help="Gadget to load.  [default: trace_malloc of the store]")
@click.option("--param", "parameters", multiple=True, metavar="KEY=VALUE", help="Parameter of the gadget.")
@click.option("--buffer-size", default="64MiB", show_default=True, help="Of the ring buffer, a power of two.")
@click.option(
    "--max-stacks", default=32768, show_default=True, type=click.IntRange(min=1), help="Kept at most."
)
@click.option("--no-stacks", is_flag=True, help="Record no stacks.")
@store_option
def command(
    command_line: Sequence[str],
    output: Path | None,
    pid: int | None,
    duration: float | None,
    image: str | None,
    parameters: Sequence[str],
    buffer_size: str,
    max_stacks: int,
    no_stacks: bool,
    store: str,
) -> int:
    """Record every allocation and release of a command (its children included) or of a running process.

    Others that use the same C library are not touched. The command's exit status is passed on. Ctrl-C ends a
    recording cleanly.
    """
    # Imported here: numpy, DuckDB and the symboliser would cost every `--help` half a second.
    from gadgetops.trace.machine import check_machine, check_pid_namespace  # noqa: PLC0415
    from gadgetops.trace.recorder import Limits, record  # noqa: PLC0415
    from gadgetops.trace.session import Options, Session  # noqa: PLC0415
    from gadgetops.trace.targets import CommandTarget, ProcessTarget  # noqa: PLC0415

    if bool(command_line) == (pid is not None):
        raise UsageError("give either a command after `--` or --pid", hint="see `gadgetops record --help`")
    output = output or Path(f"{Path(command_line[0]).name if command_line else f'pid-{pid}'}.gadgetrec")
    if output.exists():
        raise AlreadyExists(str(output), hint="choose another name with -o, or remove it")
    check_machine()
    check_pid_namespace()
    subject = _gadget(image, store)
    options = Options(_parsed(parameters), _buffer_bytes(buffer_size), max_stacks, not no_stacks)
    session = Session(subject.elf or b"", options)
    target = CommandTarget(command_line) if command_line else ProcessTarget(pid or 0)
    counters = record(
        session, target, output, _header(subject, options), limits=Limits(duration), listener=messages
    )
    _say_result(counters, output)
    return _status(target) if isinstance(target, CommandTarget) else 0


def _say_result(counters: Mapping[str, int], output: Path) -> None:
    messages.say(f"recorded {plural(counters['events'], 'event')} in {output}")
    if counters["lost"]:
        messages.warn(f"{plural(counters['lost'], 'event')} lost: use a larger --buffer-size")
    if counters["failed_stacks"]:
        messages.warn(f"{plural(counters['failed_stacks'], 'stack')} failed: use a larger --max-stacks")


def _status(target: Any) -> int:
    status: int | None = target.exit_status
    if status is None:
        messages.say(f"the command goes on, unrecorded, as process {target.pid}")
    return status or 0


def _gadget(image: str | None, store: str) -> Subject:
    """Return the gadget that is asked for; by default the one that `gadgetops build` put into the store."""
    try:
        subject = open_subject(image or DEFAULT_IMAGE, store=store)
    except NotFound as error:
        if image is not None:
            raise
        raise NotFound(
            DEFAULT_IMAGE,
            where=error.where,
            hint=f"in the project's folder, run `gadgetops build -t {DEFAULT_IMAGE}`",
        ) from error
    if subject.elf is None:
        raise UsageError(f"{subject.name}: holds no eBPF object")
    return subject


def _parsed(parameters: Sequence[str]) -> Mapping[str, str]:
    for parameter in parameters:
        if "=" not in parameter:
            raise UsageError(f"--param {parameter}: expected KEY=VALUE")
    return dict(parameter.split("=", 1) for parameter in parameters)


def _buffer_bytes(text: str) -> int:
    size = parse_bytes(text)
    if size < os.sysconf("SC_PAGE_SIZE") or size & (size - 1):
        raise UsageError(f"--buffer-size {text}: expected a power of two of at least {format_bytes(4096)}")
    return size


def _header(subject: Subject, options: Any) -> dict[str, Any]:
    uname = os.uname()
    return {
        "tool": f"gadgetops {__version__}",
        "image": {"reference": subject.name, "digest": subject.digest},
        "host": {"name": uname.nodename, "kernel": uname.release, "machine": uname.machine},
        "parameters": {
            **options.parameters,
            "buffer_bytes": options.buffer_bytes,
            "max_stacks": options.max_stacks,
            "collect_stacks": options.collect_stacks,
        },
        "clock": {
            "boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            "realtime_ns": time.clock_gettime_ns(time.CLOCK_REALTIME),
        },
    }
