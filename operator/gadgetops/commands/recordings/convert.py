"""`gadgetops convert`: a recording in another tool's format."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from gadgetops import __version__
from gadgetops.commands.common import messages
from gadgetops.commands.common.options import verb
from gadgetops.commands.common.question_options import filter_options, recording_argument, status_of
from gadgetops.errors import StorageError, UsageError
from gadgetops.units import format_bytes

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters
    from gadgetops.questions.profile import RowFormat
    from gadgetops.questions.top import Measure
    from gadgetops.recording.reader import Recording

_FORMATS: Final = ("folded", "pprof", "speedscope", "perfetto", "csv", "parquet", "ndjson")
_MOMENTS: Final = 2000
"""How many points the counters of a Perfetto trace have."""


@verb(
    "convert",
    example="gadgetops convert program.gadgetrec --to pprof -o heap.pb.gz\n"
    "gadgetops convert program.gadgetrec --to folded --by bytes -o program.folded\n"
    "gadgetops convert program.gadgetrec --to parquet --min-size 1M -o large.parquet",
)
@recording_argument
@click.option("--to", "to", required=True, type=click.Choice(_FORMATS), help="The format.")
@click.option(
    "-o", "--output", required=True, metavar="FILE", type=click.Path(path_type=Path), help="File to write."
)
@click.option(
    "--by",
    type=click.Choice(["bytes", "calls", "live", "temporary", "peak"]),
    help="What the values of `folded` are, as in `top`.  [default: live]",
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@filter_options
def command(
    recording: Path, to: str, output: Path, by: "Measure | None", force: bool, filters: "Filters"
) -> int:
    """Write what RECORDING holds as a FILE that other tools open.

    Sums by stack: folded (flame graph tools), pprof (`go tool pprof`), speedscope, perfetto (with live memory
    over time). Every allocation as a row, with what released it and its stack: csv, parquet, ndjson.
    """
    # Imported here: DuckDB would cost every `--help` a tenth of a second.
    from gadgetops.recording.reader import open_recording  # noqa: PLC0415

    if by is not None and to != "folded":
        raise UsageError(
            f"--by does not go with --to {to}", hint="its file has all sums, or every allocation"
        )
    if output.exists() and not force:
        raise StorageError(output, "already exists", hint="pass --force to overwrite it")
    if not output.parent.is_dir():
        raise StorageError(output.parent, "no such folder", hint="choose another with -o")
    opened = open_recording(recording)
    if to in _CONTENTS:
        word = _write_profile(opened, output, to, by or "live", filters)
    else:
        word = _write_rows(opened, output, cast("RowFormat", to), filters)
    messages.say(f"wrote {output}, {format_bytes(output.stat().st_size)}; {word}")
    return status_of(word)


def _write_rows(recording: "Recording", output: Path, to: "RowFormat", filters: "Filters") -> str:
    from gadgetops.questions.profile import write_rows  # noqa: PLC0415

    return _replacing(output, lambda path: write_rows(recording, path, to, filters))


def _write_profile(recording: "Recording", output: Path, to: str, by: "Measure", filters: "Filters") -> str:
    word, content = _CONTENTS[to](recording, by, filters)
    _replacing(output, lambda path: str(path.write_bytes(content)))
    return word


def _replacing(output: Path, write: Callable[[Path], str]) -> str:
    """Write beside *output*, which is then there as a whole; nothing is left behind by what failed."""
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        result = write(temporary)
        temporary.replace(output)
    except OSError as error:
        raise StorageError.from_os_error(error, output) from error
    finally:
        temporary.unlink(missing_ok=True)
    return result


def _folded(recording: "Recording", by: "Measure", filters: "Filters") -> tuple[str, bytes]:
    from gadgetops.questions.top import COUNTED, measured  # noqa: PLC0415
    from gadgetops.report.exports.folded import folded_lines  # noqa: PLC0415

    certainty, amounts = measured(recording, by, filters, "stack")
    lines = (f"{line}\n" for line in folded_lines(amounts, by_count=by in COUNTED))
    return certainty.word, "".join(lines).encode("utf-8", "replace")


def _pprof(recording: "Recording", _by: "Measure", filters: "Filters") -> tuple[str, bytes]:
    from gadgetops.questions.profile import profile  # noqa: PLC0415
    from gadgetops.report.exports.pprof import to_pprof  # noqa: PLC0415

    found = profile(recording, filters)
    return found.certainty.word, to_pprof(found)


def _speedscope(recording: "Recording", _by: "Measure", filters: "Filters") -> tuple[str, bytes]:
    from gadgetops.questions.profile import profile  # noqa: PLC0415
    from gadgetops.report.exports.speedscope import to_speedscope  # noqa: PLC0415

    found = profile(recording, filters)
    document = to_speedscope(found, recording.path.name, f"gadgetops {__version__}")
    return found.certainty.word, json.dumps(document, separators=(",", ":")).encode()


def _perfetto(recording: "Recording", _by: "Measure", filters: "Filters") -> tuple[str, bytes]:
    from gadgetops.questions.profile import profile  # noqa: PLC0415
    from gadgetops.questions.timeline import timeline  # noqa: PLC0415
    from gadgetops.report.exports.perfetto import to_perfetto  # noqa: PLC0415

    found = profile(recording, filters)
    return found.certainty.word, to_perfetto(found, timeline(recording, _MOMENTS, filters))


_CONTENTS: Final[dict[str, Callable[["Recording", "Measure", "Filters"], tuple[str, bytes]]]] = {
    "folded": _folded,
    "pprof": _pprof,
    "speedscope": _speedscope,
    "perfetto": _perfetto,
}
"""Gives the certainty's word and the content of each format that fits into memory."""
