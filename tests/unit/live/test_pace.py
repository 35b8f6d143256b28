"""A view looks as often as its share of a processor lets it."""

import pytest

from gadgetops.live.pace import Pace


@pytest.mark.parametrize(
    ("taken_s", "elapsed_s", "is_due"),
    [(0.5, 1.0, True), (0.5, 0.1, False), (3.0, 10.0, False), (3.0, 49.0, False), (3.0, 51.0, True)],
)
def test_it_waits_until_it_can_afford_to_look(
    taken_s: float, elapsed_s: float, is_due: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second is free; of the rest a twenty-fifth."""
    clock = {"monotonic": 100.0, "process_time": 7.0}
    monkeypatch.setattr("time.monotonic", lambda: clock["monotonic"])
    monkeypatch.setattr("time.process_time", lambda: clock["process_time"])
    pace = Pace()
    clock["monotonic"] += elapsed_s
    clock["process_time"] += taken_s
    assert pace.is_due == is_due
