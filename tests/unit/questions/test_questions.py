"""What each question answers, on events few enough to count by hand, and on a million with known answers."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import sqlglot
from services.synthetic import WINDOW, write_synthetic

from gadgetops.commands import VERBS
from gadgetops.errors import QueryError
from gadgetops.questions.asking.filters import GROUPINGS, Filters
from gadgetops.questions.asking.fingerprint import frame_name
from gadgetops.questions.asking.question import Amount
from gadgetops.questions.asking.stacks_of import Frame, Stack
from gadgetops.questions.diff import diff
from gadgetops.questions.faults import faults
from gadgetops.questions.free_query import VIEWS
from gadgetops.questions.lifetimes import lifetimes
from gadgetops.questions.peak import peak
from gadgetops.questions.sizes import sizes
from gadgetops.questions.summary import summary
from gadgetops.questions.temporary import temporary
from gadgetops.questions.texts import text as sql_text
from gadgetops.questions.timeline import timeline
from gadgetops.questions.top import totals
from gadgetops.recording.reader import Recording, open_recording
from gadgetops.recording.schema import ModuleRow
from gadgetops.report.schemas import answer_schema

Write = Callable[..., Path]
Gadgetops = Callable[..., Any]
DEMO = Path(__file__).parents[2] / "data" / "demo.gadgetrec"
QUESTIONS = ["summary", "top", "temporary", "peak", "timeline", "sizes", "lifetimes", "faults", "resizes"]
MIXED = [
    ("malloc", 16, 100, 1, 1),
    ("malloc", 32, 2000, 2, 2),
    ("free", 16, 0, 1, 2),
    ("mmap", 4096, 9000, 2, 1),
    ("malloc", 0, 5000, 1, 1),
    ("munmap", 4096, 4096, 1, 1),
    ("free", 32, 0, 2, 2),
    ("free", 32, 0, 2, 2),
    ("free", 48, 0, -1, 1),
    ("free", 4096, 0, 1, 1),
    ("calloc", 64, 0, -2, 1),
]
RESIZED = [
    ("malloc", 80, 100, 1, 1),
    ("realloc_free", 80, 0, 1, 1),
    ("realloc", 96, 200, 2, 1),
    ("realloc_free", 96, 0, 2, 1),
    ("realloc", 112, 400, 2, 1),
    ("realloc_free", 112, 0, 2, 1),
    ("realloc", 0, 1 << 60, 2, 1),
    ("free", 112, 0, 1, 1),
]
"""A buffer that grows in two steps; a third one fails."""


@pytest.fixture
def mixed(write_recording: Write) -> Recording:
    """A recording with something of everything."""
    return open_recording(write_recording(MIXED))


def test_the_shipped_recording_is_answered(gadgetops: Gadgetops) -> None:
    """A server that forgets 100 blocks of 1000 bytes and 10 of 4096; see tests/workloads/demo.c."""
    found = summary(open_recording(DEMO))
    assert found.live == Amount(100 * 1000 + 10 * 4096, 110)
    assert found.live == sum((each.live for each in totals(open_recording(DEMO))[1]), Amount(0, 0))
    lines = gadgetops("top", DEMO, "--by", "live", "--group-by", "function").out.splitlines()
    assert [line.split()[-2:] for line in lines[3:]] == [["100", "remember"], ["10", "parse_request"]]


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A million events."""
    return open_recording(write_synthetic(tmp_path_factory.mktemp("synthetic") / "r", 100_000))


class TestAMillionEvents:
    """Known answers; see services/synthetic.py for the program."""

    N = 100_000

    def test_summary(self, million: Recording) -> None:
        """Peak, live and temporary allocations are those of the program."""
        found = summary(million)
        assert found.allocated.count == 5 * self.N + WINDOW
        assert found.allocated.size_bytes == (64 + 128 + 256 + 1000 + 10) * self.N + 16 * WINDOW
        assert found.live == Amount(1016 * WINDOW, 2 * WINDOW)
        assert found.peak == Amount(1000 * (WINDOW + 1) + 16 * WINDOW + 10, 2 * WINDOW + 2)
        assert found.peak_at_ns == (10 * WINDOW + 7) * 1000
        assert found.temporary == Amount((64 + 128 + 256 + 10) * self.N, 4 * self.N)
        assert (found.thread_count, found.process_count) == (4, 1)
        assert found.certainty.word == "certain"

    def test_lifetimes(self, million: Recording) -> None:
        """Percentiles are lifetimes that occurred."""
        found = lifetimes(million, group_by="function")
        long_ns = (10 * WINDOW + 3) * 1000
        total = found.total
        assert (total.released_count, total.other_count) == (5 * self.N - WINDOW, 2 * WINDOW)
        assert (total.p50_ns, total.p90_ns, total.p99_ns, total.max_ns) == (2000, long_ns, long_ns, long_ns)
        by_name = {row.group.name: row for row in found.rows}
        assert (by_name["kind_1"].max_ns, by_name["kind_4"].p50_ns, by_name["kind_6"].p50_ns) == (
            1000,
            long_ns,
            None,
        )

    def test_timeline(self, million: Recording) -> None:
        """After the first cycles the same is live at the end of every bucket, and allocated in it."""
        total = timeline(million, buckets=100).total
        assert set(total.live_bytes) == {1016 * WINDOW}
        assert set(total.allocated_count[1:]) == {5 * self.N // 100}
        assert total.allocated_count[0] == 5 * self.N // 100 + WINDOW

    def test_temporary_next_thing(self, million: Recording) -> None:
        """With no other allocation in between the block of 128 bytes is not temporary."""
        assert temporary(million, 0).temporary == Amount((64 + 256 + 10) * self.N, 3 * self.N)


def test_summary_of_few(mixed: Recording) -> None:
    """Failed calls are no allocations; a mapping released in part is live with the rest."""
    found = summary(mixed)
    assert found.allocated == Amount(11100, 4)
    assert found.live == Amount(9000 - 4096, 2)
    assert found.operations == {
        "malloc": Amount(2100, 2),
        "calloc": Amount(0, 1),
        "mmap": Amount(9000, 1),
    }
    assert (found.duration_ns, found.event_count) == (10_000, 11)


def test_peak_is_by_stack(mixed: Recording) -> None:
    """What was released before is not in it, what is released later is."""
    found = peak(mixed)
    assert (found.at_ns, found.live) == (3000, Amount(11000, 2))
    assert [(row.group.name, row.live) for row in found.rows] == [
        ("main;/bin/program+0x2020", Amount(11000, 2))
    ]


def test_only_the_own_threads_release_makes_an_allocation_temporary(mixed: Recording) -> None:
    """The first block went by another thread's hand; the second by its own, at once."""
    found = temporary(mixed, others=0)
    assert (found.temporary, found.allocated.count) == (Amount(2000, 1), 4)


def test_sizes_are_by_powers_of_two(mixed: Recording) -> None:
    """Zero bytes stand alone."""
    [group] = sizes(mixed).groups
    assert [(each.min_bytes, each.max_bytes, each.allocated.count) for each in group.buckets] == [
        (0, 0, 1),
        (64, 127, 1),
        (1024, 2047, 1),
        (8192, 16383, 1),
    ]


def test_each_fault_is_of_one_kind(mixed: Recording) -> None:
    """A block freed twice, a mapping freed, an address nobody allocated, an allocation that failed."""
    found = faults(mixed)
    assert found.counts == {"double": 1, "mismatched": 1, "unknown": 1, "failed": 1}
    assert [(fault.kind, fault.operation, fault.size_bytes, fault.first_ns) for fault in found.faults] == [
        ("double", "free", 0, 7000),
        ("mismatched", "free", 0, 9000),
        ("unknown", "free", 0, 8000),
        ("failed", "malloc", 5000, 4000),
    ]


@pytest.mark.parametrize(
    ("filters", "sizes_bytes"),
    [
        (Filters(tids=(2,)), [2000]),
        (Filters(pids=(2,)), []),
        (Filters(functions=("inn",)), [100]),
        (Filters(functions=("inn?",)), []),
        (Filters(functions=("inn*", "nothing")), [100]),
        (Filters(functions=("main",)), [100, 2000, 9000]),
        (Filters(functions=("main",), min_size_bytes=100, max_size_bytes=2000), [100, 2000]),
        (Filters(functions=("Main",)), []),
        (Filters(modules=("program",)), [100, 2000, 9000]),
        (Filters(modules=("progra?",)), [100, 2000, 9000]),
        (Filters(modules=("*/prog*",)), [100, 2000, 9000]),
        (Filters(since_ns=1000, until_ns=3000), [2000]),
        (Filters(since_ns=2**63, until_ns=2**64), []),
    ],
)
def test_filters_choose_allocations(mixed: Recording, filters: Filters, sizes_bytes: list[int]) -> None:
    """And follow them to their release; the sizes are those of what is chosen."""
    found = [each.allocated.size_bytes for each in totals(mixed, filters, "thread")[1]]
    assert sum(found) == sum(sizes_bytes)
    assert summary(mixed, filters).allocated.count == len(sizes_bytes)


def test_stacks_of_equal_places_are_one_group(write_recording: Write) -> None:
    """A library loaded at two addresses."""
    _, found = totals(open_recording(write_recording([("malloc", 1, 5, 1), ("malloc", 2, 6, 3)])))
    assert [(each.group.name, each.allocated) for each in found] == [("main;outer;inner", Amount(11, 2))]


def test_threads_and_processes_have_names(mixed: Recording) -> None:
    """As last heard; without a container groups say so."""
    names = {group_by: totals(mixed, group_by=group_by)[1][0].group.name for group_by in GROUPINGS}
    assert names == {
        "stack": "main;/bin/program+0x2020",
        "function": "/bin/program+0x2020",
        "module": "/bin/program",
        "thread": "1/1 program",
        "process": "1 program",
        "container": "<no container>",
    }


def test_diff_of_a_recording_with_itself_is_nothing(mixed: Recording) -> None:
    """Whatever is measured."""
    for by in ("bytes", "calls", "live", "temporary", "peak"):
        assert {row.change for row in diff(mixed, mixed, by).rows} <= {"same"}


def test_diff_tells_new_grown_shrunk_and_gone(write_recording: Write) -> None:
    """By stack, the greatest change first, wherever the program was loaded."""
    before = [("malloc", 1, 10, 1), ("malloc", 2, 20, 2)]
    moved = [ModuleRow(1, 1, "/opt/new/program", "beef", 0x900000, 0x910000, 0, 5)]
    after = [("malloc", 1, 11, 3), ("malloc", 2, 5, -1)]
    old = open_recording(write_recording(before, name="old"))
    new = open_recording(write_recording(after, name="new", modules=moved))
    found = diff(old, new)
    assert [(row.change, row.change_amount) for row in found.rows] == [
        ("gone", -20),
        ("new", 5),
        ("grown", 1),
    ]
    assert [(row.change, row.change_amount) for row in diff(new, old).rows] == [
        ("new", 20),
        ("gone", -5),
        ("shrunk", -1),
    ]


def test_diff_can_be_scaled(write_recording: Write) -> None:
    """Ten times the calls and the time are no change."""
    once = open_recording(write_recording([("malloc", 1, 10), ("malloc", 2, 10)], name="once"))
    tenfold = [("malloc", 1 + number, 10) for number in range(20)]
    often = open_recording(write_recording(tenfold, name="often"))
    assert [row.change for row in diff(once, often, per="recording").rows] == ["grown"]
    per_call = diff(once, often, per="call")
    assert (per_call.scale, [row.change for row in per_call.rows]) == (10.0, ["same"])
    per_second = diff(once, often, "calls", per="second")
    assert (per_second.scale, per_second.rows[0].change_amount) == (19.0, 20 - 38)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("parse", "/usr/bin/server", 1), ("parse.part.0", "/opt/server", 2)),
        (("parse.isra.3.cold", "server", 1), ("parse.constprop.1", "server", 2)),
        (("a::b::h0123456789abcdef", "server", 1), ("a::b::hfedcba9876543210", "server", 1)),
    ],
)
def test_a_fingerprint_survives(one: Any, other: Any) -> None:
    """Compilers' suffixes, folders, offsets."""
    assert frame_name(*one) == frame_name(*other)


def test_a_fingerprint_knows_functions_and_files_apart() -> None:
    """And the order of frames."""
    names = {
        frame_name("f", "a", 1),
        frame_name("g", "a", 1),
        frame_name("f", "b", 1),
        frame_name(None, "a", 1),
    }
    assert len(names) == 4
    frames = [Frame(name, None, None, "a", 1, 1) for name in ("f", "g")]
    assert Stack((*frames,), None).fingerprint != Stack((*reversed(frames),), None).fingerprint


def test_nothing_recorded_is_inconclusive(write_recording: Write, gadgetops: Gadgetops) -> None:
    """In every answer: nothing is not health."""
    path = write_recording([])
    for verb in QUESTIONS:
        result = gadgetops(verb, path)
        assert (result.status, result.out.split(":")[0]) == (4, "inconclusive"), verb
    assert gadgetops("diff", path, path).status == 4


@pytest.mark.parametrize("verb", QUESTIONS)
@pytest.mark.parametrize("source", ["mixed", "empty", "demo"])
def test_json_is_as_its_schema_says(
    verb: str, source: str, write_recording: Write, gadgetops: Gadgetops
) -> None:
    """No member is missing, none is undocumented."""
    path = DEMO if source == "demo" else write_recording(MIXED if source == "mixed" else [])
    for options in ([], ["--group-by", "thread"]) if verb != "summary" else ([],):
        result = gadgetops(verb, path, *options, "--format", "json")
        jsonschema.validate(json.loads(result.out), answer_schema(verb))


def test_diff_json_is_as_its_schema_says(write_recording: Write, gadgetops: Gadgetops) -> None:
    """Also where there is nothing to scale by."""
    path = write_recording(MIXED)
    for other in (DEMO, write_recording([], name="empty")):
        result = gadgetops("diff", path, other, "--per", "second", "--format", "json")
        jsonschema.validate(json.loads(result.out), answer_schema("diff"))


@pytest.mark.parametrize("verb", [*QUESTIONS, "diff"])
def test_csv_has_one_width(verb: str, write_recording: Write, gadgetops: Gadgetops) -> None:
    """A heading and rows of as many cells."""
    path = write_recording([*MIXED, *RESIZED])
    paths = [path, DEMO] if verb == "diff" else [path]
    lines = gadgetops(verb, *paths, "--format", "csv").out.splitlines()
    assert len(lines) > 1
    assert {line.count(",") for line in lines} == {lines[0].count(",")}


def test_the_documents_describe_every_answer() -> None:
    """Each verb, each member of its JSON."""
    document = (Path(__file__).parents[3] / "docs" / "answers.md").read_text()
    for verb in [*QUESTIONS, "diff", "sql"]:
        assert verb in VERBS
        assert f"`{verb}`" in document
    for verb in [*QUESTIONS, "diff"]:
        for member in answer_schema(verb)["$defs"][verb]["properties"]:
            assert f"`{member}`" in document, (verb, member)


def test_resizes_counts_what_was_given_to_realloc(write_recording: Write, gadgetops: Gadgetops) -> None:
    """Two steps of one buffer; a step that failed is none, nor is what was only released."""
    path = write_recording(RESIZED)
    document = json.loads(gadgetops("resizes", path, "--group-by", "thread", "--format", "json").out)
    figures = {"resized_bytes": 300, "resize_count": 2, "allocation_count": 3}
    assert document["total"] == figures
    assert [{name: row[name] for name in figures} for row in document["groups"]] == [figures]
    text = gadgetops("resizes", path).out
    assert "2 of 3 allocations were given to realloc, holding 300 B" in text
    assert "200 B held, 1 resized, 2 of" in text


def test_top_table(mixed: Recording, gadgetops: Gadgetops) -> None:
    """Stacks are blocks, others lines; what is left out is counted."""
    assert gadgetops("top", mixed.path, "--limit", 1).out.splitlines() == [
        "possible: 10.8 KiB in 4 allocations; most bytes first",
        "  1 allocation without a stack: it could not be collected",
        "",
        "99.1 %: 10.7 KiB in 2 allocations",
        "  /bin/program+0x2020",
        "  main",
        "",
        "2 more stacks; --limit shows them",
    ]
    assert gadgetops("top", mixed.path, "--by", "calls", "--group-by", "thread").out.splitlines()[2:] == [
        "",
        " SHARE     BYTES  CALLS  THREAD",
        "75.0 %  8.89 KiB      3  1/1 program",
        "25.0 %  1.95 KiB      1  1/2 program",
    ]


@pytest.mark.parametrize(("options", "full", "rate"), [((), "⣿", "██"), (("--ascii",), "#", "@@")])
def test_timeline_draws_a_chart(
    options: tuple[str, ...],
    full: str,
    rate: str,
    write_recording: Write,
    gadgetops: Gadgetops,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As wide as the terminal; half as much is half as high."""
    monkeypatch.setenv("COLUMNS", "31")
    path = write_recording([("malloc", 1, 512), ("malloc", 2, 512), ("free", 1), ("free", 2)])
    lines = gadgetops("timeline", path, "--buckets", 4, *options).out.splitlines()
    assert lines[0].endswith("; in 4 parts of 751 ns")
    assert lines[2:12] == [
        f" 1.00 KiB |     {5 * full}",
        *[f"          |     {5 * full}"] * 3,
        f"    512 B |{15 * full}",
        *[f"          |{15 * full}"] * 3,
        f"      0 B +{20 * '-'}",
        "           0 ns            3 µs",
    ]
    assert lines[13] == f"     rate |{5 * rate}"


@pytest.mark.parametrize("verb", ["timeline", "sizes", "lifetimes"])
def test_in_a_plain_locale_ascii_is_drawn(verb: str, mixed: Recording) -> None:
    """Without being asked for."""
    argv = [sys.executable, "-m", "gadgetops", verb, str(mixed.path)]
    plain = {**os.environ, "LC_ALL": "C"}
    drawn = subprocess.run(argv, env=plain, capture_output=True, text=True, check=False).stdout
    assert drawn.replace("µ", "u").isascii(), drawn
    asked = subprocess.run([*argv, "--ascii"], capture_output=True, text=True, check=False).stdout
    assert drawn == asked


def test_lifetimes_are_drawn_on_one_scale(mixed: Recording, gadgetops: Gadgetops) -> None:
    """From half of them to the longest."""
    out = gadgetops("lifetimes", mixed.path, "--ascii").out
    assert "drawn: half, then 90 %, 99 % and the longest, from " in out
    assert any(line.strip().startswith("#") or line.strip() == "|" for line in out.splitlines()), out


def test_names_cannot_steer_a_terminal(write_recording: Write, gadgetops: Gadgetops) -> None:
    """They come from the traced program."""
    evil = [ModuleRow(1, 1, "/bin/\x1b[2Jprogram", None, 0x400000, 0x410000, 0, 5)]
    path = write_recording([("malloc", 1, 5, 2), ("free", 9, 0, 2)], modules=evil)
    for verb in QUESTIONS:
        for group_by in ("stack", "module"):
            options = ["--group-by", group_by] if verb != "summary" else []
            assert "\x1b" not in gadgetops(verb, path, *options).out
    assert "\x1b" not in gadgetops("sql", path, "from modules").out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--since", "soon"], "--since: not a time: 'soon'"),
        (["--min-size", "big"], "--min-size: not a size: 'big'"),
        (["--since", "2s", "--until", "1s"], "--until is not after --since"),
        (["--min-size", "2k", "--max-size", "1k"], "--max-size is below --min-size"),
        (["--group-by", "colour"], "--group-by"),
    ],
)
def test_wrong_filters_are_wrong_requests(
    options: list[str], sentence: str, mixed: Recording, gadgetops: Gadgetops
) -> None:
    """They name the option."""
    result = gadgetops("top", mixed.path, *options)
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err


def test_a_damaged_segment_is_left_out(write_recording: Write) -> None:
    """Its events count as lost."""
    path = write_recording([("malloc", address, 5) for address in range(1, 9)])
    segment = path / "events-00000.parquet"
    content = segment.read_bytes()
    segment.write_bytes(content[:4] + bytes(60) + content[64:])
    found = peak(open_recording(path))
    assert (found.certainty.word, found.certainty.lost, found.live) == ("inconclusive", 8, Amount(0, 0))


class TestSql:
    """Any question that reads, and none that does more."""

    def test_formats(self, mixed: Recording, gadgetops: Gadgetops) -> None:
        """Columns with the same name are told apart; rows stream."""
        sql = "select operation, count(*) as n, count(*) as n from allocations group by 1 order by 1"
        assert gadgetops("sql", mixed.path, sql, "--format", "csv").out.splitlines() == [
            "operation,n,n_1",
            "calloc,1,1",
            "malloc,2,2",
            "mmap,1,1",
        ]
        assert json.loads(gadgetops("sql", mixed.path, sql, "--format", "json", "--limit", 1).out) == [
            {"operation": "calloc", "n": 1, "n_1": 1}
        ]
        assert gadgetops("sql", mixed.path, sql).out.splitlines()[1] == "calloc     1  1"

    @pytest.mark.parametrize(
        "view",
        VIEWS,
    )
    def test_views_have_the_documented_columns(
        self, view: str, mixed: Recording, gadgetops: Gadgetops
    ) -> None:
        """In their order."""
        document = (Path(__file__).parents[3] / "docs" / "answers.md").read_text()
        columns = [
            row["column_name"]
            for row in json.loads(gadgetops("sql", mixed.path, f"describe {view}", "--format", "json").out)
        ]
        if view in ("allocations", "partial_releases", "unmatched_releases"):
            [line] = re.findall(rf"^\| `{view}` \| (.*) \|$", document, re.MULTILINE)
            assert all(f"`{column}`" in line for column in columns)
        assert columns

    @pytest.mark.parametrize(
        "sql",
        [
            "select * from read_text('/etc/hostname')",
            "from '/etc/passwd'",
            "from glob('/*')",
            "copy (select 1) to 'out.csv'",
            "copy events to 'out.parquet'",
            "attach 'out.db'",
            "create table t as select 1",
            "drop view events",
            "install httpfs",
            "load httpfs",
            "set enable_external_access = true",
            "pragma database_list",
            "export database 'out'",
            "select 1; select 2",
            "selec",
            "select nothing from events",
            "",
        ],
    )
    def test_what_does_more_than_reading_is_refused(
        self,
        sql: str,
        mixed: Recording,
        gadgetops: Gadgetops,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """With status 2, and nothing written."""
        monkeypatch.chdir(tmp_path)
        before = sorted(tmp_path.iterdir())
        result = gadgetops("sql", mixed.path, sql)
        assert (result.status, result.out) == (2, "")
        assert "gadgetops: error: " in result.err
        assert sorted(tmp_path.iterdir()) == before

    def test_its_error_is_typed(self) -> None:
        """One sentence, and a way out."""
        assert str(QueryError("no", hint="ask")) == "no\nask"

    def test_odd_paths_can_be_asked(self, write_recording: Write, gadgetops: Gadgetops) -> None:
        """Quotes and wildcards in the folder's name."""
        path = write_recording(MIXED, name="it's [1]*?.gadgetrec")
        assert gadgetops("sql", path, "select count(*) from events").out.splitlines()[1] == "11"


MINE = [
    *(
        "by_group",
        "changes",
        "faults",
        "faulty_calls",
        "frames",
        "grouped",
        "lifetimes",
        "peak",
        "process_names",
    ),
    *(
        "by_stored_group",
        "sizes",
        "stack_ids",
        "stacks",
        "stored_sums",
        "summary",
        "temporary",
        "thread_ids",
        "timeline",
    ),
]


@pytest.mark.parametrize("name", MINE)
def test_texts_are_in_the_subset_that_spark_shares(name: str) -> None:
    """sqlglot finds nothing in them that Spark lacks; DuckDB's own casts and division are not used."""
    text = sql_text(name)
    [spark] = sqlglot.transpile(
        text, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE
    )
    assert spark
    assert "::" not in text
    assert "//" not in text
