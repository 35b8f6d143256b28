"""Verdicts, with bounds; and their forms for machines."""

import json
import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gadgetops.errors import BudgetError, UsageError
from gadgetops.questions.leaks.budget import NAMES, Tolerance, read_budget
from gadgetops.report.schemas import answer_schema

Gadgetops = Callable[..., Any]
Write = Callable[..., Path]
DEMO = Path(__file__).parents[2] / "data" / "demo.gadgetrec"
"""140,960 bytes in 110 allocations are not released; see tests/workloads/demo.c."""
TWO_LEFT = [("malloc", 16, 100, 1), ("malloc", 32, 50, 2), ("malloc", 48, 7, 1), ("free", 48, 0, 1)]
ENVIRONMENT = {**os.environ}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pyproject.toml is here unless a test puts one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def verdict(result: Any) -> tuple[int, str, list[str]]:
    """Return exit status, verdict, and the verdict of each budget, of an answer that holds to its schema."""
    document = json.loads(result.out)
    jsonschema.validate(document, answer_schema("check"))
    return result.status, document["verdict"], [each["verdict"] for each in document["budgets"]]


@pytest.mark.parametrize(
    ("option", "enough", "too_little"),
    [
        ("--max-leak-bytes", 140_960, 140_959),
        ("--max-leaks", 110, 109),
        ("--max-peak", "1M", "1k"),
        ("--max-calls", 10_000, 110),
    ],
)
def test_a_limit_is_kept_or_exceeded(
    option: str, enough: object, too_little: object, gadgetops: Gadgetops
) -> None:
    """To the byte; 0 and 3 are the exit statuses."""
    kept = gadgetops("check", DEMO, option, enough, "--format", "json")
    assert verdict(kept) == (0, "ok", ["ok"])
    exceeded = gadgetops("check", DEMO, option, too_little, "--format", "json")
    assert verdict(exceeded) == (3, "exceeded", ["exceeded"])


def test_a_lost_event_makes_what_it_may_have_released_possible(
    write_recording: Write, gadgetops: Gadgetops
) -> None:
    """Of 150 bytes the largest block, 100, may have been released: at least 50 are left."""
    lossy = write_recording(TWO_LEFT, lost=1)
    verdicts = {
        limit: verdict(gadgetops("check", lossy, "--max-leak-bytes", limit, "--format", "json"))
        for limit in (49, 50, 1000)
    }
    assert verdicts[49] == (3, "exceeded", ["exceeded"])
    assert verdicts[50] == (4, "inconclusive", ["inconclusive"])
    assert verdicts[1000] == (4, "inconclusive", ["inconclusive"])


@pytest.mark.parametrize(
    ("option", "limit", "status"),
    [
        ("--max-leaks", 0, 3),
        ("--max-leaks", 1, 4),
        ("--max-leaks", 3, 0),
        ("--max-calls", 2, 3),
        ("--max-calls", 3, 4),
        ("--max-calls", 4, 0),
        ("--max-peak", 63, 3),
        ("--max-peak", 64, 4),
        ("--max-peak", 10**6, 4),
    ],
)
def test_bounds_of_each_limit(
    option: str, limit: int, status: int, write_recording: Write, gadgetops: Gadgetops
) -> None:
    """The lost event released a block, or was one more allocation; a block of 64 bytes or more was live."""
    lossy = write_recording(TWO_LEFT, lost=1)
    assert gadgetops("check", lossy, option, limit).status == status


def test_what_is_exceeded_goes_before_what_is_inconclusive(
    write_recording: Write, gadgetops: Gadgetops
) -> None:
    lossy = write_recording(TWO_LEFT, lost=1)
    result = gadgetops("check", lossy, "--max-leaks", 1, "--max-calls", 1, "--format", "json")
    assert verdict(result) == (3, "exceeded", ["inconclusive", "exceeded"])


def test_an_empty_recording_is_inconclusive(write_recording: Write, gadgetops: Gadgetops) -> None:
    """Nothing was recorded: nothing is proven."""
    assert gadgetops("check", write_recording([]), "--max-leaks", 5).status == 4


def test_missing_stacks_do_not_put_sums_in_doubt(write_recording: Write, gadgetops: Gadgetops) -> None:
    recording = write_recording([("malloc", 16, 100, -2)], lost=0, failed_stacks=1)
    arguments = ["--max-peak", 100, "--max-leaks", 1, "--max-calls", 1]
    assert gadgetops("check", recording, *arguments).status == 0


def test_people_read_which_budget_and_which_stacks(gadgetops: Gadgetops) -> None:
    out = gadgetops("check", DEMO, "--max-leaks", 20, "--max-peak", "1M").out
    assert out.startswith("exceeded\nexceeded for certain: allocations never released: 110, allowed 20\n")
    assert "ok: bytes live at the peak: 142 KiB, allowed 1.00 MiB" in out
    assert "leaks: 97.7 KiB in 100\n  remember tests/workloads/demo.c:35" in out


def test_people_read_bounds(write_recording: Write, gadgetops: Gadgetops) -> None:
    out = gadgetops("check", write_recording(TWO_LEFT, lost=1), "--max-leak-bytes", 60).out
    assert "inconclusive: something is missing from the recording\n  1 event lost" in out
    assert "possibly exceeded: bytes never released: 150 B, allowed 60 B" in out
    assert "(at least 50 B, at most nobody can say)" in out


class TestBaseline:
    """Stack by stack, by fingerprint."""

    def test_the_same_again_is_no_more(self, write_recording: Write, gadgetops: Gadgetops) -> None:
        """Stacks 1 and 3 are one, at two addresses."""
        before = write_recording(TWO_LEFT, name="before", lost=0)
        after = write_recording([("malloc", 16, 100, 3), ("malloc", 32, 50, 2)], name="after", lost=0)
        assert gadgetops("check", after, "--baseline", before).status == 0

    @pytest.mark.parametrize(
        ("tolerance", "status"), [("0", 3), ("9%", 3), ("10%", 0), ("9", 3), ("10", 0), ("1k", 0)]
    )
    def test_more_of_one_stack_is_not_made_good_by_less_of_another(
        self, tolerance: str, status: int, write_recording: Write, gadgetops: Gadgetops
    ) -> None:
        before = write_recording(TWO_LEFT, name="before", lost=0)
        after = write_recording([("malloc", 16, 110, 1)], name="after", lost=0)
        arguments = ["--baseline", before, "--tolerance", tolerance, "--format", "json"]
        result = gadgetops("check", after, *arguments)
        assert result.status == status
        [finding] = json.loads(result.out)["budgets"]
        assert (finding["value"] > 0) == (status == 3)

    def test_a_file_does_for_the_recording(
        self, tmp_path: Path, write_recording: Write, gadgetops: Gadgetops
    ) -> None:
        before = write_recording(TWO_LEFT, name="before", lost=0)
        kept = tmp_path / "baseline.json"
        assert gadgetops("check", before, "--write-baseline", kept).status == 0
        assert gadgetops("check", before, "--baseline", kept).status == 0
        after = write_recording([*TWO_LEFT, ("malloc", 64, 1, 2)], name="after", lost=0)
        result = gadgetops("check", after, "--baseline", kept, "--format", "json")
        assert verdict(result) == (3, "exceeded", ["exceeded"])
        [finding] = json.loads(result.out)["budgets"]
        assert (finding["value"], len(finding["stacks"])) == (1, 1)

    def test_a_baseline_that_lacks_something_proves_nothing(
        self, write_recording: Write, gadgetops: Gadgetops
    ) -> None:
        before = write_recording(TWO_LEFT, name="before", lost=1)
        assert gadgetops("check", before, "--baseline", before).status == 4

    def test_a_file_that_is_none_is_refused(self, tmp_path: Path, gadgetops: Gadgetops) -> None:
        (tmp_path / "b.json").write_text("{}")
        result = gadgetops("check", DEMO, "--baseline", tmp_path / "b.json")
        assert (result.status, "not a baseline" in result.err) == (2, True)


def test_suppressed_stacks_are_not_counted(tmp_path: Path, gadgetops: Gadgetops) -> None:
    (tmp_path / "known").write_text("leak:remember\n")
    arguments = ["--suppressions", tmp_path / "known", "--format", "json"]
    result = gadgetops("check", DEMO, "--max-leak-bytes", 40_960, "--max-leaks", 9, *arguments)
    assert verdict(result) == (3, "exceeded", ["ok", "exceeded"])


class TestBudgetFile:
    """TOML: of its own, or a project's."""

    def test_the_projects_is_read_where_it_is(self, gadgetops: Gadgetops) -> None:
        """What is given on the command line goes before it."""
        Path("pyproject.toml").write_text('[tool.gadgetops.budget]\nmax-leaks = 3\nmax_peak = "1M"\n')
        result = gadgetops("check", DEMO, "--format", "json")
        assert verdict(result) == (3, "exceeded", ["exceeded", "ok"])
        assert gadgetops("check", DEMO, "--max-leaks", 200).status == 0

    def test_a_file_may_have_limits_alone(self, tmp_path: Path) -> None:
        (tmp_path / "b.toml").write_text('max-leak-bytes = "64k"\nmax-calls = 7\n')
        assert read_budget(tmp_path / "b.toml") == {"leak-bytes": 65536, "calls": 7}

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("max-sum = 1", "max-sum: no such limit"),
            ("max-leaks = -1", "max-leaks: expected a number of 0 or more, got -1"),
            ("max-leaks = true", "got True"),
            ('max-leaks = "3k"', "got '3k'"),
            ('max-peak = "much"', "max-peak: not a size"),
            ("[tool]\ngadgetops = 3", "gadgetops: expected a table, got int"),
            ("= 3", "Invalid statement"),
        ],
    )
    def test_what_is_no_limit_is_named(self, text: str, says: str, tmp_path: Path) -> None:
        (tmp_path / "b.toml").write_text(text)
        with pytest.raises(BudgetError) as caught:
            read_budget(tmp_path / "b.toml")
        assert caught.value.path == tmp_path / "b.toml"
        assert says in caught.value.reason

    def test_no_budget_is_a_wrong_request(self, gadgetops: Gadgetops) -> None:
        """Rather than a check that cannot fail."""
        result = gadgetops("check", DEMO)
        assert (result.status, "no budget" in result.err) == (2, True)


def test_a_tolerance_is_a_share_or_bytes() -> None:
    assert Tolerance.parse("12.5%").allowed(1000) == 1125
    assert Tolerance.parse("2k").allowed(1000) == 3048
    with pytest.raises(UsageError):
        Tolerance.parse("a lot")


def test_junit_has_a_case_for_each_budget(
    tmp_path: Path, write_recording: Write, gadgetops: Gadgetops
) -> None:
    """Failed, in error, or passed: as an XML parser reads them."""
    lossy = write_recording(TWO_LEFT, lost=1)
    report = tmp_path / "junit.xml"
    limits = ["--max-leaks", 3, "--max-leak-bytes", 60, "--max-calls", 1]
    assert gadgetops("check", lossy, *limits, "--junit", report).status == 3
    [suite] = ET.parse(report).getroot()
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "3", "failures": "1", "errors": "1", "skipped": "0"}
    results = {case.get("name"): [child.tag for child in case] for case in suite}
    assert results == {"leak-bytes": ["error"], "leaks": [], "calls": ["failure"]}
    assert "inner a.c:5" in (suite[0][0].text or "")


def test_sarif_holds_to_its_schema(tmp_path: Path, sarif_schema: Any, gadgetops: Gadgetops) -> None:
    """That of version 2.1.0; each stack is a result at the line that allocates."""
    log = tmp_path / "log.sarif"
    assert gadgetops("check", DEMO, "--max-leaks", 20, "--max-peak", 1, "--sarif", log).status == 3
    document = json.loads(log.read_text())
    jsonschema.validate(document, sarif_schema)
    results = document["runs"][0]["results"]
    assert [(each["ruleId"], each["level"]) for each in results] == [("leaks", "error")] * 2 + [
        ("peak", "error")
    ]
    place = results[0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "tests/workloads/demo.c", "uriBaseId": "SRCROOT"}
    assert place["region"] == {"startLine": 35}
    names = [
        frame["location"]["logicalLocations"][0]["fullyQualifiedName"]
        for frame in results[0]["stacks"][0]["frames"]
    ]
    assert names == ["remember", "serve", "main", "__libc_start_call_main"]


def test_sarif_of_what_is_within_budget_holds_to_the_schema(
    tmp_path: Path, sarif_schema: Any, write_recording: Write, gadgetops: Gadgetops
) -> None:
    """And has no result; doubts are notifications, and possible excesses warnings."""
    log = tmp_path / "log.sarif"
    assert gadgetops("check", write_recording(TWO_LEFT, lost=1), "--max-leaks", 3, "--sarif", log).status == 0
    document = json.loads(log.read_text())
    jsonschema.validate(document, sarif_schema)
    assert document["runs"][0]["results"] == []
    [invocation] = document["runs"][0]["invocations"]
    assert "lost" in invocation["toolExecutionNotifications"][0]["message"]["text"]
    gadgetops("check", tmp_path / "r.gadgetrec", "--max-leaks", 1, "--sarif", log)
    levels = {each["level"] for each in json.loads(log.read_text())["runs"][0]["results"]}
    assert levels == {"warning"}


@pytest.fixture(scope="module")
def sarif_schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The schema, out of the npm package that has it."""
    if shutil.which("npm") is None:
        pytest.skip("no `npm` on PATH")
    folder = tmp_path_factory.mktemp("sarif")
    argv = ["npm", "pack", "--silent", "@microsoft/jest-sarif@1.0.0-beta.0"]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True, env=ENVIRONMENT)
    [archive] = folder.glob("*.tgz")
    shutil.unpack_archive(archive, folder, filter="data")
    [schema] = folder.rglob("sarif-2.1.0*.json")
    return json.loads(schema.read_text())


def test_markdown_is_a_table_of_budgets(tmp_path: Path, gadgetops: Gadgetops) -> None:
    summary = tmp_path / "summary.md"
    gadgetops("check", DEMO, "--max-leaks", 20, "--max-peak", "1M", "--markdown", summary)
    text = summary.read_text()
    assert text.startswith("### Memory of `demo.gadgetrec`: over budget\n")
    assert "| leaks | 110 | 110 | 110 | 20 | exceeded for certain |" in text
    assert "| peak | 142 KiB | 142 KiB | 142 KiB | 1.00 MiB | ok |" in text
    assert "remember tests/workloads/demo.c:35` |" in text


def test_every_limit_has_its_option(gadgetops: Gadgetops) -> None:
    out = gadgetops("check", "--help").out
    assert all(f"--max-{name} " in out for name in NAMES)
