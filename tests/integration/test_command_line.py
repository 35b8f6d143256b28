"""The command line as people type it: what they mean, mistype, leave out, and where results go."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from gadgetops import commands
from gadgetops.commands import VERBS
from gadgetops.commands.common.value_types import count, nanoseconds, seconds, size

DEMO = Path(__file__).parents[1] / "data/demo.gadgetrec"
SCREEN_LINES = 36
NUMBERS_OF_THINGS = {"pid", "tid", "uid", "gid", "thread"}
"""Options whose number names something: these have no units."""
Gadgetops = Callable[..., "Result"]  # noqa: F821 - the class is conftest's


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recording that may be written to."""
    return shutil.copytree(DEMO, tmp_path / "demo.gadgetrec", ignore=shutil.ignore_patterns("pairs"))


def options() -> Iterator[tuple[str, click.Option]]:
    for verb in VERBS:
        for parameter in commands.load(verb).params:
            if isinstance(parameter, click.Option):
                yield verb, parameter


def test_alone_it_prints_help(gadgetops: Gadgetops) -> None:
    """On standard output, and without an error."""
    alone = gadgetops()
    assert (alone.status, alone.out, alone.err) == (0, gadgetops("--help").out, "")


def test_help_has_the_everyday_verbs_first(gadgetops: Gadgetops) -> None:
    lines = [line.split() for line in gadgetops("--help").out.splitlines()]
    order = [line[0] for line in lines if line and line[0] in VERBS]
    assert order[:2] == ["record", "leaks"]
    assert sorted(order) == sorted(VERBS)


@pytest.mark.parametrize("verb", ["record", "leaks"])
def test_help_of_a_verb_can_be_asked_in_either_way(verb: str, gadgetops: Gadgetops) -> None:
    assert gadgetops("help", verb).out == gadgetops(verb, "--help").out


def test_help_alone_is_the_programs(gadgetops: Gadgetops) -> None:
    assert gadgetops("help").out == gadgetops("--help").out


def test_help_of_record_fits_on_a_screen(gadgetops: Gadgetops) -> None:
    """What is left out is under `--help-all`, which the help names."""
    short, whole = gadgetops("record", "--help").out, gadgetops("record", "--help-all").out
    assert len(short.splitlines()) <= SCREEN_LINES
    assert "`gadgetops record --help-all`" in short
    names = [name for verb, each in options() if verb == "record" for name in each.opts]
    assert all(name in whole for name in names)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["leeks"], "leaks"),
        (["rec"], "record"),
        (["isnpect", "x"], "inspect"),
        (["help", "tmeline"], "timeline"),
        (["leaks", "--grup-by", "stack", "x"], "--group-by"),
        (["record", "--dur", "5"], "--duration"),
    ],
)
def test_a_wrong_word_is_answered_by_the_one_that_was_meant(
    typed: list[str], meant: str, gadgetops: Gadgetops
) -> None:
    result = gadgetops(*typed)
    assert result.status == 2
    assert result.err.splitlines()[-1] == f"did you mean {meant}?"


def test_a_word_like_no_other_is_answered_by_where_to_look(gadgetops: Gadgetops) -> None:
    assert gadgetops("xyzzy").err == (
        "gadgetops: error: no such verb: xyzzy\n`gadgetops --help` lists them\n"
    )


def test_every_number_is_typed_in_the_same_way() -> None:
    """No option has a number type of its own: sizes, counts and durations are `units`'."""
    own = {type(kind()) for kind in (size, count, seconds, nanoseconds)}
    others = [
        (verb, each.name)
        for verb, each in options()
        if isinstance(each.type, click.types.IntParamType | click.types.FloatParamType)
        and type(each.type) not in own
        and each.name not in NUMBERS_OF_THINGS
        and not each.count
    ]
    assert others == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["record", "--duration", "soon", "--", "true"], "--duration: not a time: 'soon'"),
        (["record", "--max-bytes", "many", "--", "true"], "--max-bytes: not a size: 'many'"),
        (["record", "--max-events", "0.5", "--", "true"], "--max-events: not a whole number: '0.5'"),
        (["record", "--max-events", "0", "--", "true"], "--max-events 0: expected at least 1"),
        (["record", "--stack-size", "1", "--", "true"], "--stack-size 1: expected 4.00 KiB to 1.00 MiB"),
        (["tree", "--min-share", "all", "x"], "--min-share: not a percentage: 'all'"),
        (["leaks", "--limit", "few", "x"], "--limit: not a number: 'few'"),
    ],
)
def test_a_number_that_is_none_is_named_with_its_option(
    options: list[str], expected: str, gadgetops: Gadgetops
) -> None:
    result = gadgetops(*options)
    assert (result.status, result.err.splitlines()[0]) == (2, f"gadgetops: error: {expected}")


def test_what_is_written_may_go_to_standard_output(recording: Path, gadgetops: Gadgetops) -> None:
    """And then is the same as in a file, whose missing folders are made."""
    convert = ["convert", recording, "--to", "folded", "-o"]
    file = recording.parent / "new/folder/demo.folded"
    gadgetops(*convert, file)
    assert gadgetops(*convert, "-").out == file.read_text() != ""
    junit = recording.parent / "another/junit.xml"
    gadgetops("check", recording, "--max-leak-bytes", "1G", "--junit", junit)
    printed = gadgetops("check", recording, "--max-leak-bytes", "1G", "--junit", "-").out
    assert printed.startswith(junit.read_text())


def test_a_query_may_come_from_standard_input(
    recording: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "query.sql").write_text("select 42 as answer")
    with (tmp_path / "query.sql").open() as query:
        monkeypatch.setattr("sys.stdin", query)
        assert "42" in gadgetops("sql", recording, "-").out


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["convert", "demo.gadgetrec", "-o", "x"], "--to is missing"),
        (["leaks"], "RECORDING is missing"),
        (
            ["leaks", "demo.gadgetrec", "--format", "yml"],
            "--format: 'yml' is not one of 'table', 'json', 'csv'",
        ),
        (["completion", "tcsh"], "{bash|zsh|fish}: 'tcsh' is not one of 'bash', 'zsh', 'fish'"),
    ],
)
def test_what_is_wrong_is_named_as_it_is_typed(gadgetops: Gadgetops, typed: list[str], message: str) -> None:
    """An option by its name, an argument by the word that stands for it in the help."""
    result = gadgetops(*typed)
    assert result.status == 2
    assert result.err.splitlines()[0] == f"gadgetops: error: {message}"
