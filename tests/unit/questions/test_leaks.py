"""What is live at the end of a recording, and how far that is believed."""

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gadgetops.errors import RecordingError
from gadgetops.questions.asking.certainty import Bounds
from gadgetops.questions.asking.filters import Filters
from gadgetops.questions.leaks.leaks import Amount, Leaks, leaks
from gadgetops.recording.reader import open_recording

Write = Callable[..., Path]


@pytest.fixture
def ask(write_recording: Write) -> Callable[..., Leaks]:
    """Ask for the leaks of a recording of some events."""
    return lambda events, **counters: leaks(open_recording(write_recording(events, **counters)))


Ask = Callable[..., Leaks]
LIVE = [
    ("free releases", [("malloc", 1, 10), ("free", 1)], (0, 0)),
    ("a free before the allocation does not", [("free", 1), ("malloc", 1, 10)], (10, 1)),
    ("a double free does nothing more", [("malloc", 1, 10), ("free", 1), ("free", 1)], (0, 0)),
    ("an address may be used again", [("malloc", 1, 10), ("free", 1), ("calloc", 1, 7)], (7, 1)),
    ("an address handed out again was released", [("malloc", 1, 10), ("malloc", 1, 7)], (7, 1)),
    ("processes are apart", [("malloc", 1, 10, 1, 1, 1), ("free", 1, 0, 1, 1, 2)], (10, 1)),
    ("another thread may free", [("malloc", 1, 10, 1, 1), ("free", 1, 0, 1, 2)], (0, 0)),
    ("a failed allocation is none", [("malloc", 0, 10), ("mmap", 0, 10)], (0, 0)),
    ("free of null is nothing", [("malloc", 0, 10), ("free", 0)], (0, 0)),
    ("malloc of nothing is an allocation", [("malloc", 1, 0)], (0, 1)),
    ("realloc moves", [("malloc", 1, 10), ("realloc_free", 1), ("realloc", 2, 20)], (20, 1)),
    ("realloc stays", [("malloc", 1, 10), ("realloc_free", 1), ("realloc", 1, 20)], (20, 1)),
    ("a failed realloc keeps", [("malloc", 1, 10), ("realloc_free", 1), ("realloc", 0, 20)], (10, 1)),
    ("realloc to nothing frees", [("malloc", 1, 10), ("realloc_free", 1), ("realloc", 0, 0)], (0, 0)),
    (
        "another thread's failed realloc is not this one's",
        [("malloc", 1, 10), ("realloc_free", 1, 0, 1, 1), ("realloc", 0, 9, 1, 2), ("realloc", 2, 20, 1, 1)],
        (20, 1),
    ),
    (
        "other calls may come between the two halves of a failed realloc",
        [("malloc", 1, 10), ("realloc_free", 1), ("free", 9), ("realloc", 0, 20)],
        (10, 1),
    ),
    ("munmap releases a mapping", [("mmap", 4096, 5000), ("munmap", 4096, 5000)], (0, 0)),
    ("whole pages are released", [("mmap", 4096, 5000), ("munmap", 4096, 4097)], (0, 0)),
    ("munmap may release a part", [("mmap", 4096, 12288), ("munmap", 4096, 1)], (8192, 1)),
    (
        "the rest outlives a new mapping",
        [("mmap", 4096, 8192), ("munmap", 4096, 1), ("mmap", 4096, 5)],
        (4101, 2),
    ),
    ("munmap of the end releases that", [("mmap", 4096, 8192), ("munmap", 8192, 4096)], (4096, 1)),
    ("munmap elsewhere releases nothing", [("mmap", 4096, 8192), ("munmap", 12288, 4096)], (8192, 1)),
    ("free does not release a mapping", [("mmap", 4096, 8192), ("free", 4096)], (8192, 1)),
    ("munmap does not release a block", [("malloc", 4096, 8192), ("munmap", 4096, 8192)], (8192, 1)),
    (
        "a munmap inside free takes a mapping that was seen",
        [("mmap", 4096, 8192), ("malloc", 4112, 8000), ("free", 4112), ("munmap", 4096, 8192)],
        (0, 0),
    ),
    (
        "what one function got from another is one allocation",
        [("memalign", 64, 10), ("posix_memalign", 64, 10), ("free", 64)],
        (0, 0),
    ),
    ("munmap in the middle leaves both ends", [("mmap", 4096, 12288), ("munmap", 8192, 4096)], (8192, 1)),
    (
        "munmap over two mappings takes of both",
        [("mmap", 4096, 8192), ("mmap", 12288, 8192), ("munmap", 8192, 8192)],
        (8192, 2),
    ),
    ("mmap over a mapping replaces it", [("mmap", 4096, 8192), ("mmap", 4096, 4096)], (8192, 2)),
    (
        "a munmap of another range after free is the program's",
        [("mmap", 4096, 4096), ("malloc", 8192, 80), ("free", 8192), ("munmap", 4096, 4096)],
        (0, 0),
    ),
    (
        "a munmap of another thread after free is the program's",
        [("mmap", 4096, 4096), ("free", 4112, 0, 1, 1), ("munmap", 4096, 4096, 1, 2)],
        (0, 0),
    ),
    ("sizes at the limit add up", [("mmap", 4096, 2**64 - 1), ("malloc", 1, 2**64 - 1)], (2**64 - 2, 2)),
    (
        "a munmap just below the limit rounds without overflow",
        [("mmap", 4096, 2**63 - 1), ("munmap", 4096, 2**63 - 2)],
        (0, 0),
    ),
    ("addresses at the limit are addresses", [("free", 2**64 - 1), ("munmap", 2**63, 2**64 - 1)], (0, 0)),
    ("unknown operations are nothing", [("brk", 1, 10), ("malloc", 2, 5), ("brk", 2, 10)], (5, 1)),
]


@pytest.mark.parametrize(("events", "live"), [case[1:] for case in LIVE], ids=[case[0] for case in LIVE])
def test_live(ask: Ask, events: list[Any], live: tuple[int, int]) -> None:
    """Each name is a rule; bytes and counts of allocated are those of released and live."""
    found = ask(events)
    assert found.live == Amount(*live)
    assert (
        sum(leak.live_bytes for leak in found.leaks),
        sum(leak.live_count for leak in found.leaks),
    ) == live


def test_leaks_are_by_stack_largest_first(ask: Ask) -> None:
    """Frames leaf first, inlined functions innermost first; stacks of equal places are one."""
    events = [("malloc", 1, 5, 1), ("malloc", 2, 9, 2), ("malloc", 3, 6, 3), ("malloc", 4, 1, -1)]
    largest, second, least = ask(events).leaks
    assert [(leak.live_bytes, leak.live_count) for leak in (largest, second, least)] == [
        (11, 2),
        (9, 1),
        (1, 1),
    ]
    assert [frame.function for frame in largest.stack] == ["inner", "outer", "main"]
    assert [(frame.function, frame.module, frame.module_offset, frame.address) for frame in second.stack] == [
        (None, "/bin/program", 0x2020, 0x402020),
        ("main", None, None, 0x403030),
    ]


def test_equal_stacks_are_merged(ask: Ask) -> None:
    """A library loaded at two addresses is one place in the program."""
    merged = ask([("malloc", 1, 5, 1), ("malloc", 2, 6, 3)]).leaks
    assert [(leak.live_bytes, leak.live_count) for leak in merged] == [(11, 2)]


@pytest.mark.parametrize(
    ("stack_id", "why"),
    [
        (-1, "no stack was collected"),
        (-2, "its stack could not be collected"),
        (77, "its stack is not in the recording"),
    ],
)
def test_an_empty_stack_has_a_reason(ask: Ask, stack_id: int, why: str) -> None:
    """It is never silently empty."""
    [leak] = ask([("malloc", 1, 5, stack_id)]).leaks
    assert ((), why) == (leak.stack, leak.no_stack)


def test_nothing_missing_is_certain(ask: Ask) -> None:
    """Then what is live at least is what is live."""
    found = ask([("malloc", 1, 5)])
    assert (found.certainty.word, found.certainty.reasons, found.bounds) == (
        "certain",
        (),
        Bounds(5, 1, 5, 1),
    )


@pytest.mark.parametrize("where", ["event", "counter"])
def test_lost_events_may_have_been_releases(ask: Ask, where: str) -> None:
    """At least is what remains without the largest ones."""
    lost = 2 if where == "event" else 0
    counters = {} if where == "event" else {"lost": 2}
    events = [("malloc", 1, 5), ("malloc", 2, 50), ("malloc", 3, 7, 1, 1, 1, lost)]
    found = ask(events, **counters)
    assert (found.certainty.word, found.certainty.lost, found.live) == ("possible", 2, Amount(62, 3))
    assert found.bounds == Bounds(5, 1, None, 5)
    assert found.certainty.reasons[0].startswith("2 events lost")


def test_a_lost_munmap_may_have_taken_all_mappings_of_a_process(ask: Ask) -> None:
    """One call is enough for that; of another process it took none."""
    events = [("mmap", 4096, 10), ("mmap", 8192, 10), ("malloc", 1, 15), ("mmap", 4096, 7, 1, 1, 2)]
    assert ask(events, lost=1).bounds == Bounds(22, 2, None, 5)


def test_more_lost_than_any_column_holds_leaves_nothing_sure(ask: Ask) -> None:
    """A header may say any number."""
    found = ask([("malloc", 1, 5)], lost=10**30).bounds
    assert (found.at_least_bytes, found.at_least_count) == (0, 0)


def test_failed_stacks_are_a_doubt(ask: Ask) -> None:
    """The bytes are right, the places are not all known."""
    found = ask([("malloc", 1, 5, -2)])
    assert (found.certainty.word, found.certainty.failed_stacks) == ("possible", 1)
    assert found.bounds == Bounds(5, 1, 5, 1)


def test_nothing_recorded_is_inconclusive(ask: Ask) -> None:
    """No leak was seen, but nothing else was either."""
    assert ask([]).certainty.word == "inconclusive"


def test_without_recording_json_nobody_knows_the_least(write_recording: Write) -> None:
    """How many events are missing is not known."""
    path = write_recording([("malloc", 1, 5)])
    (path / "recording.json").unlink()
    found = leaks(open_recording(path))
    assert (found.certainty.word, found.bounds, found.live) == (
        "possible",
        Bounds(None, None, None, None),
        Amount(5, 1),
    )


def test_a_damaged_segment_is_left_out(write_recording: Write) -> None:
    """Its events count as lost."""
    path = write_recording([("malloc", address, 5) for address in range(1, 9)])
    segment = path / "events-00000.parquet"
    content = segment.read_bytes()
    segment.write_bytes(content[:4] + bytes(60) + content[64:])
    found = leaks(open_recording(path))
    assert (found.certainty.word, found.certainty.lost) == ("inconclusive", 8)


def test_json_is_as_documented(gadgetops: Callable[..., Any], write_recording: Write) -> None:
    """Every member has its name here."""
    result = gadgetops("leaks", write_recording([("malloc", 1, 5, 2)]), "--format", "json")
    document = json.loads(result.out)
    assert result.status == 0
    amounts = {"allocated_bytes": 5, "allocated_count": 1, "live_bytes": 5, "live_count": 1}
    bounds = {"at_least_bytes": 5, "at_least_count": 1, "at_most_bytes": 5, "at_most_count": 1}
    assert {key: value for key, value in document.items() if key != "leaks"} == {
        "schema_version": 2,
        "heap": {**amounts, **bounds},
        "mappings": dict.fromkeys(amounts, 0),
        "before_exit": [],
        "certainty": "certain",
        "reasons": [],
        "kept": [],
        "lost": 0,
        "failed_stacks": 0,
        "notes": [],
        "duration_ns": 0,
        "suppressions": [],
        "at_most_bytes": 5,
        "at_most_count": 1,
        "allocated_bytes": 5,
        "allocated_count": 1,
        "released_bytes": 0,
        "released_count": 0,
        "live_bytes": 5,
        "live_count": 1,
        "at_least_bytes": 5,
        "at_least_count": 1,
    }
    schema = resources.files("gadgetops.questions") / "schema/leaks.schema.json"
    jsonschema.validate(document, json.loads(schema.read_text()))
    [leak] = document["leaks"]
    assert (leak["bytes"], leak["count"], leak["no_stack"]) == (5, 1, None)
    assert leak["stack"][0] == {
        "function": None,
        "file": None,
        "line": None,
        "module": "/bin/program",
        "module_offset": 0x2020,
        "address": 0x402020,
    }


def test_the_table_is_for_people(gadgetops: Callable[..., Any], write_recording: Write) -> None:
    """The total, then stack by stack; what is left out is counted."""
    path = write_recording([("malloc", 1, 2048, 1), ("malloc", 2, 1, 2), ("free", 2), ("calloc", 3, 1, -1)])
    assert gadgetops("leaks", path, "--limit", 1).out.splitlines() == [
        "certain: 2.00 KiB in 2 allocations not released, of 2.00 KiB in 3 allocations",
        "",
        "2.00 KiB in 1 allocation, 3 µs old",
        "  cannot tell: only 1 allocation left",
        "  inner a.c:5",
        "  outer a.c:9",
        "  main",
        "",
        "1 more stack of which nobody can tell yet, 1 B in 1 allocation; --kind unclear shows them",
    ]


def test_csv_has_folded_stacks(gadgetops: Callable[..., Any], write_recording: Write) -> None:
    """Root first, one line a stack."""
    path = write_recording([("malloc", 1, 5, 2), ("malloc", 2, 4, -1)])
    assert gadgetops("leaks", path, "--format", "csv").out.splitlines() == [
        "bytes,count,trend,stack",
        "5,1,unclear,main;/bin/program+0x2020",
        "4,1,unclear,<no stack was collected>",
    ]


def test_inconclusive_has_its_own_status(gadgetops: Callable[..., Any], write_recording: Write) -> None:
    """So that a script does not take silence for health."""
    result = gadgetops("leaks", write_recording([]))
    assert (result.status, result.out.splitlines()[0].split(":")[0]) == (4, "inconclusive")


def test_a_path_that_is_no_recording_says_what_to_name(gadgetops: Callable[..., Any], tmp_path: Path) -> None:
    """One line of what, one of what to do."""
    result = gadgetops("leaks", tmp_path / "absent")
    assert (result.status, result.out) == (1, "")
    assert "absent: no such recording" in result.err
    assert "gadgetops record" in result.err


def test_a_question_without_answer_is_a_recording_error(write_recording: Write) -> None:
    """A file that goes away while it is asked for."""
    path = write_recording([("malloc", 1, 5)])
    opened = open_recording(path)
    for file in path.iterdir():
        file.unlink()
    with pytest.raises(RecordingError):
        leaks(opened)


FILTERED = [("malloc", 1, 5, 1), ("malloc", 2, 50, 2, 7), ("free", 1), ("malloc", 3, 7, 2, 1, 4), ("free", 9)]


@pytest.mark.parametrize(
    ("options", "amounts"),
    [
        (["--function", "main"], (62, 3, 57, 2)),
        (["--function", "inner"], (5, 1, 0, 0)),
        (["--module", "program", "--min-size", "6"], (57, 2, 57, 2)),
        (["--max-size", "7"], (12, 2, 7, 1)),
        (["--pid", "4"], (7, 1, 7, 1)),
        (["--thread", "7"], (50, 1, 50, 1)),
        (["--since", "1us", "--until", "3us"], (50, 1, 50, 1)),
    ],
)
def test_filters_choose_allocations(
    gadgetops: Callable[..., Any], write_recording: Write, options: list[str], amounts: tuple[int, ...]
) -> None:
    """Of those all figures are; and whose releases they do not choose are released all the same."""
    path = write_recording(FILTERED)
    gadgetops("leaks", path)
    document = json.loads(gadgetops("leaks", path, *options, "--format", "json").out)
    names = ("allocated_bytes", "allocated_count", "live_bytes", "live_count")
    assert tuple(document[name] for name in names) == amounts
    assert sum(leak["bytes"] for leak in document["leaks"]) == amounts[2]
    assert (document["at_least_bytes"], document["at_most_bytes"]) == (amounts[2],) * 2


def test_filters_that_choose_all_change_nothing(write_recording: Write) -> None:
    """The sums that pairing keeps, and those of the allocations one by one, give one answer."""
    events = [("malloc", 16 * number, 8, 1 + number % 3) for number in range(1, 40)]
    events += [("free", 16 * number) for number in range(1, 40, 3)] + [("mmap", 4096, 9000)]
    events += [("munmap", 4096, 4096), ("mmap", 1 << 20, 5000, 2), ("munmap", 1 << 20, 5000)]
    opened = open_recording(write_recording(events, lost=2))
    assert leaks(opened, Filters(max_size_bytes=1 << 40)) == leaks(opened)


def test_filters_that_choose_nothing_say_so(gadgetops: Callable[..., Any], write_recording: Write) -> None:
    """Else nothing would look like no leak."""
    result = gadgetops("leaks", write_recording(FILTERED), "--pid", 99)
    assert (result.status, "choose no allocation" in result.err) == (0, True)
