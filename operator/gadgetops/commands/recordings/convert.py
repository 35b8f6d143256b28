"""`gadgetops convert`: a recording in another tool's format."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import verb
from gadgetops.commands.common.output_file import OutputFile
from gadgetops.commands.common.progress_line import ProgressLine
from gadgetops.commands.options.question_options import filter_options, recording_argument, status_of
from gadgetops.errors import UsageError
from gadgetops.report.exports.formats import FORMATS
from gadgetops.units import format_bytes

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters
    from gadgetops.questions.top import Measure
    from gadgetops.report.exports.export import Export


@verb(
    "convert",
    example="gadgetops convert program.gadgetrec --to pprof -o heap.pb.gz\n"
    "gadgetops convert program.gadgetrec --to folded --by bytes -o - | flamegraph.pl > bytes.svg\n"
    "gadgetops convert program.gadgetrec --to heaptrack -o program.heaptrack.gz\n"
    "gadgetops convert program.gadgetrec --to otlp -o grpc://localhost:4317",
)
@recording_argument
@click.option("--to", "to", required=True, type=click.Choice([*FORMATS]), help="The format.")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE|URL",
    help="File to write; - for standard output. For otlp also an endpoint, http(s):// or grpc(s)://.",
)
@click.option(
    "--by",
    type=click.Choice(["bytes", "calls", "live", "temporary", "peak"]),
    help="What the values of `folded` are, as in `top`.  [default: live]",
)
@click.option(
    "--header", "headers", multiple=True, metavar="KEY=VALUE", help="Sent with each request to URL."
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@filter_options
def command(
    recording: Path,
    to: str,
    output: str,
    by: "Measure | None",
    headers: Sequence[str],
    force: bool,
    filters: "Filters",
) -> int:
    """Write what RECORDING holds as a FILE that other tools open.

    Sums by stack: folded (flame graph tools), pprof (`go tool pprof`), speedscope, otlp (OpenTelemetry
    profiles). Sums and live memory over time: perfetto. Every allocation and release: heaptrack
    (`heaptrack_gui`), firefox (profiler.firefox.com); both are compressed if FILE ends with `.gz`. Every
    allocation as a row, with what released it and its stack: csv, parquet, ndjson.
    """
    if by is not None and to != "folded":
        raise UsageError(
            f"--by does not go with --to {to}", hint="its file has all sums, or every allocation"
        )
    from gadgetops.report.exports.otlp_send import is_endpoint

    if is_endpoint(output):
        return _send(recording, to, output, headers, filters)
    if headers:
        raise UsageError("--header goes with an endpoint alone", hint="give its URL with -o")
    file = OutputFile(output, force=force, is_text=FORMATS[to].is_text)
    export = _export(recording, filters, by, is_compressed=output.endswith(".gz"))
    with ProgressLine() as line, file.written() as path:
        line.stage(f"converting to {to}")
        word = FORMATS[to].write(replace(export, on_progress=line.stage), path)
    messages.say(f"wrote {file}, {format_bytes(file.size_bytes)}; {word}")
    return status_of(word)


def _export(recording: Path, filters: "Filters", by: "Measure | None", *, is_compressed: bool) -> "Export":
    from gadgetops.recording.reader import open_recording
    from gadgetops.report.exports.export import Export

    return Export(open_recording(recording), filters, by or "live", is_compressed)


def _send(recording: Path, to: str, endpoint: str, headers: Sequence[str], filters: "Filters") -> int:
    from gadgetops.report.exports.otlp_send import send

    if to != "otlp":
        raise UsageError(f"--to {to} cannot be sent", hint="an endpoint takes --to otlp")
    parted = [header.partition("=") for header in headers]
    if wrong := [key for key, equals, _ in parted if not (key and equals)]:
        raise UsageError(f"--header {wrong[0]}: not KEY=VALUE")
    named = {key: value for key, _, value in parted}
    word, n_bytes = send(_export(recording, filters, None, is_compressed=False), endpoint, named)
    messages.say(f"sent {format_bytes(n_bytes)} to {endpoint}; {word}")
    return status_of(word)
