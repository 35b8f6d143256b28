"""`gadgetops record`: the allocations of a target, into a recording."""

import contextlib
import functools
import mmap
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from gadgetops import __version__
from gadgetops.commands.common import messages
from gadgetops.commands.common.options import verb
from gadgetops.commands.common.output_file import make_room
from gadgetops.commands.common.progress_line import ProgressLine
from gadgetops.commands.common.value_types import count, percent, seconds, size
from gadgetops.commands.options.drawing_option import ascii_option
from gadgetops.commands.options.store_option import store_option
from gadgetops.commands.recordings.record_budget import agreed_budget
from gadgetops.commands.recordings.record_engine import choose_engine, is_given
from gadgetops.commands.recordings.record_ig import default_image, record_ig
from gadgetops.commands.recordings.record_preload import record_preload
from gadgetops.commands.recordings.record_target import (
    TargetRequest,
    exit_status,
    is_host_recorder,
    record_host,
    runtime_environment,
    said_what_goes_on,
    say_what_is_unseen,
    target_options,
)
from gadgetops.errors import UsageError
from gadgetops.recording.schema import SLICE_PART_BYTES
from gadgetops.units import format_bytes, plural

if TYPE_CHECKING:
    from gadgetops.gadget.reading.subject import Subject
    from gadgetops.trace.cost.pace import Budget
    from gadgetops.trace.kernel.loader import Loader
    from gadgetops.trace.targets.base import Target

DEFAULT_IMAGE = "trace_malloc"
MAX_SLICE_BYTES = 1 << 20


@verb(
    "record",
    example=(
        "gadgetops record -o app.gadgetrec -- ./app --its-own-option\n"
        "gadgetops record -o server.gadgetrec --duration 60 --pid 4711\n"
        "gadgetops record -o shop.gadgetrec --container shop --wait --max-bytes 1GiB\n"
        "gadgetops record -o python.gadgetrec --host --comm python3 --duration 10"
    ),
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    everyday=(
        *("output", "pid", "container", "host", "wait"),
        *("duration", "max_events", "max_bytes", "no_stacks", "is_live"),
    ),
)
@click.argument("command_line", metavar="[-- CMD…]", nargs=-1, type=click.UNPROCESSED)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder to write; NAME.gadgetrec.")
@target_options
@click.option("--duration", type=seconds(), help="Stop after so long: 60, 1min.")
@click.option("--max-events", type=count(1), help="Stop with the Nth event.")
@click.option("--max-bytes", type=size(), help="Stop before the recording takes more on disk, about.")
@click.option(
    "--max-slowdown",
    type=percent(1, 10_000),
    help="How much slower running processes may become: 20%; above, record a part of the time."
    "  [default: 20%; asks first, and refuses above 2 times where nobody can be asked]",
)
@click.option("--force", "is_forced", is_flag=True, help="Record everything, whatever it costs.")
@click.option(
    "--image",
    metavar="REF|OBJECT.o",
    help="Gadget to load, of the store or a file.  [default: the one that comes with gadgetops]",
)
@click.option("--param", "parameters", multiple=True, metavar="KEY=VALUE", help="Parameter of the gadget.")
@click.option(
    "--label", "labels", multiple=True, metavar="KEY=VALUE", help="Kept with the recording, to group by."
)
@click.option(
    "--buffer-size",
    default="64MiB",
    show_default=True,
    type=size(),
    help="Ring buffer size (a power of two).",
)
@click.option(
    "--max-stacks", default=32768, show_default=True, type=count(1), help="Maximum number of distinct stacks."
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "preload", "libbpf", "ig"]),
    default="auto",
    show_default=True,
    help="libbpf: eBPF; preload: a library in the command; ig: `ig run`, whose flags --param then sets. "
    "auto: eBPF where it is allowed, else preload.",
)
@click.option(
    "--probe-at",
    type=click.Choice(["prologue", "symbol"]),
    default="prologue",
    show_default=True,
    help="Where in a function: its cheapest instruction, or its first.",
)
@click.option("--no-stacks", is_flag=True, help="Record no stacks.")
@click.option(
    "--unwind",
    type=click.Choice(["auto", "fp", "dwarf"]),
    default="auto",
    show_default=True,
    help="Stacks by frame pointers, or by unwinding copies of them; auto: where code has no frame pointers.",
)
@click.option(
    "--stack-size",
    type=size(SLICE_PART_BYTES, MAX_SLICE_BYTES),
    default="32KiB",
    show_default=True,
    help="How much of a stack is copied, at most 1 MiB; more takes longer to load.",
)
@click.option("--keep-slices", is_flag=True, help="Keep these copies, which hold memory of the program.")
@click.option(
    "--symbols",
    type=click.Choice(["end", "late"]),
    default="end",
    show_default=True,
    help="When to find functions and lines; late: by `gadgetops symbolize`.",
)
@click.option(
    "--segment-seconds",
    type=seconds(),
    help="Close a segment, which `live` can show then, after so long.  [default: 10]",
)
@click.option("--live", "is_live", is_flag=True, help="Watch the recording as `gadgetops live` does.")
@ascii_option
@click.option("--no-pairs", is_flag=True, help="Leave all pairing to the first question, and its disk space.")
@store_option
def command(
    command_line: Sequence[str],
    output: Path | None,
    duration: float | None,
    max_events: int | None,
    max_bytes: int | None,
    max_slowdown: float | None,
    is_forced: bool,
    image: str | None,
    parameters: Sequence[str],
    labels: Sequence[str],
    buffer_size: int,
    max_stacks: int,
    engine: str,
    probe_at: str,
    unwind: Literal["auto", "fp", "dwarf"],
    stack_size: int,
    keep_slices: bool,
    no_stacks: bool,
    symbols: str,
    segment_seconds: float | None,
    is_live: bool,
    is_ascii: bool,
    no_pairs: bool,
    store: str,
    **which: Any,
) -> int:
    """Record every allocation and release of a command, running processes, a container, or the whole machine.

    What they start is included: a command is recorded until the last of it has ended, daemons too. Others
    are not slowed down, except with --host, and by --container those that share the container's image. The
    command's exit status is passed on.

    Ctrl-C, SIGTERM and SIGHUP end a recording with all that had happened; one more Ctrl-C leaves out the
    names of functions, which `gadgetops symbolize` can add. A command gets the first Ctrl-C on a terminal:
    the recording goes on until the command has ended or Ctrl-C comes again.

    Allocations are paired with their releases meanwhile, in the time that nobody wants, so that questions are
    answered at once; the rest of that is done after the recording is complete and this command has ended.
    """
    request = TargetRequest(command_line, **which)
    if (max_slowdown is not None or is_forced) and (command_line or engine == "ig"):
        raise UsageError("--max-slowdown and --force go with --pid, --container and --host")
    output = output or Path(f"{request.name}.gadgetrec")
    make_room(output)
    if is_live:
        return _watched(output, is_ascii=is_ascii)
    labels_of = _pairs("--label", labels)
    if keep_slices and (no_stacks or unwind == "fp"):
        raise UsageError("--keep-slices: with --no-stacks or --unwind fp nothing is copied")
    all_parameters = {**_pairs("--param", parameters), **request.filters()}
    if engine == "ig":
        if max_events is not None or max_bytes is not None:
            raise UsageError("--max-events and --max-bytes do not go with --engine ig")
        return record_ig(
            request,
            output,
            image or default_image(DEFAULT_IMAGE, collect_stacks=not no_stacks, store=store),
            parameters=all_parameters,
            collect_stacks=not no_stacks,
            duration_s=duration,
            labels=labels_of,
        )
    limits = duration, max_events, max_bytes, segment_seconds
    buffer_bytes, slice_bytes = _buffer_bytes(buffer_size), stack_size // SLICE_PART_BYTES * SLICE_PART_BYTES
    if engine == "auto":
        choice = choose_engine(request, [*all_parameters])
        engine = choice.engine
        say = messages.detail if choice.is_asked_for else messages.say
        say(f"engine {choice.engine}: {choice.why}")
    if engine == "preload":
        counters, description, status = record_preload(
            request,
            output,
            parameters=all_parameters,
            buffer_bytes=buffer_bytes if is_given("buffer_size") else None,
            collect_stacks=not no_stacks,
            symbolise=symbols == "end",
            limits=limits,
            labels=labels_of,
            with_pairs=not no_pairs,
        )
        _say_result(counters, description, output)
        say_what_is_unseen(output)
        return status
    # time.
    from gadgetops.trace.kernel.ring_map import RingMap
    from gadgetops.trace.machine import prepare_to_trace

    prepare_to_trace()
    if request.host and not is_host_recorder():
        return record_host()
    with RingMap(buffer_bytes) as ring:
        from gadgetops.trace.kernel.loader import Loader, Options

        options = Options(
            all_parameters,
            buffer_bytes,
            max_stacks,
            not no_stacks,
            symbols == "end",
            probe_at,
            unwind,
            keep_slices,
            slice_bytes,
        )
        subject = _gadget(image, store)
        loader = Loader(subject.elf or b"", options, ring, by_events=request.needs_events)
        if not request.restricts_gadget:
            loader.begin()
        header = {
            **_header(subject, options),
            "labels": labels_of,
            "environment": runtime_environment(request),
        }
        agree = functools.partial(
            agreed_budget, collect_stacks=not no_stacks, max_percent=max_slowdown, is_forced=is_forced
        )
        return _record(loader, request, output, header, limits, agree, with_pairs=not no_pairs)


def _watched(output: Path, *, is_ascii: bool) -> int:
    """Record in the background, with the options that this verb was given, and watch."""
    from gadgetops.commands.recordings.live import record_and_watch

    arguments = [*click.get_current_context().find_root().obj]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    own = [each for each in arguments[:end] if each not in ("--live", "--ascii")]
    return record_and_watch([*own, *arguments[end:]], output, is_ascii=is_ascii)


def _record(
    loader: "Loader",
    request: TargetRequest,
    output: Path,
    header: Mapping[str, Any],
    limits: tuple[float | None, int | None, int | None, float | None],
    agree: "Callable[[Target], Budget | None]",
    *,
    with_pairs: bool,
) -> int:
    from gadgetops.questions.leaks.background import paired_beside
    from gadgetops.trace.attachment import Attachment
    from gadgetops.trace.recorder import Limits, record

    target = request.target()
    budget = None if target.is_ours else agree(target)
    if budget is not None:
        header = {**header, "budget": budget.to_json()}
    with said_what_goes_on(target):
        with ProgressLine() as line, contextlib.ExitStack() as beside:
            counters = record(
                Attachment(loader),
                target,
                output,
                header,
                limits=Limits(*limits),
                listener=line,
                on_begun=lambda: beside.enter_context(paired_beside(output)) if with_pairs else None,
                budget=budget,
            )
        _say_result(counters, target.description, output)
        say_what_is_unseen(output)
    return exit_status(target)


def _say_result(counters: Mapping[str, int], target: Mapping[str, Any], output: Path) -> None:
    messages.say(f"recorded {plural(counters['events'], 'event')} in {output}")
    if not counters["events"] and not target.get("unseen"):
        messages.warn("nothing was allocated where the probes are: `gadgetops info` says where that is")
    given_up = counters["given_up"]
    if counters["lost"] > given_up:
        lost = plural(counters["lost"] - given_up, "event")
        messages.warn(f"{lost} lost for want of room: use a larger --buffer-size")
    if given_up:
        messages.warn(f"{plural(given_up, 'event')} lost inside calls that never returned, as by longjmp()")
    if counters["failed_stacks"]:
        messages.warn(f"{plural(counters['failed_stacks'], 'stack')} failed: use a larger --max-stacks")
    n_stacks = counters.get("slices", 0) + counters.get("walked_stacks", 0)
    if counters.get("unwound_cut", 0) * 100 > n_stacks:
        cut = plural(counters["unwound_cut"], "stack")
        messages.warn(f"{cut} deeper than what was copied of them: use a larger --stack-size")
    if target.get("n_attached_late"):
        late = max(entry["at_most_ms_late"] for entry in target["attached_late"])
        what = plural(target["n_attached_late"], "time")
        messages.warn(f"reached a process or library after it began {what}, by at most {late:g} ms")
    if target.get("unseen"):
        messages.warn(f"nothing of what this program allocates can be seen: {target['unseen']}")
    if target.get("left_out"):
        names = ", ".join(name for each in target["left_out"].values() for name in each)
        messages.warn(f"calls of {names} are not seen: the kernel has no attach cookies (Linux 5.15 has)")
    if target.get("n_not_covered"):
        missed = plural(target["n_not_covered"], "process", "processes")
        messages.warn(f"not recorded: {missed}, in recording.json's `not_covered`")


def _gadget(image: str | None, store: str) -> "Subject":
    """Return the gadget that is asked for; by default the one that belongs to this package."""
    from gadgetops.gadget.reading.subject import open_subject, own_subject

    subject = own_subject(DEFAULT_IMAGE) if image is None else open_subject(image, store=store)
    if subject.elf is None:
        raise UsageError(f"{subject.name}: holds no eBPF object")
    return subject


def _pairs(option: str, texts: Sequence[str]) -> Mapping[str, str]:
    for text in texts:
        if not text.partition("=")[0] or "=" not in text:
            raise UsageError(f"{option} {text}: expected KEY=VALUE")
    return dict(text.split("=", 1) for text in texts)


def _buffer_bytes(size_bytes: int) -> int:
    if size_bytes < os.sysconf("SC_PAGE_SIZE") or size_bytes & (size_bytes - 1):
        given = format_bytes(size_bytes)
        raise UsageError(f"--buffer-size {given}: expected a power of two of at least {format_bytes(4096)}")
    return size_bytes


def _header(subject: "Subject", options: Any) -> dict[str, Any]:
    from gadgetops.gadget.reading.own_images import is_own_object

    uname = os.uname()
    return {
        "tool": f"gadgetops {__version__}",
        "engine": "libbpf",
        "image": {
            "reference": subject.name,
            "digest": subject.digest,
            "is_own": is_own_object(subject.elf or b""),
        },
        "host": {
            "name": uname.nodename,
            "kernel": uname.release,
            "machine": uname.machine,
            "page_bytes": mmap.PAGESIZE,
        },
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
