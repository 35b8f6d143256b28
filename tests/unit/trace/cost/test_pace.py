"""When probes are in and when they are out, of a target whose slowdown is known."""

from collections.abc import Callable

import pytest

from gadgetops.trace.cost.pace import Budget, Pace
from gadgetops.trace.cost.price import Price


class World:
    """A clock, and probes that take their time to be put in and out."""

    def __init__(self, takes_s: float) -> None:
        self.now_s = 0.0
        self.on_s = 0.0
        self.is_in = True
        self._since_s = 0.0
        self._takes_s = takes_s

    def pause(self) -> None:
        """Take the probes out, which takes a while."""
        assert self.is_in
        self.now_s += self._takes_s
        self.on_s += self.now_s - self._since_s
        self.is_in = False

    def resume(self) -> None:
        """Put the probes in, which takes a while."""
        assert not self.is_in
        self._since_s = self.now_s
        self.now_s += self._takes_s
        self.is_in = True

    def share(self) -> float:
        """For which part of the time they were in."""
        return (self.on_s + (self.now_s - self._since_s if self.is_in else 0)) / self.now_s


def price(slowdown: float) -> Price:
    """Of a call that takes 2 us."""
    return Price(1e6, slowdown, 1.0, 2e-6, 1e6)


def run(world: World, pace: Pace, seconds: float, events_per_s: Callable[[float], float]) -> None:
    """Let time pass in steps of 5 ms."""
    n_events = 0.0
    pace.begin()
    while world.now_s < seconds:
        n_events += events_per_s(world.now_s) * 0.005 * world.is_in
        world.now_s += 0.005
        pace.step(int(n_events))


def paced(world: World, slowdown: float, said: list[str], max_slowdown: float = 1.2) -> Pace:
    """A budget of 20 % for a target of one process that takes no time."""
    budget = Budget(max_slowdown, price(slowdown))
    return Pace(budget, world, lambda: [-1], said.append, lambda: world.now_s)


@pytest.mark.parametrize("slowdown", [1.3, 2, 4, 50])
@pytest.mark.parametrize("takes_s", [0.0, 0.2, 1.0])
def test_the_budget_is_kept_however_long_probes_take(slowdown: float, takes_s: float) -> None:
    """What the target loses while probes are in, and while they come and go, is below a sixth."""
    world = World(takes_s)
    run(world, paced(world, slowdown, []), 200, lambda _: 1e5)
    lost = world.share() * (1 - 1 / slowdown)
    assert 0.05 < lost < 1 - 1 / 1.2


def test_what_costs_less_than_the_budget_is_recorded_as_a_whole() -> None:
    """Probes stay in."""
    world = World(0.1)
    pace = paced(world, 1.1, said := [])
    run(world, pace, 20, lambda _: 5e4)
    assert (world.share(), pace.facts(), said) == (1, {}, [])


def test_a_burst_is_recorded_as_a_whole() -> None:
    """A quiet target may be busy for a moment: nothing of it is missed."""
    world = World(0.1)
    pace = paced(world, 1.0, said := [])
    run(world, pace, 20, lambda now_s: 2e5 if 5 < now_s < 6 else 0)
    assert (world.share(), pace.is_in_windows, said) == (1, False, [])


def test_a_target_that_becomes_busy_is_recorded_in_windows_from_then_on() -> None:
    """It says so once, and the recording has the windows."""
    world = World(0.1)
    pace = paced(world, 1.0, said := [])
    run(world, pace, 30, lambda now_s: 3e5 if now_s > 5 else 0)
    [sentence] = said
    assert sentence.endswith("recording in windows to keep it below 20 %")
    assert world.share() < 0.7
    assert len(pace.facts()["windows"]) > 2
