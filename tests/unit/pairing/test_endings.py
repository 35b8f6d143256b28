"""Where a process begins to give back what it has because it ends."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gadgetops.pairing.endings import WEIGHT, Counted, begins_at, ending
from gadgetops.pairing.pairs import paired
from gadgetops.questions.leaks.leaks import Leaks, leaks_in
from gadgetops.recording.reader import open_recording
from gadgetops.recording.schema import FrameRow, ProcessRow, StackRow
from gadgetops.recording.writer import RecordingWriter

counted = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99)), max_size=30)


def recorded(path: Path, events: list[tuple[Any, ...]], write_events: Callable[..., None]) -> Leaks:
    """Return what is left by a process with these events, which has ended."""
    writer = RecordingWriter.create(path, {"target": {"command": ["x"]}})
    writer.write_frames([FrameRow(number, 0x1000 * number, None, None) for number in (1, 2)])
    writer.write_stacks([StackRow(1, [1]), StackRow(2, [2])])
    write_events(writer, events)
    writer.write_processes([ProcessRow(10_000_000, 1, "exit", None, "x", None)])
    writer.close(counters={"lost": 0}, end="complete")
    return leaks_in(path)


@given(counted)
def test_the_run_has_the_most_releases_for_its_allocations(parts: list[tuple[int, int]]) -> None:
    """No longer and no shorter run up to the end has more, weighed."""
    calls = [Counted(number, *part) for number, part in enumerate(parts)]
    scores = {
        first: sum(each.n_releases - WEIGHT * each.n_allocations for each in calls[first:])
        for first in range(len(calls))
    }
    found = ending(calls)
    best = max(scores.values(), default=0)
    assert (0 if found is None else scores[found.seq]) == max(best, 0)


def test_releases_after_which_nothing_is_allocated_are_an_ending() -> None:
    """However few; calls that only alternate end with one, and what allocates last has none."""
    calls = [Counted(number, number % 2 == 0, number % 2) for number in range(100)]
    assert begins_at([*calls, *(Counted(100 + number, 0, 1) for number in range(20))], []) == 99
    assert begins_at(calls, []) == 99
    assert begins_at(calls[:-1], []) is None


def test_a_list_that_grew_is_one_block(
    gadgetops: Callable[..., Any], tmp_path: Path, write_events: Callable[..., None]
) -> None:
    """Its release at the end is shown; one block of a last request is not."""
    found = {}
    for name, grows in {"list": True, "requests": False}.items():
        events: list[tuple[Any, ...]] = []
        for request in range(400):
            if grows and request & (request - 1) == 0:
                events += [("malloc", 1000 + request, 64 * (request + 1), 1)]
                events += [("free", 1000 + request // 2, 0)] if request > 1 else []
            events += [("malloc", 8, 50, 2), ("free", 8, 0)]
        events += [("free", 1000 + 256, 0)] if grows else []
        found[name] = recorded(tmp_path / f"{name}.gadgetrec", events, write_events)
    [leak] = found["list"].before_exit
    assert (leak.live_bytes, leak.trend.kind) == (64 * 257, "growing")
    assert found["requests"].before_exit == ()


def test_what_had_grown_is_shown_though_all_was_released(
    gadgetops: Callable[..., Any], tmp_path: Path, write_events: Callable[..., None]
) -> None:
    """A program that lost a block in each of 300 requests, and frees all in the end."""
    events: list[tuple[Any, ...]] = []
    for request in range(300):
        events += [("malloc", 16 + 32 * request, 100, 1), ("malloc", 8, 50, 2), ("free", 8, 0)]
    events += [("free", 16 + 32 * request, 0) for request in range(300)]
    path = tmp_path / "r.gadgetrec"
    found = recorded(path, events, write_events)
    assert (found.live.count, found.leaks) == (0, ())
    # The last block of a request is the first that is released.
    [leak, in_use] = found.before_exit
    assert in_use.live_bytes == 50
    assert (leak.live_bytes, leak.live_count, leak.trend.kind) == (30_000, 300, "growing")
    text = gadgetops("leaks", path).out
    assert "released at the program's end: 29.3 KiB in 301 allocations, of which 1 stack had grown" in text
    document = json.loads(gadgetops("leaks", path, "--format", "json").out)
    assert document["before_exit"][0]["count"] == 300
    with paired(open_recording(path)) as connection:
        # The pairs themselves say what happened.
        query = "select count(*) from allocations where released_operation = 'free'"
        assert connection.execute(query).fetchall() == [(600,)]


@pytest.fixture
def write_events() -> Callable[..., None]:
    """Write events of one process, a microsecond apart, each (operation, address, size[, stack])."""
    import numpy as np  # noqa: PLC0415

    def write(writer: RecordingWriter, events: list[tuple[Any, ...]]) -> None:
        operations = ["malloc", "free"]
        columns = {
            "timestamp_ns": [1000 * (number + 1) for number in range(len(events))],
            "pid": [1] * len(events),
            "tid": [1] * len(events),
            "operation": [operations.index(event[0]) for event in events],
            "address": [event[1] for event in events],
            "size_bytes": [event[2] for event in events],
            "stack_id": [event[3] if len(event) > 3 else -1 for event in events],
            "lost": [0] * len(events),
        }
        writer.write_events({name: np.array(values) for name, values in columns.items()}, operations)

    return write
