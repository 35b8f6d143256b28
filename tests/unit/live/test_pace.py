"""A view looks as often as its share of a processor lets it."""

from collections.abc import Iterator

import pytest

from gadgetops.live.pace import Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, float]]:
    """The time, and what this process took."""
    now = {"monotonic": 100.0, "process_time": 7.0}
    with monkeypatch.context() as patched:
        patched.setattr("time.monotonic", lambda: now["monotonic"])
        patched.setattr("time.process_time", lambda: now["process_time"])
        yield now


def look(pace: Pace, clock: dict[str, float], taken_s: float) -> float:
    """Look, which takes so much, and return after how many seconds it is time again."""
    clock["process_time"] += taken_s
    pace.looked()
    waited_s = 0.0
    while not pace.is_due:
        clock["monotonic"] += 0.25
        waited_s += 0.25
    return waited_s


def test_the_first_look_is_at_once_and_the_second_soon(clock: dict[str, float]) -> None:
    """However long the first took."""
    pace = Pace()
    assert pace.is_due
    assert look(pace, clock, 3.0) == 2.0


@pytest.mark.parametrize(("taken_s", "waits_s"), [(0.001, 0.5), (0.1, 2.5), (1.0, 25.0)])
def test_it_takes_a_twenty_fifth(taken_s: float, waits_s: float, clock: dict[str, float]) -> None:
    """At any time, whatever was saved before."""
    pace = Pace()
    look(pace, clock, 0.1)
    clock["monotonic"] += 1000
    assert look(pace, clock, taken_s) == waits_s
