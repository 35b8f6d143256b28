"""`gadgetops docs`: the generated parts of Markdown files."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Final

import click

from gadgetops import docs
from gadgetops.bpf.object import Object
from gadgetops.bpf.reading import NEWEST, Reading
from gadgetops.commands import VERBS, VERBS_BY_ROOM, cli
from gadgetops.commands.common import messages
from gadgetops.commands.common.options import show_all, verb
from gadgetops.commands.images.header_options import Change, header_options
from gadgetops.commands.images.ig_version_option import ig_version_option
from gadgetops.commands.images.run_counts import read_counts
from gadgetops.commands.options.store_option import store_option
from gadgetops.errors import DriftError, ObjectError, UsageError
from gadgetops.gadget.building.build import compile_source, file_name
from gadgetops.gadget.building.buildfile import BuildFile
from gadgetops.gadget.building.toolchain import TARGETS
from gadgetops.gadget.reading.subject import host_architecture, open_subject

DEFAULT_FILES: Final = ("DEVELOPER.md", "README.md", "docs/*.md")

_FURTHER_BUILD_FILES: Final = "build-*.yaml"
_HELP_WIDTH: Final = 100


@verb(
    "docs",
    example="""\
gadgetops docs
gadgetops docs --check
gadgetops docs --check NOTES.md --image trace_malloc:v1
gadgetops docs --complete DIAGRAM.md
gadgetops docs --counts 10s DIAGRAM.md
""",
)
@click.argument("files", metavar="[FILE]…", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--check", "is_check", is_flag=True, help="Write nothing; fail with 3 if something would change."
)
@click.option("--image", metavar="REF|DIR|TAR", help="Draw this image instead of the gadget in this folder.")
@click.option("--object", "object_file", metavar="FILE", help="Draw this object instead.")
@click.option(
    "--complete",
    "is_complete",
    is_flag=True,
    help="Draw also what ig leaves out (ring buffers, stacks, tail calls, inner maps, what programs are "
    "attached to), with a legend and links to the source.",
)
@click.option(
    "--counts",
    metavar="RECORDING|TIME",
    help="Draw as --complete does, and say how often each edge was taken: in a recording, or while the "
    "gadget runs on this machine, watched for TIME.",
)
@header_options
@ig_version_option
@store_option
def command(
    files: tuple[Path, ...],
    is_check: bool,
    image: str | None,
    object_file: str | None,
    is_complete: bool,
    counts: str | None,
    reading: Reading | None,
    store: str,
    with_headers: Change,
) -> None:
    """Rewrite the generated regions of FILEs (default: DEVELOPER.md, README.md and docs/*.md, if there).

    Regions stand between `<!-- begin NAME -->` and `<!-- end NAME -->`. NAME is flowchart or sequence, which
    programs use which maps, or help:VERB. The gadget is the one that `gadgetops build` builds here; unchanged
    sources are not compiled again. flowchart:X and sequence:X draw the one that build-X.yaml describes.
    """
    if image is not None and object_file is not None:
        raise UsageError("--image and --object both say what to draw", hint="pass one of them")
    _check_counts(counts, files, is_check=is_check)
    reading = reading or NEWEST
    documents = [docs.Document.read(path) for path in _distinct(files or _default_files())]
    subject = image or object_file
    compile_object = partial(_compile_object, with_headers, reading, None)
    read_object = compile_object if subject is None else partial(_open_object, subject, store, reading)
    drawn = partial(
        docs.diagrams,
        is_complete=is_complete or counts is not None,
        count=None if counts is None else partial(read_counts, counts),
    )
    own = drawn(cache(read_object))
    further = _further_diagrams(with_headers, reading, drawn)
    contents = own | further | _help_screens() | {"figures": _figures, "formats": _formats}
    if is_check:
        _report(docs.check(documents, contents))
        return
    for path in docs.write(documents, contents):
        messages.say(f"{path}: updated")


def _check_counts(counts: str | None, files: tuple[Path, ...], *, is_check: bool) -> None:
    """Raise `UsageError` if counts, which are of one run, would go into what has to stay the same."""
    if counts is not None and is_check:
        raise UsageError("--check asks for the same text each time, and --counts never gives it")
    if counts is not None and not files:
        raise UsageError("--counts draws one run", hint="name the file to write")


def _distinct(paths: Iterable[Path]) -> Iterable[Path]:
    """Return *paths* without those that lead to the same file as one before."""
    found: dict[Path, Path] = {}
    for path in paths:
        found.setdefault(path.resolve(), path)
    return found.values()


def _default_files() -> list[Path]:
    found = [path for pattern in DEFAULT_FILES for path in sorted(Path().glob(pattern)) if path.is_file()]
    if not found:
        names = ", ".join(DEFAULT_FILES[:-1])
        raise UsageError(f"there is no {names} or {DEFAULT_FILES[-1]} here", hint="name the files to write")
    return found


def _further_diagrams(
    with_headers: Change,
    reading: Reading,
    drawn: Callable[[Callable[[], Object]], dict[str, Callable[[], str]]],
) -> dict[str, Callable[[], str]]:
    """Return the diagrams of each further build file here: `flowchart:ustack` of build-ustack.yaml."""
    contents: dict[str, Callable[[], str]] = {}
    for path in sorted(Path().glob(_FURTHER_BUILD_FILES)):
        variant = path.stem.partition("-")[2]
        read_object = cache(partial(_compile_object, with_headers, reading, path))
        contents |= {f"{name}:{variant}": content for name, content in drawn(read_object).items()}
    return contents


def _compile_object(with_headers: Change, reading: Reading, build_file: Path | None) -> Object:
    host = host_architecture()
    architecture = host if host in TARGETS else min(TARGETS)
    compiled = next(compile_source(with_headers(BuildFile.read(Path(), build_file)), [architecture]), None)
    if compiled is None:
        raise UsageError("the gadget in this folder has no programs that could be drawn")
    try:
        return Object.from_bytes(compiled.content, reading=reading)
    except ObjectError as error:
        raise error.named(file_name(architecture)) from error


def _open_object(subject: str, store: str, reading: Reading) -> Object:
    found = replace(open_subject(subject, store=store), reading=reading).object
    if found is None:
        raise ObjectError("no programs that could be drawn", name=subject)
    return found


def _help_screens() -> dict[str, Callable[[], str]]:
    found: dict[str, Callable[[], str]] = {f"help:{name}": partial(_help_screen, name) for name in VERBS}
    found |= {f"help:{room}": partial(_help_of_room, verbs) for room, verbs in VERBS_BY_ROOM.items()}
    return found


def _help_of_room(verbs: Iterable[str]) -> str:
    """Return the help of *verbs*, each under a heading of its own."""
    return "\n".join(f"### {verb}\n\n{_help_screen(verb)}" for verb in verbs)


def _figures() -> str:
    """Return the table of the questions that answer with figures, and of these."""
    from gadgetops.questions.figures import FIGURE_QUESTIONS

    rows = [
        (f"`{name}`", VERBS[name], "; ".join(f"`{each.name}`: {each.meaning}" for each in question.figures))
        for name, question in FIGURE_QUESTIONS.items()
    ]
    return _table("verb", "asks", "figures of each group", rows=rows)


def _formats() -> str:
    """Return the table of the formats that `convert` writes."""
    from gadgetops.report.exports.formats import FORMATS

    rows = [(f"`{name}`", each.opened_by, each.holds, each.tested_with) for name, each in FORMATS.items()]
    return _table("`--to`", "open it with", "it holds", "tested with", rows=rows)


def _table(*headings: str, rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _help_screen(name: str) -> str:
    """Return the help of the verb *name*, as wide as help gets, whatever the terminal."""
    group = click.Context(cli, info_name="gadgetops", terminal_width=_HELP_WIDTH, **cli.context_settings)
    shown = cli.get_command(group, name)
    if shown is None:
        raise UsageError(f"there is no verb {name!r}")
    with click.Context(shown, parent=group, info_name=name, terminal_width=_HELP_WIDTH) as context:
        show_all(context)
        return docs.fenced(f"{shown.get_help(context)}\n", "text")


def _report(drifts: Sequence[DriftError]) -> None:
    """Print what drifted; raise the last of *drifts*, if any."""
    for drift in drifts:
        click.echo(drift.diff, nl=False)
        for change in drift.changes:
            click.echo(change)
    for drift in drifts[:-1]:
        messages.warn(drift.problem)
    if drifts:
        raise drifts[-1]
