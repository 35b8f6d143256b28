"""A follower shows what is paired of a recording, as the questions answer it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gadgetops.errors import RecordingError
from gadgetops.live.follower import Follower
from gadgetops.live.lines import line_of
from gadgetops.live.snapshot import LiveStack, Mark, Snapshot
from gadgetops.questions.asking.filters import Filters
from gadgetops.questions.asking.question import Amount
from gadgetops.questions.leaks.leaks import leaks_in


def polled(follower: Follower) -> Snapshot:
    """Return what is new, which there is."""
    found = follower.poll()
    assert found is not None
    return found


def of_address(snapshot: Snapshot, address: str) -> LiveStack:
    """Return the stack whose innermost frame is called so."""
    [found] = [each for each in snapshot.stacks if each.stack.frames[0].name == address]
    return found


def test_nothing_is_shown_before_the_first_segment(growing: Any) -> None:
    assert Follower(growing.path).poll() is None


def test_each_segment_is_shown_once(growing: Any) -> None:
    """With sums over all segments, and the rate since the last one."""
    follower = Follower(growing.path)
    growing.grow(20)
    first = polled(follower)
    assert follower.poll() is None
    growing.grow(20)
    second = polled(follower)
    assert (first.live.count, second.live.count) == (41, 81)
    assert second.live == Amount(40 * 1000 + 40 * 7 + 4096, 81)
    assert second.allocated.count == 160
    assert second.curve[-1] == second.live.size_bytes
    assert sum(second.rates) == 160
    assert second.events_per_s == pytest.approx(60, rel=0.05)
    assert not second.is_ended


def test_what_grows_has_the_verdict_of_leaks(growing: Any) -> None:
    """And the same sums, trend and age as there."""
    growing.grow(40)
    growing.grow(40)
    snapshot = polled(Follower(growing.path))
    answer = leaks_in(growing.path)
    assert [each.trend for each in snapshot.stacks if each.live.count] == [
        each.trend for each in answer.leaks
    ]
    assert snapshot.live.size_bytes == answer.live.size_bytes
    [grows] = snapshot.growing
    assert grows.live == Amount(80 * 1007, 160)
    assert grows.curve[-1] > grows.curve[len(grows.curve) // 2] > 0


def test_released_stacks_are_shown_too(growing: Any) -> None:
    growing.grow(20)
    busy = of_address(polled(Follower(growing.path)), "/bin/grows+0x3")
    assert (busy.live, busy.allocated) == (Amount(0, 0), Amount(200, 20))


def test_a_filter_chooses_a_thread(growing: Any) -> None:
    """From the pairs, with the same verdict."""
    growing.grow(80)
    follower = Follower(growing.path, Filters(pids=(2,), tids=(12,)))
    snapshot = polled(follower)
    assert snapshot.live == snapshot.allocated == Amount(560, 80)
    assert [each.trend.kind for each in snapshot.stacks] == ["growing"]
    assert sorted(follower.threads()) == [(1, 11, "grows"), (2, 12, "helps")]
    follower.filters = Filters(pids=(1,))
    assert polled(follower).allocated.count == 240


def test_what_nobody_pairs_is_paired(growing: Any, impatient: Callable[[], None]) -> None:
    """As by a recorder that was told to leave pairing to others."""
    impatient()
    growing.grow(20, is_paired=False)
    follower = Follower(growing.path)
    assert follower.poll() is None
    assert polled(follower).live.count == 41


def test_symbols_and_the_end_are_shown(growing: Any) -> None:
    """Though no event is new."""
    growing.grow(20)
    follower = Follower(growing.path)
    polled(follower)
    growing.end()
    last = polled(follower)
    assert last.is_ended and last.certainty.word == "certain"
    assert {each.stack.frames[0].name for each in last.stacks} == {"leaks", "caches", "works"}
    assert follower.poll() is None


def test_a_mark_tells_what_came_since(growing: Any) -> None:
    """Of a stack that was not there before, all."""
    follower = Follower(growing.path)
    growing.grow(20)
    mark = Mark(polled(follower))
    growing.grow(10)
    now = polled(follower)
    leaking, caching = of_address(now, "/bin/grows+0x1"), of_address(now, "/bin/grows+0x2")
    assert mark.since(leaking) == (Amount(10 * 1007, 20), Amount(10 * 1007, 20))
    assert mark.since(caching) == (Amount(0, 0), Amount(40960, 10))


def test_a_line_says_what_grows(growing: Any) -> None:
    growing.grow(80)
    follower = Follower(growing.path)
    line = line_of(polled(follower))
    assert "480 events" not in line
    assert "479 events, " in line
    assert "82.7 KiB not released, 0 lost, 1 stack growing, most /bin/grows+0x1 with 78.7 KiB" in line
    growing.end()
    assert line_of(polled(follower)).endswith("ended: certain")


def test_a_recording_that_is_gone_is_an_error(growing: Any, tmp_path: Path) -> None:
    with pytest.raises(RecordingError):
        Follower(tmp_path / "nowhere").poll()
