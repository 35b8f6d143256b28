"""
Leak, cache or something else? More programs whose truth is known, on a quiet and on a starved machine.

Those of `test_verdict` are the simplest of their kind; these release, flush, replace, queue and fill.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterator

import pytest
from services.streams import Program, courses

from gadgetops.questions.leaks.rule_table import RULES
from gadgetops.questions.leaks.rules import Kind
from gadgetops.questions.leaks.verdict import verdict

N_REQUESTS = 1200
SEEDS = range(2)
MACHINES = {"quiet": (1.0, 0.0), "starved": (1.0, 0.05)}
Body = Callable[[Program], None]


def requests(program: Program, n_requests: int = N_REQUESTS) -> Iterator[int]:
    """Yield the number of each request; each churns, and takes a hundredth of a second."""
    for number in range(n_requests):
        program.churn(5)
        yield number
        program.nap(0.01)


def error_path(program: Program) -> None:
    """Keep connections for a while, and forget one in twenty when it is closed."""
    live: deque[int] = deque()
    for _ in requests(program):
        live.append(program.allocate("x", 300))
        if len(live) > 20:
            block = live.popleft()
            if program.random.random() > 0.05:
                program.release(block)


def fills_then_leaks(program: Program) -> None:
    """Load tables for a fifth of the time, then lose one block in ten requests."""
    for number in requests(program):
        for _ in range(2 if number < N_REQUESTS // 5 else number % 10 == 0):
            program.allocate("x", 200)


def flushed_but_for_some(program: Program) -> None:
    """Flush a buffer, and forget six blocks of it each time."""
    batch: list[int] = []
    for _ in requests(program):
        batch.append(program.allocate("x", 220))
        if len(batch) >= 130:
            for block in batch[6:]:
                program.release(block)
            batch = []


def reloads(program: Program) -> None:
    """Load a configuration anew now and then, and forget ten blocks of the old one."""
    loaded: list[int] = []
    for number in requests(program):
        if number % 150 == 0:
            anew = [program.allocate("x", 500) for _ in range(200)]
            for block in loaded[10:]:
                program.release(block)
            loaded = anew


def backlog(program: Program) -> None:
    """Put four into a queue from which three are taken."""
    queue: deque[int] = deque()
    for _ in requests(program):
        queue.extend(program.allocate("x", 200) for _ in range(4))
        for _ in range(3):
            program.release(queue.popleft())


def cache_and_leak(program: Program) -> None:
    """Keep the latest 250, and forget one in twenty."""
    entries: deque[int] = deque()
    for number in requests(program):
        if len(entries) >= 250:
            program.release(entries.popleft())
        block = program.allocate("x", 300)
        if number % 20:
            entries.append(block)


def list_of_lists(program: Program) -> None:
    """Grow a list by an eighth, as Python does."""
    block, capacity = None, 0
    for number in requests(program):
        if number >= capacity:
            capacity = number + (number >> 3) + 6
            block = program.reallocate("x", block, 8 * capacity)


def traffic_of_two_kinds(program: Program) -> None:
    """Leak in every request of half of the time, in turns."""
    for number in requests(program):
        if (number // 200) % 2:
            program.allocate("x", 300)


def cycles(program: Program) -> None:
    """Lose a node in every fifth request, of a list that a collector empties now and then."""
    nodes: list[int] = []
    for number in requests(program):
        nodes.append(program.allocate("x", 300))
        if number % 5 == 0:
            program.allocate("x", 300)
        if len(nodes) >= 100:
            for node in nodes:
                program.release(node)
            nodes = []


def late_cache(share: float) -> Body:
    """Return a program whose cache is full when *share* of the time has passed."""

    def body(program: Program) -> None:
        entries: deque[int] = deque()
        for _ in requests(program):
            if len(entries) >= share * N_REQUESTS:
                program.release(entries.popleft())
            entries.append(program.allocate("x", program.random.randint(300, 500)))

    return body


def slow_random_cache(program: Program) -> None:
    """Keep as many as are asked for in half of the time, and replace any of them."""
    entries: list[int] = []
    for _ in requests(program):
        if len(entries) >= N_REQUESTS // 2:
            program.release(entries.pop(program.random.randrange(len(entries))))
        entries.append(program.allocate("x", 300))


def stops(program: Program) -> None:
    """Grow for most of the time, then no longer, though the traffic goes on."""
    for number in requests(program):
        if number < 0.7 * N_REQUESTS:
            program.allocate("x", 300)


def thread_buffers(program: Program) -> None:
    """Start eight threads when there is work for them, each with a buffer."""
    starts = {program.random.randrange(N_REQUESTS // 3) for _ in range(8)}
    for number in requests(program):
        if number in starts:
            program.allocate("x", 65536)


def pool(program: Program) -> None:
    """Take a pool at once, after a quarter of the time."""
    for number in requests(program):
        if number == 300:
            program.allocate("x", 1 << 24)


def fragments(program: Program) -> None:
    """Keep three hundred blocks of very different sizes, and replace any of them."""
    live: list[int] = []
    for _ in requests(program):
        for _ in range(3):
            live.append(program.allocate("x", program.random.choice([16, 32, 100, 1000, 5000])))
            if len(live) > 300:
                program.release(live.pop(program.random.randrange(len(live))))


def tide(program: Program) -> None:
    """Have more and then less traffic, each request of which needs memory for a while."""
    in_use: deque[tuple[int, int]] = deque()
    for number in requests(program):
        for _ in range(int(10 * math.sin(math.pi * number / N_REQUESTS))):
            in_use.append((number, program.allocate("x", 300)))
        while in_use and in_use[0][0] < number - 60:
            program.release(in_use.popleft()[1])


def more_and_more_traffic(program: Program) -> None:
    """Need memory for a while, for ever more requests at a time."""
    in_use: deque[tuple[int, int]] = deque()
    for number in requests(program):
        for _ in range(number // 100):
            in_use.append((number, program.allocate("x", 300)))
        while in_use and in_use[0][0] < number - 60:
            program.release(in_use.popleft()[1])


def two_buffers(program: Program) -> None:
    """Replace a buffer now and then."""
    block = None
    for number in requests(program):
        if number % 100 == 0:
            block = program.reallocate("x", block, 50000)


def collected(program: Program) -> None:
    """Have what is unreachable collected now and then."""
    nodes: list[int] = []
    for _ in requests(program):
        nodes.append(program.allocate("x", 300))
        if len(nodes) >= program.random.randint(280, 400):
            for node in nodes:
                program.release(node)
            nodes = []


NO_LEAK: set[Kind | None] = {"plateau", "recent", "unclear", "startup", None}
TRUTH: list[tuple[Body, set[Kind | None]]] = [
    (error_path, {"growing"}),
    (fills_then_leaks, {"growing"}),
    (flushed_but_for_some, {"growing"}),
    (reloads, {"growing"}),
    (backlog, {"growing"}),
    (cache_and_leak, {"growing"}),
    (list_of_lists, {"growing"}),
    (traffic_of_two_kinds, {"growing"}),
    (cycles, {"growing"}),
    (late_cache(0.6), {"plateau"}),
    (late_cache(0.8), {"plateau"}),
    (slow_random_cache, {"plateau"}),
    (stops, {"plateau"}),
    (thread_buffers, {"plateau", "startup"}),
    (pool, {"plateau"}),
    (fragments, NO_LEAK),
    (tide, NO_LEAK),
    (two_buffers, NO_LEAK),
    (collected, NO_LEAK),
]
NAMES = [body.__qualname__.partition(".")[0] for body, _ in TRUTH]


def kinds(body: Body, machine: str) -> Counter[Kind | None]:
    """Return the verdicts on stack x of the program, seed by seed; None where nothing is left of it."""
    found: Counter[Kind | None] = Counter()
    for seed in SEEDS:
        program = Program(seed, *MACHINES[machine])
        body(program)
        activity, of_stack = courses(program.events)
        found[verdict(of_stack["x"], activity).kind if "x" in of_stack else None] += 1
    return found


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("body", "right"), TRUTH, ids=NAMES)
def test_the_verdict_is_what_a_person_would_say(body: Body, right: set[Kind | None], machine: str) -> None:
    """Whatever the seed, and whatever the machine does besides."""
    found = kinds(body, machine)
    assert {*found} <= right, found


def test_what_is_in_use_for_a_while_is_no_leak_when_traffic_rises() -> None:
    """All that is older was released, and blocks live no longer than before."""
    assert {*kinds(more_and_more_traffic, "quiet")} == {"recent"}


def test_a_full_cache_says_what_was_seen() -> None:
    """Which began late, so that live bytes over the last half say nothing."""
    program = Program()
    late_cache(0.8)(program)
    activity, of_stack = courses(program.events)
    found = verdict(of_stack["x"], activity)
    assert "as much released as allocated for the last" in found.reason


def test_a_rule_finds_what_its_table_says() -> None:
    """Of any program, whether or not an earlier rule holds."""
    for body, _ in TRUTH:
        program = Program(1)
        body(program)
        activity, of_stack = courses(program.events)
        for course in of_stack.values():
            for rule in RULES:
                finding = rule.find(course, activity) if course.survivors else None
                assert finding is None or finding.kind in rule.kinds, (rule.holds, finding)


@pytest.mark.parametrize("forgotten", [0, 2, 6])
def test_few_flushes_tell_as_much_as_many(forgotten: int) -> None:
    """However many of them fall into each quarter of the recording."""
    found: Counter[Kind | None] = Counter()
    for n_requests in range(800, 1300, 80):
        program = Program()
        batch: list[int] = []
        for _ in requests(program, n_requests):
            batch.append(program.allocate("x", 220))
            if len(batch) >= 130:
                for block in batch[forgotten:]:
                    program.release(block)
                batch = []
        activity, of_stack = courses(program.events)
        found[verdict(of_stack["x"], activity).kind if "x" in of_stack else None] += 1
    assert {*found} <= ({"growing"} if forgotten else NO_LEAK), found


def test_a_program_that_only_starts_is_not_accused() -> None:
    """What it loads for a while is doubtful; what it loses in everything that it does is not."""
    program = Program()
    for number in range(400):
        program.churn(3, f"step {number // 4}")
        if 150 < number < 350 and number % 2:
            program.allocate("table", 200)
        program.allocate("lost", 100)
        program.nap(0.005)
    activity, of_stack = courses(program.events)
    assert not activity.is_settled
    table = verdict(of_stack["table"], activity)
    assert (table.kind, verdict(of_stack["lost"], activity).kind) == ("unclear", "growing")
    assert "did ever new things; record for" in table.reason
