"""`gadgetops report`: a recording as one HTML file to open, or as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import verb
from gadgetops.commands.common.output_file import OutputFile
from gadgetops.commands.common.progress_line import ProgressLine
from gadgetops.commands.options.question_options import filter_options, status_of
from gadgetops.errors import UsageError
from gadgetops.units import format_bytes

if TYPE_CHECKING:
    from gadgetops.questions.asking.filters import Filters
    from gadgetops.questions.diff import Diff, Per
    from gadgetops.questions.top import Measure
    from gadgetops.recording.reader import Recording

_MEASURES: "tuple[Measure, ...]" = ("live", "bytes", "calls", "peak", "temporary")


@verb(
    "report",
    example="gadgetops report program.gadgetrec -o report.html\n"
    "gadgetops report after.gadgetrec --compare before.gadgetrec --per second -o change.html\n"
    "gadgetops report program.gadgetrec --format svg --picture timeline -o heap.svg",
)
@click.argument(
    "recordings", metavar="RECORDING...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option("-o", "--output", required=True, metavar="FILE", help="File to write; - for standard output.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["html", "svg", "markdown"]),
    default="html",
    show_default=True,
    help="html: a page to open, which loads nothing. svg: one picture. markdown: verdict and chart for a CI "
    "summary.",
)
@click.option(
    "--picture",
    type=click.Choice(["flamegraph", "timeline"]),
    help="What `svg` draws.  [default: flamegraph]",
)
@click.option(
    "--by",
    type=click.Choice(_MEASURES),
    help="What the frames of a flame graph in `svg` measure, as in `top`.  [default: live]",
)
@click.option(
    "--compare",
    metavar="RECORDING",
    type=click.Path(path_type=Path),
    help="Show what changed since this earlier recording, too.",
)
@click.option(
    "--per",
    type=click.Choice(["recording", "second", "call"]),
    help="Scale the earlier recording as `diff` does.  [default: recording]",
)
@click.option("--sources", is_flag=True, help="Put lines of the source files that are here into the page.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@filter_options
def command(
    recordings: tuple[Path, ...],
    output: str,
    output_format: str,
    picture: str | None,
    by: "Measure | None",
    compare: Path | None,
    per: "Per | None",
    sources: bool,
    force: bool,
    filters: "Filters",
) -> int:
    """Write what RECORDINGs say as one FILE to open in a browser: the verdict, heap over time, flame graphs.

    The page needs no network and no server. Several recordings are shown together, their times counted from
    each one's first event.
    """
    from gadgetops.recording.reader import open_recording

    _check(output_format, picture=picture, by=by, compare=compare, per=per, sources=sources)
    file = OutputFile(output, force=force, is_text=True)
    opened = [open_recording(path) for path in recordings]
    with ProgressLine() as line, file.written() as path:
        if output_format == "markdown":
            word, text = _summary(opened, filters)
        elif output_format == "svg":
            word, text = _picture(_together(opened), picture or "flamegraph", by or "live", filters)
        else:
            earlier = None if compare is None else open_recording(compare)
            word, text = _page(opened, earlier, per or "recording", sources, filters, line)
        path.write_bytes(text.encode("utf-8", "replace"))
    messages.say(f"wrote {file}, {format_bytes(file.size_bytes)}; {word}")
    return status_of(word)


def _check(output_format: str, **options: object) -> None:
    """Raise if options do not go together, before anything long begins."""
    for wanted, names in (("html", ("compare", "per", "sources")), ("svg", ("picture", "by"))):
        for name in names:
            if options[name] and output_format != wanted:
                raise UsageError(
                    f"--{name} does not go with --format {output_format}", hint=f"pass --format {wanted}"
                )
    if options["per"] and not options["compare"]:
        raise UsageError("--per needs --compare", hint="name the earlier recording with --compare")


def _together(opened: "Sequence[Recording]") -> "Recording":
    from gadgetops.fleet.duckdb_engine import DuckDBEngine
    from gadgetops.fleet.fleet import fleet

    if len(opened) == 1:
        return opened[0]
    return fleet(Path(f"{len(opened)} recordings"), opened, DuckDBEngine())


def _page(
    opened: "Sequence[Recording]",
    earlier: "Recording | None",
    per: "Per",
    has_sources: bool,
    filters: "Filters",
    line: ProgressLine,
) -> tuple[str, str]:
    from gadgetops.fleet.fleet import fleet_groupings
    from gadgetops.questions.leaks.leaks import leaks_in
    from gadgetops.questions.slots.slot_sums import FACETS, slot_sums
    from gadgetops.report.page.contents import Contents
    from gadgetops.report.page.fitting import report_page

    together = _together(opened)
    facets = FACETS if len(opened) == 1 else (*FACETS, *fleet_groupings(opened))
    answers = []
    for number, recording in enumerate(opened):
        line.stage("finding what was not released", number, len(opened))
        answers.append(leaks_in(recording.path, filters))
    line.stage("adding up by stack, thread and time")
    sums = slot_sums(together, filters, facets)
    contents = Contents(
        recordings=tuple(opened),
        answers=tuple(answers),
        sums=sums,
        compared=() if earlier is None else _compared(earlier, together, per, filters, line),
        compared_with=None if earlier is None else earlier.path.name,
        has_sources=has_sources,
    )
    line.stage("writing the page")
    return contents.sums.certainty.word, report_page(contents)


def _compared(
    earlier: "Recording", later: "Recording", per: "Per", filters: "Filters", line: ProgressLine
) -> "tuple[Diff, ...]":
    from gadgetops.questions.diff import diff

    found = []
    for number, by in enumerate(_MEASURES):
        line.stage("comparing", number, len(_MEASURES))
        found.append(diff(earlier, later, by, per, filters))
    return tuple(found)


def _summary(opened: "Sequence[Recording]", filters: "Filters") -> tuple[str, str]:
    from gadgetops.questions.leaks.leaks import leaks_in
    from gadgetops.questions.timeline import timeline
    from gadgetops.report.page.contents import title_of
    from gadgetops.report.page.markdown import N_POINTS, markdown_summary

    answers = [leaks_in(recording.path, filters) for recording in opened]
    course = timeline(_together(opened), N_POINTS, filters)
    return course.certainty.word, markdown_summary(title_of(opened), answers, course)


def _picture(together: "Recording", picture: str, by: "Measure", filters: "Filters") -> tuple[str, str]:
    from gadgetops.report.page import svg

    if picture == "timeline":
        from gadgetops.questions.timeline import timeline

        course = timeline(together, svg.N_POINTS, filters)
        return course.certainty.word, svg.timeline_picture(course)
    from gadgetops.questions.top import top

    found = top(together, by, filters)
    return found.certainty.word, svg.flame_picture(found)
