"""`gadgetops check`: a recording against its budget."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gadgetops import __version__
from gadgetops.commands.common import messages
from gadgetops.commands.common.config import budget_file
from gadgetops.commands.common.options import table_or_json_option, verb
from gadgetops.commands.common.output import print_json
from gadgetops.commands.common.output_file import write_bytes
from gadgetops.commands.common.terminal import show
from gadgetops.commands.common.value_types import count, size
from gadgetops.commands.options.question_options import recording_argument
from gadgetops.errors import UsageError

if TYPE_CHECKING:
    from gadgetops.questions.leaks.budget import Baseline, Gate, Name

_STATUSES: Final = {"ok": 0, "exceeded": 3, "inconclusive": 4}
_SHOWN: Final = 5
_IN_MARKDOWN: Final = 10
_FILE = click.Path(path_type=Path)


@verb(
    "check",
    example="gadgetops check program.gadgetrec --max-leak-bytes 0 --max-peak 64M\n"
    "gadgetops check program.gadgetrec --baseline main.gadgetrec --tolerance 10% --junit check.xml",
)
@recording_argument
@click.option("--max-leak-bytes", type=size(), help="Bytes of the heap that may never be released.")
@click.option("--max-leaks", type=count(), help="Blocks of the heap that may never be released.")
@click.option("--max-mapped-bytes", type=size(), help="Bytes of mappings that may never be released.")
@click.option("--max-peak", type=size(), help="Bytes that may be live at once, mappings too.")
@click.option("--max-calls", type=count(), help="Allocations there may be, mappings too.")
@click.option(
    "--budget",
    metavar="FILE",
    type=_FILE,
    help="TOML with these limits.  [default: [budget] of gadgetops.toml here, or [tool.gadgetops.budget]]",
)
@click.option(
    "--baseline",
    metavar="RECORDING|FILE",
    type=_FILE,
    help="No stack may leave more than it left there.",
)
@click.option(
    "--tolerance",
    metavar="SIZE|N%",
    default="0",
    show_default=True,
    help="How much more it may be, each stack.",
)
@click.option("--write-baseline", metavar="FILE", type=_FILE, help="Keep what is left, for --baseline.")
@click.option(
    "--suppressions", multiple=True, metavar="FILE", type=_FILE, help="Leave stacks out, as `leaks` does."
)
@click.option("--junit", metavar="FILE", type=_FILE, help="Write the verdict as JUnit XML.")
@click.option("--sarif", metavar="FILE", type=_FILE, help="Write the verdict as SARIF 2.1.0.")
@click.option("--markdown", metavar="FILE", type=_FILE, help="Write a summary for a pull request.")
@table_or_json_option()
def command(
    recording: Path,
    max_leak_bytes: int | None,
    max_leaks: int | None,
    max_mapped_bytes: int | None,
    max_peak: int | None,
    max_calls: int | None,
    budget: Path | None,
    baseline: Path | None,
    tolerance: str,
    write_baseline: Path | None,
    suppressions: Sequence[Path],
    junit: Path | None,
    sarif: Path | None,
    markdown: Path | None,
    output_format: str,
) -> int:
    """Say whether RECORDING keeps to its budget: exit status 0 if so, 3 if not.

    Where something is missing from the recording, so that the budget is possibly exceeded and possibly not,
    the status is 4. Limits given here go before those of the file.
    """
    from gadgetops.questions.leaks.budget import Tolerance, baseline_of, check, read_baseline
    from gadgetops.questions.leaks.leaks import leaks_in
    from gadgetops.questions.leaks.suppressions import read_suppressions
    from gadgetops.report.gate import gate_as_text

    limits = {
        **_limits_of_file(budget),
        **_given("leak-bytes", max_leak_bytes),
        **_given("leaks", max_leaks),
        **_given("mapped-bytes", max_mapped_bytes),
        **_given("peak", max_peak),
        **_given("calls", max_calls),
    }
    if not limits and baseline is None and write_baseline is None:
        raise UsageError("no budget", hint="give --max-leak-bytes or another limit, --budget, or --baseline")
    patterns = read_suppressions(suppressions)
    expected: Baseline | None = None if baseline is None else read_baseline(baseline)
    gate = check(recording, limits, expected, tolerance=Tolerance.parse(tolerance), suppressions=patterns)
    if write_baseline is not None:
        kept = baseline_of(recording.name, leaks_in(recording).without(patterns))
        _write(write_baseline, json.dumps(kept.to_json(), indent=2).encode() + b"\n")
    _write_files(gate, recording, junit, sarif, markdown)
    if output_format == "json":
        print_json(gate.to_json())
    else:
        show(gate_as_text(gate, limit=_SHOWN))
    return _STATUSES[gate.verdict]


def _write_files(
    gate: "Gate", recording: Path, junit: Path | None, sarif: Path | None, markdown: Path | None
) -> None:
    from gadgetops.report.gate import gate_as_markdown
    from gadgetops.report.gate_files import gate_as_junit, gate_as_sarif

    if junit is not None:
        _write(junit, gate_as_junit(gate, recording.name))
    if sarif is not None:
        document = gate_as_sarif(gate, recording.name, __version__, Path.cwd())
        _write(sarif, json.dumps(document, indent=2).encode() + b"\n")
    if markdown is not None:
        text = gate_as_markdown(gate, recording.name, limit=_IN_MARKDOWN)
        _write(markdown, text.encode("utf-8", "replace"))


def _write(path: Path, content: bytes) -> None:
    write_bytes(path, content)
    messages.detail(f"wrote {path}")


def _limits_of_file(path: Path | None) -> "dict[Name, int]":
    from gadgetops.questions.leaks.budget import read_budget

    if path is not None:
        return read_budget(path)
    found = budget_file()
    return {} if found is None else read_budget(found)


def _given(name: "Name", value: int | None) -> "dict[Name, int]":
    return {} if value is None else {name: value}
