"""What counted calls of threads cost, with probes whose cost is known."""

import pytest

from gadgetops.trace.cost.call_count import Costs, ThreadCalls
from gadgetops.trace.cost.price import Price, price, said_slowdown

COSTS = Costs(entry_s=0.5e-6, return_s=0.8e-6)


def thread(calls: int, running_s: float, waiting_s: float = 0.0, tid: int = 1) -> ThreadCalls:
    """A thread that was watched for a tenth of a second."""
    return ThreadCalls(1, tid, calls, 0.1, running_s, waiting_s)


def priced(*threads: ThreadCalls, collect_stacks: bool = True) -> Price:
    """Their price."""
    return price(threads, COSTS, collect_stacks=collect_stacks)


def test_the_traps_of_counting_are_taken_off_again() -> None:
    """100,000 calls took half of the 100 ms that the thread ran: without probes it makes 2 M a second."""
    found = priced(thread(100_000, 0.1))
    assert found.calls_per_running_s == pytest.approx(2e6)
    assert found.slowdown == pytest.approx(1 + 2 * found.call_s * 1e6)


def test_a_thread_that_waits_for_a_processor_is_slowed_as_if_it_had_one() -> None:
    """What a busy machine takes away is no time between calls."""
    alone, crowded = priced(thread(20_000, 0.1)), priced(thread(10_000, 0.05, waiting_s=0.05))
    assert crowded.slowdown == pytest.approx(alone.slowdown)


def test_a_thread_that_sleeps_is_slowed_less() -> None:
    """Only what it does takes longer, not what it waits for."""
    busy, sleepy = priced(thread(10_000, 0.1)), priced(thread(1_000, 0.01))
    assert 1 < sleepy.slowdown < busy.slowdown


def test_the_busiest_thread_counts_and_not_an_idle_one() -> None:
    """Threads that call nothing make no program faster."""
    alone = priced(thread(20_000, 0.1))
    assert priced(thread(20_000, 0.1), thread(5, 0.00001, tid=2)).slowdown == pytest.approx(alone.slowdown)


def test_stacks_cost_more_than_none() -> None:
    """The same calls are cheaper to record without stacks."""
    calls = thread(20_000, 0.1)
    assert priced(calls, collect_stacks=False).slowdown < priced(calls).slowdown


def test_nothing_called_costs_nothing() -> None:
    """No call, no price."""
    assert priced().sentence == "0 calls a second: tracing would slow it by less than 1 %"


@pytest.mark.parametrize(
    ("slowdown", "words"), [(1.15, "15 %"), (3.4, "3.4 times"), (9.96, "10 times"), (470.0, "470 times")]
)
def test_a_slowdown_is_said_in_percent_below_two(slowdown: float, words: str) -> None:
    """As a person would say it."""
    assert said_slowdown(slowdown) == words
