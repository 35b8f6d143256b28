"""Many recordings asked as one: by DuckDB and by Spark, with the same texts and the same rows."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from services.fleets import write_mixed

from gadgetops.errors import GadgetOpsError, RecordingError, UsageError
from gadgetops.fleet.duckdb_engine import DuckDBEngine
from gadgetops.fleet.fleet import Fleet, open_fleet
from gadgetops.fleet.spark_engine import translated
from gadgetops.questions.asking.filters import ALL, Filters
from gadgetops.questions.asking.question import Amount, asked
from gadgetops.questions.faults import faults
from gadgetops.questions.leaks.leaks import leaks_in
from gadgetops.questions.lifetimes import lifetimes
from gadgetops.questions.peak import peak
from gadgetops.questions.sizes import sizes
from gadgetops.questions.summary import summary
from gadgetops.questions.temporary import temporary
from gadgetops.questions.timeline import timeline
from gadgetops.questions.top import top, totals
from gadgetops.recording.reader import open_recording

Gadgetops = Callable[..., Any]
DEMO = Path(__file__).parents[1] / "data" / "demo.gadgetrec"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet of three recordings, under names that engines could take for something else."""
    root = tmp_path_factory.mktemp("fleet")
    for name in ("eu west", "us+[1]"):
        (root / name).mkdir()
    write_mixed(root / "eu west" / "a.gadgetrec", 1)
    write_mixed(root / "eu west" / "ü%20.gadgetrec", 3)
    shutil.copytree(DEMO, root / "us+[1]" / "demo.gadgetrec", ignore=shutil.ignore_patterns("pairs"))
    return root


@pytest.fixture
def fleet(folder: Path) -> Fleet:
    """Asked by DuckDB."""
    return open_fleet(folder / "**/*.gadgetrec", DuckDBEngine())


def document(answer: Any) -> Any:
    """Return an answer's JSON."""
    return json.loads(json.dumps(answer.to_json()))


def test_a_fleet_of_one_answers_as_the_recording(tmp_path: Path) -> None:
    """Every question, though events, stacks and processes have other numbers."""
    path = write_mixed(tmp_path / "r.gadgetrec", 3)
    alone, one = open_recording(path), open_fleet(path, DuckDBEngine())
    for ask in (summary, top, temporary, peak, sizes, lifetimes):
        assert comparable(ask(one)) == comparable(ask(alone))  # type: ignore[operator]
    assert comparable(timeline(one, 10)) == comparable(timeline(alone, 10))
    assert faults(one).faults == faults(alone).faults


def comparable(answer: Any) -> dict[str, Any]:
    """Return an answer without names of recordings in its reasons, groups in an order that no id makes."""
    found = document(answer)
    reasons = [reason.rpartition(".gadgetrec: ")[2] for reason in found["reasons"]]
    return {**found, "reasons": reasons, "groups": sorted(found.get("groups", []), key=json.dumps)}


def test_a_fleet_is_the_sum_of_its_recordings(fleet: Fleet) -> None:
    """What is left is what `leaks` says of each."""
    members = [leaks_in(member.path) for member in fleet.members]
    live = sum(found.live.size_bytes for found in members)
    assert live > 0
    for group_by in ("stack", "recording", "host", "image", "label:version", "process", "container"):
        found = top(fleet, "live", group_by=group_by)  # type: ignore[arg-type]
        assert (found.total.size_bytes, found.certainty.word) == (live, "possible"), group_by
    calls = {each.group.name: each.allocated.count for each in totals(fleet, ALL, "recording")[1]}  # type: ignore[arg-type]
    expected = {
        str(member.path): found.allocated.count for member, found in zip(fleet.members, members, strict=True)
    }
    assert calls == expected


def test_equal_stacks_of_several_recordings_are_one(fleet: Fleet) -> None:
    found = {each.group.name: each.allocated for each in totals(fleet)[1]}
    assert found["main;inner"] == Amount(4 * (100 + 24), 4 * 2)


def test_threads_and_processes_are_named_with_their_recording(fleet: Fleet) -> None:
    """Numbers are those that the recording has."""
    found = {group.group.name for group in totals(fleet, Filters(pids=(2,)), "thread")[1]}
    assert found == {"a.gadgetrec:2/12 c", "ü%20.gadgetrec:2/12 c"}


@pytest.mark.parametrize(
    ("group_by", "names"),
    [
        ("host", {"eu1", "vm"}),
        ("label:version", {"1", "3", "<no label version>"}),
        ("image", {"trace_malloc", "<unknown>"}),
        ("container", {"web", "<no container>"}),
    ],
)
def test_groups_of_a_fleet(group_by: str, names: set[str], folder: Path, gadgetops: Gadgetops) -> None:
    pattern = folder / "**/*.gadgetrec"
    result = gadgetops("top", pattern, "--group-by", group_by, "--format", "json")
    assert {each["group"]["name"] for each in json.loads(result.out)["groups"]} == names


@pytest.mark.parametrize("verb", ["summary", "temporary", "peak", "timeline", "sizes", "lifetimes", "faults"])
def test_every_question_takes_a_pattern(verb: str, folder: Path, gadgetops: Gadgetops) -> None:
    """And says which recordings put it in doubt."""
    result = gadgetops(verb, folder / "**/*.gadgetrec", "--format", "json")
    assert result.status == 0, result.err
    answer = json.loads(result.out)
    assert answer["certainty"] == "possible"
    assert all("a.gadgetrec: " in reason or "ü%20.gadgetrec: " in reason for reason in answer["reasons"])


def test_leaks_of_a_fleet_are_those_of_its_recordings(folder: Path, gadgetops: Gadgetops) -> None:
    """By stack, or by what recordings have in common; a suppression is one recording's matter."""
    pattern = folder / "**/*.gadgetrec"
    expected = sum(leaks_in(path).live.size_bytes for path in folder.glob("*/*.gadgetrec"))
    for options in ([], ["--group-by", "host"]):
        answer = json.loads(gadgetops("leaks", pattern, *options, "--format", "json").out)
        assert answer["total"]["bytes"] == sum(each["bytes"] for each in answer["groups"]) == expected
    assert gadgetops("leaks", pattern, "--suppressions", folder / "none").status == 2


def test_what_no_recording_matches_is_said(tmp_path: Path, gadgetops: Gadgetops) -> None:
    with pytest.raises(RecordingError):
        open_fleet(tmp_path / "*", DuckDBEngine())
    result = gadgetops("top", tmp_path / "*.gadgetrec")
    assert (result.status, "no such recording" in result.err) == (1, True)


def test_a_grouping_that_is_none_is_refused(gadgetops: Gadgetops) -> None:
    result = gadgetops("top", DEMO, "--group-by", "moon")
    assert (result.status, "label:KEY" in result.err) == (2, True)
    assert issubclass(UsageError, GadgetOpsError)


QUESTIONS: dict[str, tuple[str, dict[str, int]]] = {
    "by_group": ("allocations", {}),
    "by_process": ("allocations", {}),
    "by_stored_group": ("stored_sums", {}),
    "summary": ("allocations", {}),
    "peak": ("allocations", {"timestamp_ns": 9000, "seq": 30}),
    "peak_moment": ("allocations", {"start_ns": 3000, "end_ns": 9000}),
    "peak_slots": ("allocations", {"start_ns": 0, "end_ns": 9000, "width_ns": 700}),
    "temporary": ("allocations", {"others": 1}),
    "timeline": ("allocations", {"start_ns": 0, "width_ns": 3000, "last": 9}),
    "sizes": ("allocations", {}),
    "lifetimes": ("allocations", {"is_together": 0}),
    "faults": ("faulty_calls", {}),
    "allocated": ("allocations", {}),
    "leak_slots": ("allocations", {}),
    "leak_growth": ("allocations", {}),
    "leaked": ("allocations", {}),
    "process_names": ("allocations", {}),
    "stack_ids": ("allocations", {}),
    "thread_ids": ("allocations", {}),
}
"""Text that answers -> what it is asked about, and its parameters."""


@pytest.mark.parametrize("calls", ["allocations", "stored_sums", "faulty_calls"])
def test_every_questions_text_gives_the_same_rows_on_spark(calls: str, folder: Path, spark: Any) -> None:
    """To the row; from recordings that Spark's executors paired."""
    shutil.rmtree(folder / "eu west" / "a.gadgetrec" / "pairs", ignore_errors=True)
    by_engine = []
    for engine in (spark, DuckDBEngine()):
        found = {}
        with asked(open_fleet(folder / "**/*.gadgetrec", engine), ALL, "stack", calls=calls) as question:
            for name, (asks, parameters) in QUESTIONS.items():
                if asks == calls:
                    found[name] = sorted(question.rows(name, **parameters), key=repr)
        by_engine.append(found)
    assert by_engine[0] == by_engine[1]
    assert all(by_engine[0].values())
    assert (folder / "eu west" / "a.gadgetrec" / "pairs").is_dir()


def test_groups_and_filters_are_the_same_on_spark(folder: Path, spark: Any) -> None:
    """Answers, not only rows."""
    filters = Filters(functions=("main",), pids=(1,), min_size_bytes=100)
    by_engine = []
    for engine in (spark, DuckDBEngine()):
        found = open_fleet(folder / "**/*.gadgetrec", engine)
        by_engine.append(document(top(found, "bytes", filters, "label:version")))  # type: ignore[arg-type]
    assert by_engine[0] == by_engine[1]
    assert [each["group"]["name"] for each in by_engine[0]["groups"]] == ["3", "1"]


def test_texts_are_translated_where_dialects_differ() -> None:
    assert translated("from allocations where x is null") == "SELECT * FROM allocations WHERE x IS NULL"
    assert "NULLS LAST" in translated("select x from t order by x")


def test_without_spark_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, gadgetops: Gadgetops) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    result = gadgetops("top", DEMO, "--engine", "spark")
    assert (result.status, "install gadgetops[spark]" in result.err) == (2, True)
