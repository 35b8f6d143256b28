"""`gadgetops import`: what `ig run` printed, into a recording."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import verb
from gadgetops.errors import AlreadyExists, IgOutputError, StorageError, UsageError
from gadgetops.units import plural

if TYPE_CHECKING:
    from gadgetops.recording.ig.importer import Importer, Summary

_STANDARD_INPUT = "standard input"
_SHOWN_MESSAGES = 5
_COLUMNS_HINT = "these are ig's columns, made for people: run it with `-o json`"
_HINT = "give what `ig run IMAGE -o json` prints; --collect-ustack adds stacks"


@verb(
    "import",
    example=(
        "gadgetops import events.json -o app.gadgetrec\n"
        "ig run trace_malloc_ustack --collect-ustack -o json | gadgetops import - -o app.gadgetrec"
    ),
)
@click.argument("source", metavar="[FILE|-]", default="-")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder to write.  [default: FILE.gadgetrec]"
)
@click.option("--strict", is_flag=True, help="Fail at the first line that is no event.")
def command(source: str, output: Path | None, strict: bool) -> int:
    """Make a recording of what `ig run` printed, from FILE or standard input.

    JSON lines, indented JSON and YAML are told apart, compressed by gzip or not. A pipe is recorded as it
    grows; Ctrl-C ends it cleanly. What is no event is counted and shown: it may have been one, so it counts
    as lost.
    """
    from gadgetops.questions.leaks.background import paired_beside
    from gadgetops.recording.ig.importer import Importer, import_header
    from gadgetops.recording.writer import RecordingWriter

    output = output or _default_output(source)
    if output.exists():
        raise AlreadyExists(str(output), hint="choose another name with -o, or remove it")
    name = _STANDARD_INPUT if source == "-" else source
    header = import_header(name)
    importer = Importer(lambda: RecordingWriter.create(output, header), source=name, strict=strict)
    with _opened(source) as stream, paired_beside(output):
        try:
            end = _import(importer, stream.fileno(), name)
        except IgOutputError:
            if output.exists():
                messages.say(
                    f"kept what came before it, {plural(importer.summary.n_events, 'event')}, in {output}"
                )
            raise
    summary = importer.summary
    say_findings(summary)
    if not summary.n_events:
        raise _nothing_there(name, summary)
    messages.say(f"imported {plural(summary.n_events, 'event')} into {output}")
    if end == "interrupted":
        messages.say("stopped before the end of the input")
    return 0


def _default_output(source: str) -> Path:
    if source == "-":
        raise UsageError("standard input has no name to give to the recording", hint="name one with -o")
    return Path(f"{Path(source).name.partition('.')[0]}.gadgetrec")


def _opened(source: str) -> BinaryIO:
    """Open *source*; standard input only if somebody else writes to it."""
    if source != "-":
        return _open_file(Path(source))
    if os.isatty(0):
        raise UsageError("standard input is the terminal", hint=_HINT)
    return os.fdopen(os.dup(0), "rb", buffering=0)


def _open_file(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error


def _import(importer: "Importer", descriptor: int, name: str) -> str:
    """Import what *descriptor* gives, and return how it ended; the recording is complete in any case."""
    from gadgetops.recording.ig.source import Blocks, decompressed
    from gadgetops.trace.signals import stop_signals

    with stop_signals() as stopped:
        blocks = Blocks(descriptor, lambda: bool(stopped))
        try:
            for block in decompressed(iter(blocks), name):
                importer.feed(block)
                importer.tick()
        except BaseException:
            importer.close("failed")
            raise
        end = "complete" if blocks.is_whole else "interrupted"
        importer.finish(end)
    return end


def say_findings(summary: "Summary") -> None:
    """Say what is missing from an import, or odd about it."""
    if summary.n_unreadable:
        messages.warn(f"{_lines(summary.n_unreadable)} no event, counted as lost")
        for problem in summary.problems:
            messages.warn(str(problem))
    _say_messages(summary)
    if summary.n_events and not summary.knows_lost:
        at_least = f", {summary.lost:,} at least" if summary.lost else ""
        messages.warn(f"the gadget does not say how many events were lost{at_least}")
    elif summary.lost > summary.n_unreadable:
        messages.warn(f"{plural(summary.lost, 'event')} lost")
    if summary.failed_stacks:
        messages.warn(f"{plural(summary.failed_stacks, 'event')} without a stack: ig could not read it")
    if summary.unknown_operations:
        names = ", ".join(map(ascii, summary.unknown_operations))
        messages.warn(f"kept, but no answer counts these operations: {names}")
    if len(summary.nodes) > 1:
        nodes = ", ".join(map(ascii, summary.nodes))
        messages.warn(
            f"events of several nodes ({nodes}): processes with the same number are mixed up; import each "
            f"alone, as in `jq -c 'select(.k8s.node == \"N\")' FILE | gadgetops import - -o N.gadgetrec`"
        )


def _say_messages(summary: "Summary") -> None:
    shown = summary.messages[:_SHOWN_MESSAGES]
    for message in shown:
        messages.warn(f"ig: {message.level}: {message.message[:400]}")
    if summary.n_messages > len(shown):
        messages.warn(f"ig: {plural(summary.n_messages - len(shown), 'more message')}, see recording.json")


def _nothing_there(name: str, summary: "Summary") -> IgOutputError:
    if summary.problems and "COMM" in summary.problems[0].excerpt.split():
        return IgOutputError(name, None, "no events", hint=_COLUMNS_HINT)
    return IgOutputError(name, None, "no events" if summary.n_unreadable else "empty", hint=_HINT)


def _lines(count: int) -> str:
    return f"{plural(count, 'line')} {'is' if count == 1 else 'are'}"
