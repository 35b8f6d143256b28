"""Leak, cache or start-up? Programs whose truth is known, each on a quiet and on a starved machine."""

from collections import Counter, deque
from collections.abc import Callable

import pytest
from services.streams import Program, courses

from gadgetops.questions.leaks.rules import Kind
from gadgetops.questions.leaks.verdict import Trend, verdict

N_REQUESTS = 1200
SEEDS = range(5)
MACHINES = {"quiet": (1.0, 0.0), "slow": (3.0, 0.0), "starved": (1.0, 0.05)}
Body = Callable[[Program], None]


def request_leak(program: Program, n_requests: int = N_REQUESTS) -> None:
    """Lose one block in every request."""
    for _ in range(n_requests):
        program.churn(5)
        program.allocate("x", 160)
        program.nap(0.01)


def lru_cache(program: Program, capacity: int = 250) -> None:
    """Keep the latest blocks, of different sizes."""
    entries: deque[int] = deque()
    for _ in range(N_REQUESTS):
        program.churn(5)
        if len(entries) >= capacity:
            program.release(entries.popleft())
        entries.append(program.allocate("x", program.random.randint(300, 500)))
        program.nap(0.01)


def random_replacement(program: Program) -> None:
    """Keep as many blocks, and replace any of them."""
    entries: list[int] = []
    for _ in range(N_REQUESTS):
        program.churn(5)
        if len(entries) >= 250:
            program.release(entries.pop(program.random.randrange(len(entries))))
        entries.append(program.allocate("x", program.random.randint(300, 500)))
        program.nap(0.01)


def bounded(program: Program) -> None:
    """Fill a table that is full after a third, and is never emptied."""
    for number in range(N_REQUESTS):
        program.churn(5)
        if number < N_REQUESTS // 3:
            program.allocate("x", 300)
        program.nap(0.01)


def growing_list(factor: float) -> Body:
    """Return a program whose list is moved to a larger block whenever it is full."""

    def body(program: Program) -> None:
        block, capacity = None, 0
        for number in range(N_REQUESTS):
            program.churn(5)
            if number >= capacity:
                capacity = max(int(capacity * factor), capacity + 1)
                block = program.reallocate("x", block, 16 * capacity)
            program.nap(0.01)

    return body


def lumps(program: Program) -> None:
    """Load a hundred blocks in every two-hundredth request."""
    for number in range(N_REQUESTS):
        program.churn(5)
        for _ in range(100 if number % 200 == 150 else 0):
            program.allocate("x", 1000)
        program.nap(0.01)


def late(program: Program) -> None:
    """Begin to leak after two thirds."""
    for number in range(N_REQUESTS):
        program.churn(5)
        if number > 2 * N_REQUESTS // 3 and number % 5 == 0:
            program.allocate("x", 200)
        program.nap(0.01)


def one_a_second(program: Program) -> None:
    """Lose a block a second, and do nothing else."""
    for _ in range(20):
        program.allocate("x", 96)
        program.nap(1)


def one_a_second_after_start_up(program: Program) -> None:
    """Start as an interpreter does, with ten thousand times as many events as come after it."""
    program.start_up()
    one_a_second(program)


def traffic_that_ends(program: Program) -> None:
    """Leak while there are requests, for less than half of the time."""
    request_leak(program, 500)
    for _ in range(25):
        program.churn(1)
        program.nap(0.5)


def pause(program: Program) -> None:
    """Be stopped for most of the time."""
    request_leak(program, 500)
    program.nap(40)
    request_leak(program, 700)


def start_up_with_a_pause(program: Program) -> None:
    """Be stopped while tables are loaded."""
    for number in range(N_REQUESTS):
        if number < 100:
            program.allocate("x", 512)
        if number == 50:
            program.nap(30)
        program.churn(5)
        program.nap(0.01)


def arena(program: Program) -> None:
    """Take another chunk whenever the last one is used up."""
    used = 0
    for _ in range(N_REQUESTS):
        program.churn(5)
        used += program.random.randint(10, 2500)
        if used > 65536:
            program.allocate("x", 65536)
            used = 0
        program.nap(0.01)


def start_up(program: Program) -> None:
    """Load tables, then work."""
    for number in range(N_REQUESTS):
        if number < N_REQUESTS // 20:
            program.allocate("x", 512)
        program.churn(5)
        program.nap(0.01)


def periodic(program: Program) -> None:
    """Flush a buffer after different numbers of requests."""
    batch: list[int] = []
    size = 250
    for _ in range(N_REQUESTS + 30):
        batch.append(program.allocate("x", 220))
        if len(batch) >= size:
            while batch:
                program.release(batch.pop())
            size = program.random.randint(150, 350)
        program.churn(3)
        program.nap(0.01)


def rare_leak(program: Program) -> None:
    """Lose one of three thousand blocks of one place."""
    count = 0
    for _ in range(N_REQUESTS):
        for _ in range(60):
            count += 1
            block = program.allocate("x", 200)
            if count % 3000:
                program.release(block)
        program.nap(0.01)


def sessions(program: Program) -> None:
    """Release each block after two hundred requests."""
    open_sessions: deque[tuple[int, int]] = deque()
    for number in range(N_REQUESTS):
        program.churn(3)
        open_sessions.append((number + 200, program.allocate("x", 300)))
        while open_sessions[0][0] <= number:
            program.release(open_sessions.popleft()[1])
        program.nap(0.01)


def filling(program: Program) -> None:
    """Keep what is asked for the first time, of a thousand things."""
    known: set[int] = set()
    for _ in range(N_REQUESTS):
        program.churn(2)
        for _ in range(2):
            key = program.random.randint(1, 800)
            if key not in known:
                known.add(key)
                program.allocate("x")
        program.nap(0.01)


def churn(program: Program) -> None:
    """Allocate and release, one as likely as the other."""
    live: list[int] = [program.allocate("x") for _ in range(20)]
    for _ in range(2 * N_REQUESTS):
        program.churn(1)
        if not live or program.random.random() < 0.5:
            live.append(program.allocate("x", program.random.choice([16, 64, 500])))
        else:
            program.release(live.pop(program.random.randrange(len(live))))
        program.nap(0.005)


def configured_to_leak(program: Program) -> None:
    """Lose one block in ten from the middle on."""
    for number in range(N_REQUESTS):
        for _ in range(5):
            block = program.allocate("x")
            if number < N_REQUESTS // 2 or program.random.random() < 0.9:
                program.release(block)
        program.nap(0.01)


TRUTH: list[tuple[Body, set[Kind]]] = [
    (request_leak, {"growing"}),
    (growing_list(2), {"growing"}),
    (growing_list(1.5), {"growing"}),
    (growing_list(1.125), {"growing"}),
    (lumps, {"growing"}),
    (late, {"growing"}),
    (one_a_second, {"growing"}),
    (one_a_second_after_start_up, {"growing"}),
    (traffic_that_ends, {"growing"}),
    (pause, {"growing"}),
    (arena, {"growing"}),
    (rare_leak, {"growing"}),
    (configured_to_leak, {"growing"}),
    (filling, {"levelling"}),
    (lru_cache, {"plateau"}),
    (random_replacement, {"plateau"}),
    (sessions, {"plateau"}),
    (bounded, {"plateau"}),
    (start_up, {"startup"}),
    (start_up_with_a_pause, {"startup", "plateau"}),
    (periodic, {"recent", "plateau", "unclear"}),
    (churn, {"recent", "plateau", "unclear"}),
]
NAMES = [body.__qualname__.partition(".")[0] for body, _ in TRUTH]


def trends(body: Body, machine: str) -> list[Trend]:
    """Return the verdict on stack x of the program, seed by seed; none where nothing is left of it."""
    found = []
    for seed in SEEDS:
        program = Program(seed, *MACHINES[machine])
        body(program)
        activity, of_stack = courses(program.events)
        if "x" in of_stack:
            found.append(verdict(of_stack["x"], activity))
    return found


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("body", "right"), TRUTH, ids=NAMES)
def test_the_verdict_follows_what_the_program_does(body: Body, right: set[Kind], machine: str) -> None:
    """Whatever the seed, and whatever the machine does besides."""
    found = Counter(trend.kind for trend in trends(body, machine))
    assert {*found} <= right, found


def test_start_up_is_not_growth() -> None:
    """However many events it takes, and however few come after it."""
    program = Program(1)
    one_a_second_after_start_up(program)
    activity, of_stack = courses(program.events)
    kinds = Counter(verdict(course, activity).kind for name, course in of_stack.items() if name != "x")
    assert kinds["startup"] >= 0.9 * kinds.total(), kinds
    assert kinds["growing"] == 0


def test_words_fit_what_is_known() -> None:
    """A leak whose traffic ended says so; a cache is named only where blocks are replaced."""
    [ended, *_] = trends(traffic_that_ends, "quiet")
    assert "nothing for the last 12" in ended.reason
    assert "cache" not in trends(bounded, "quiet")[0].sentence
    assert "nothing for the last" in trends(bounded, "quiet")[0].reason
    assert "like a full cache" in trends(lru_cache, "quiet")[0].sentence


def test_too_few_steps_say_how_much_longer_to_record() -> None:
    """Two lumps may be anything."""
    program = Program()
    for number in range(600):
        program.churn(5)
        for _ in range(50 if number in (200, 500) else 0):
            program.allocate("x", 1000)
        program.nap(0.01)
    activity, of_stack = courses(program.events)
    found = verdict(of_stack["x"], activity)
    assert (found.kind, "steps; record for" in found.reason) == ("unclear", True)
    assert found.record_for_ns is not None
    assert 1e9 < found.record_for_ns < 20e9


def test_a_leak_has_its_rate() -> None:
    """160 bytes a hundred times a second, and a little for the program's own time."""
    [found, *_] = trends(request_leak, "quiet")
    assert 15_000 < found.bytes_per_s < 16_100
