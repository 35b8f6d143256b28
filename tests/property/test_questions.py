"""Laws of the answers, against models that walk the pairs one by one."""

import math
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gadgetops.pairing.pairs import paired
from gadgetops.questions import high_water
from gadgetops.questions.asking.filters import ALL, GROUPINGS, Filters
from gadgetops.questions.asking.question import Amount
from gadgetops.questions.faults import KINDS, faults
from gadgetops.questions.lifetimes import lifetimes
from gadgetops.questions.peak import peak
from gadgetops.questions.sizes import sizes
from gadgetops.questions.slots import highest_moments
from gadgetops.questions.slots.slot_sums import SlotSums, slot_sums
from gadgetops.questions.summary import summary
from gadgetops.questions.temporary import temporary
from gadgetops.questions.timeline import timeline
from gadgetops.questions.top import top, totals
from gadgetops.recording.reader import Recording, open_recording
from gadgetops.recording.schema import FrameRow, ModuleRow, ProcessRow, StackRow, SymbolRow
from gadgetops.recording.writer import RecordingWriter

OPERATIONS = ["malloc", "free", "calloc", "realloc", "realloc_free", "mmap", "munmap"]
PAGE = 4096
STEP_NS = 1000


class Event(NamedTuple):
    """One event; addresses are few, so that they meet."""

    operation: str
    address: int
    size: int
    stack: int
    tid: int
    pid: int
    wait: int


EVENTS = st.lists(
    st.builds(
        Event,
        st.sampled_from(["malloc", "malloc", "free", "free", *OPERATIONS]),
        st.sampled_from([0, PAGE, 2 * PAGE, 3 * PAGE]),
        st.sampled_from([0, 1, 24, PAGE, PAGE + 1, 3 * PAGE, 2**63 - 1]),
        st.sampled_from([-2, -1, 0, 1, 2, 3]),
        st.integers(1, 2),
        st.integers(1, 2),
        st.sampled_from([0, 1, 1, 5]),
    ),
    max_size=40,
)
FILTERS = st.builds(
    Filters,
    pids=st.sampled_from([(), (1,), (1, 2), (7,)]),
    tids=st.sampled_from([(), (2,)]),
    functions=st.sampled_from([(), ("inner",), ("ma?n*",), ("nothing",)]),
    modules=st.sampled_from([(), ("lib",), ("program",)]),
    since_ns=st.sampled_from([0, 5 * STEP_NS]),
    until_ns=st.sampled_from([None, 30 * STEP_NS]),
    min_size_bytes=st.sampled_from([0, 2]),
    max_size_bytes=st.sampled_from([None, PAGE]),
)
FUNCTIONS = {0: ("inner", "/bin/program"), 1: ("main", "/bin/program"), 2: (None, "/lib/liba.so")}
STACKS = {0: [0, 1], 1: [2, 1], 2: [0], 3: [9, 1]}
"""Frame 9 is frame 0, loaded at another address: stacks 0 and 3 are one."""


def written(folder: str, events: list[Event], exits: bool) -> Recording:
    """Write *events*; process 2 ends after them if it *exits*."""
    writer = RecordingWriter.create(Path(folder) / "r", {})
    writer.write_modules(
        [
            ModuleRow(1, 1, "/bin/program", None, 0x1000, 0x9000, 0, 0),
            ModuleRow(2, 1, "/lib/liba.so", None, 0x10000, 0x90000, 0, 0),
        ]
    )
    writer.write_frames(
        FrameRow(frame, 0x2000 + frame, 2 if frame == 2 else 1, 0x10) for frame in (0, 1, 2, 9)
    )
    writer.write_symbols(
        [
            SymbolRow(0, 0, "inner", "a.c", 1),
            SymbolRow(1, 0, "main", "a.c", 2),
            SymbolRow(9, 0, "inner", "a.c", 1),
        ]
    )
    writer.write_stacks(StackRow(*stack) for stack in STACKS.items())
    times = np.cumsum([event.wait for event in events], dtype=np.int64) * STEP_NS
    befell = [ProcessRow(0, pid, "start", None, f"p{pid}", "box" if pid == 2 else None) for pid in (1, 2)]
    if exits and events:
        befell.append(ProcessRow(int(times[-1]), 2, "exit", None, "p2", "box"))
    writer.write_processes(befell)
    columns = {
        "timestamp_ns": times,
        "pid": np.array([event.pid for event in events], np.int64),
        "tid": np.array([10 * event.pid + event.tid for event in events], np.int64),
        "operation": np.array([OPERATIONS.index(event.operation) for event in events], np.int64),
        "address": np.array([event.address for event in events], np.uint64),
        "size_bytes": np.array([event.size for event in events], np.uint64),
        "stack_id": np.array([event.stack for event in events], np.int64),
        "lost": np.zeros(len(events), np.int64),
    }
    writer.write_events(columns, OPERATIONS)
    writer.close(counters={"lost": 0}, end="complete")
    return open_recording(writer.path)


class Pair(NamedTuple):
    """A row of `allocations`."""

    seq: int
    timestamp_ns: int
    pid: int
    tid: int
    operation: str
    address: int
    size: int
    stack: int
    released_seq: int | None
    released_ns: int | None
    released_tid: int | None
    released_operation: str | None
    released_bytes: int


class Model:
    """All answers, from the pairs of a recording, one row after the other."""

    def __init__(self, recording: Recording, filters: Filters) -> None:
        with paired(recording) as connection:
            self.pairs = [
                Pair(*row) for row in connection.execute("from allocations order by seq").fetchall()
            ]
            self.parts = connection.execute("from partial_releases").fetchall()
            self.unmatched = connection.execute("from unmatched_releases").fetchall()
            [(first, last)] = connection.execute(
                "select coalesce(min(timestamp_ns), 0), coalesce(max(timestamp_ns), 0) from events"
            ).fetchall()
        self.first, self.last = first, last
        self.filters = filters
        self.chosen = [pair for pair in self.pairs if self.is_chosen(pair)]

    def is_chosen(self, pair: Pair) -> bool:
        """Return whether the filters choose it, each by itself."""
        f, frames = self.filters, STACKS.get(pair.stack, [])
        names = [("inner" if frame == 9 else FUNCTIONS[frame][0]) for frame in frames]
        modules = ["/bin/program" if frame == 9 else FUNCTIONS[frame][1] for frame in frames]
        wanted = {"inner": "inner", "ma?n*": "main"}
        since = pair.timestamp_ns - self.first
        return (
            (not f.pids or pair.pid in f.pids)
            and (not f.tids or pair.tid in f.tids)
            and (not f.functions or wanted.get(f.functions[0]) in [name for name in names if name])
            and (not f.modules or any(f.modules[0] in module for module in modules))
            and f.since_ns <= since < (math.inf if f.until_ns is None else f.until_ns)
            and f.min_size_bytes <= pair.size <= (f.max_size_bytes or math.inf)
        )

    def changes(self) -> list[tuple[int, int, int, int, Pair]]:
        """Return time, number, bytes, count of each change of live memory, in order."""
        found = []
        parts: dict[int, int] = defaultdict(int)
        seqs = {pair.seq: pair for pair in self.chosen}
        for allocation_seq, seq, timestamp_ns, _, released in self.parts:
            if allocation_seq in seqs:
                parts[allocation_seq] += released
                found.append((timestamp_ns, seq, -released, 0, seqs[allocation_seq]))
        for pair in self.chosen:
            found.append((pair.timestamp_ns, pair.seq, pair.size, 1, pair))
            if pair.released_ns is not None:
                seq = math.inf if pair.released_seq is None else pair.released_seq
                found.append((pair.released_ns, seq, parts[pair.seq] - pair.size, -1, pair))
        return sorted(found, key=lambda change: change[:3])

    def moments(self) -> Iterator[tuple[int, int]]:
        """Yield time and live bytes after each change."""
        live = 0
        for timestamp_ns, _, size, _, _ in self.changes():
            live += size
            yield timestamp_ns, live

    def is_temporary(self, pair: Pair, others: int) -> bool:
        """Count the thread's allocations in between."""
        if pair.released_seq is None or pair.released_operation == "lost" or pair.released_tid != pair.tid:
            return False
        between = [
            other
            for other in self.pairs
            if (other.pid, other.tid) == (pair.pid, pair.tid) and pair.seq < other.seq < pair.released_seq
        ]
        return len(between) <= others


def amount(pairs: list[Pair]) -> Amount:
    """Return what they come to."""
    return Amount(sum(pair.size for pair in pairs), len(pairs))


def live(model: "Model", pairs: list[Pair]) -> Amount:
    """Return what of them the program never released."""
    left = [pair for pair in pairs if pair.released_operation in (None, "exit")]
    parts = sum(part[-1] for part in model.parts for pair in left if part[0] == pair.seq)
    return Amount(sum(pair.size for pair in left) - parts, len(left))


KEYS: dict[str, Any] = {
    "stack": lambda pair: 0 if pair.stack == 3 else pair.stack,
    "function": lambda pair: {0: "i", 2: "i", 3: "i"}.get(pair.stack, pair.stack),
    "module": lambda pair: {0: "p", 2: "p", 3: "p"}.get(pair.stack, pair.stack),
    "thread": lambda pair: (pair.pid, pair.tid),
    "process": lambda pair: pair.pid,
    "container": lambda pair: pair.pid == 2,
}


def by_key(pairs: list[Pair], group_by: str) -> list[list[Pair]]:
    """Return the pairs by group."""
    found: dict[Any, list[Pair]] = defaultdict(list)
    for pair in pairs:
        found[KEYS[group_by](pair)].append(pair)
    return [*found.values()]


OVER_ITSELF = [Event("mmap", address, 1, 1, 1, 1, 0) for address in (3 * PAGE, 2 * PAGE, 3 * PAGE)]
"""Three mappings by one thread, the last over the first."""


@given(EVENTS, FILTERS | st.just(ALL), st.booleans(), st.sampled_from(GROUPINGS))
@example(events=OVER_ITSELF, filters=ALL, exits=False, group_by="stack")
@settings(max_examples=8, deadline=None)
def test_each_answer_is_its_models(events: list[Event], filters: Filters, exits: bool, group_by: Any) -> None:
    """Totals, peak, temporary allocations, sizes and lifetimes of any events, filters and groups."""
    with tempfile.TemporaryDirectory() as folder:
        recording = written(folder, events, exits)
        model = Model(recording, filters)
        groups = by_key(model.chosen, group_by)

        _, found = totals(recording, filters, group_by)
        assert sorted((each.allocated, each.live) for each in _ordered(found)) == sorted(
            (_pair(amount(group)), _pair(live(model, group))) for group in groups
        )

        short = temporary(recording, 1, filters, group_by)
        assert sorted((_pair(row.temporary), _pair(row.allocated)) for row in short.rows) == sorted(
            (_pair(amount([pair for pair in group if model.is_temporary(pair, 1)])), _pair(amount(group)))
            for group in groups
        )

        highest = peak(recording, filters, group_by)
        moments = [*model.moments()]
        assert highest.live.size_bytes == max((each for _, each in moments), default=0)
        first = next((at for at, each in moments if each == highest.live.size_bytes), None)
        assert highest.at_ns == (None if first is None else first - model.first)
        assert sum(row.live.size_bytes for row in highest.rows) == highest.live.size_bytes

        lengths = [
            max(0, pair.released_ns - pair.timestamp_ns)
            for pair in model.chosen
            if pair.released_ns is not None
            and pair.released_seq is not None
            and pair.released_operation != "lost"
        ]
        total = lifetimes(recording, filters, group_by).total
        assert (total.released_count, total.other_count) == (len(lengths), len(model.chosen) - len(lengths))
        assert [total.p50_ns, total.p90_ns, total.p99_ns, total.max_ns] == [
            _percentile(lengths, part) for part in (0.5, 0.9, 0.99, 1)
        ]


class _Both(NamedTuple):
    allocated: tuple[int, int]
    live: tuple[int, int]


def _ordered(found: Any) -> list[_Both]:
    return [_Both(_pair(each.allocated), _pair(each.live)) for each in found]


def _pair(found: Amount) -> tuple[int, int]:
    return found.size_bytes, found.count


def _percentile(lengths: list[int], part: float) -> int | None:
    """Return the shortest length that this part of them does not exceed."""
    return sorted(lengths)[max(0, math.ceil(part * len(lengths)) - 1)] if lengths else None


@given(EVENTS, FILTERS | st.just(ALL), st.booleans(), st.integers(1, 9))
@settings(max_examples=8, deadline=None)
def test_peak_is_not_below_what_is_live_at_any_moment(
    events: list[Event], filters: Filters, exits: bool, buckets: int
) -> None:
    """Nor below any bucket of the timeline, whose last is what is live at the end; sizes, summary agree."""
    with tempfile.TemporaryDirectory() as folder:
        recording = written(folder, events, exits)
        model = Model(recording, filters)
        over_time = timeline(recording, buckets, filters, "stack")
        whole = summary(recording, filters)
        histogram = sizes(recording, filters)
    moments = [*model.moments()]
    begin = model.first + over_time.start_ns
    assert over_time.total.live_bytes == tuple(
        next(
            (
                each
                for at, each in reversed(moments)
                if bucket == buckets - 1 or at < begin + over_time.width_ns * (bucket + 1)
            ),
            0,
        )
        for bucket in range(buckets)
    )
    assert whole.peak.size_bytes >= max(over_time.total.live_bytes)
    assert over_time.total.live_count[-1] == sum(pair.released_ns is None for pair in model.chosen)
    assert sum(over_time.total.allocated_count) == len(model.chosen)
    assert (whole.allocated, whole.live) == (amount(model.chosen), live(model, model.chosen))
    assert whole.allocated == Amount(*map(sum, zip(_pair(whole.released), _pair(whole.live), strict=True)))
    assert histogram.allocated == whole.allocated
    for bucket in [bucket for group in histogram.groups for bucket in group.buckets]:
        inside = [pair for pair in model.chosen if bucket.min_bytes <= pair.size <= bucket.max_bytes]
        assert (bucket.allocated, bucket.live) == (amount(inside), live(model, inside))


@given(EVENTS, FILTERS | st.just(ALL), st.booleans(), st.integers(1, 5), st.integers(2, 5))
@settings(max_examples=8, deadline=None)
def test_peak_is_the_same_in_small_parts(
    events: list[Event], filters: Filters, exits: bool, most_changes: int, n_slots: int
) -> None:
    """However little is looked at at once."""
    with tempfile.TemporaryDirectory() as folder:
        recording = written(folder, events, exits)
        whole = peak(recording, filters, "stack")
        with mock.patch.multiple(high_water, _MOST_CHANGES=most_changes, _N_SLOTS=n_slots):
            assert peak(recording, filters, "stack") == whole


@given(EVENTS, FILTERS | st.just(ALL), st.booleans(), st.integers(0, 99), st.integers(1, 99))
@settings(max_examples=12, deadline=None)
def test_a_peak_between_two_moments_has_all_that_was_live(
    events: list[Event], filters: Filters, exits: bool, start: int, length: int
) -> None:
    """Also what was allocated before; where less and less is live, it is where the time begins."""
    with tempfile.TemporaryDirectory() as folder:
        recording = written(folder, events, exits)
        model = Model(recording, filters)
        moments = [(at - model.first, level) for at, level in model.moments()]
        last_ns = max((at for at, _ in moments), default=0)
        from_ns, to_ns = last_ns * start // 100, last_ns * (start + length) // 100 + 1
        found = peak(recording, filters, None, from_ns=from_ns, to_ns=to_ns)
    before = next((level for at, level in reversed(moments) if at < from_ns), 0)
    assert found.live.size_bytes == max([before, *(level for at, level in moments if from_ns <= at < to_ns)])
    assert found.at_ns is None or from_ns <= found.at_ns < to_ns


@given(EVENTS, st.booleans(), st.sampled_from(["bytes", "live", "temporary", "peak"]))
@settings(max_examples=4, deadline=None)
def test_groupings_add_up_to_the_same(events: list[Event], exits: bool, by: Any) -> None:
    """Whatever is taken together, no allocation is counted twice or not at all."""
    with tempfile.TemporaryDirectory() as folder:
        recording = written(folder, events, exits)
        answers = [top(recording, by, group_by=group_by) for group_by in GROUPINGS]
    assert len({_pair(answer.total) for answer in answers}) == 1
    for answer in answers:
        shares = sum(share.share for share in answer.shares)
        assert shares == pytest.approx(1) or not shares


@given(EVENTS)
@settings(max_examples=6, deadline=None)
def test_every_unmatched_release_and_every_failed_call_is_one_fault(events: list[Event]) -> None:
    """But not the releases that an allocator makes for itself."""
    with tempfile.TemporaryDirectory() as folder:
        recording = written(folder, events, exits=False)
        model = Model(recording, ALL)
        counts = faults(recording, group_by="thread").counts
    reasons = [row[-1] for row in model.unmatched]
    assert counts["double"] + counts["unknown"] + counts["mismatched"] == sum(
        reason in ("unknown", "double") for reason in reasons
    )
    releases = ("free", "realloc_free", "munmap")
    assert counts["failed"] == sum(
        not event.address and event.size > 0 and event.operation not in releases for event in events
    )
    assert counts["mismatched"] == sum(_is_mismatched(model.pairs, row) for row in model.unmatched)
    assert [*counts] == [*KINDS]


def _is_mismatched(pairs: list[Pair], release: tuple[Any, ...]) -> bool:
    seq, timestamp_ns, pid, _, operation, address, _, reason = release
    return reason in ("unknown", "double") and any(
        (pair.pid, pair.address) == (pid, address)
        and pair.seq < seq
        and (pair.released_ns is None or pair.released_ns > timestamp_ns)
        and (pair.operation == "mmap") != (operation == "munmap")
        for pair in pairs
    )


@given(EVENTS, FILTERS | st.just(ALL), st.booleans(), st.integers(0, 4), st.tuples(*2 * [st.floats(0, 1)]))
@example([Event("malloc", 0, 24, 0, 1, 1, 1), Event("free", 0, 0, 0, 1, 1, 5)] * 3, ALL, False, 1, (0.1, 0.6))
@settings(max_examples=12, deadline=None)
def test_sums_of_slots_are_the_answers_for_the_same_window(
    events: list[Event], filters: Filters, exits: bool, n_halvings: int, part: tuple[float, float]
) -> None:
    """What a report adds up for a window of slots, however wide, is what the questions say of it."""
    sized = filters._replace(since_ns=0, until_ns=None, max_size_bytes=filters.max_size_bytes or 4 * PAGE)
    with tempfile.TemporaryDirectory() as folder:
        recording = written(folder, events, exits)
        with mock.patch.object(highest_moments, "_MOST_CHANGES", 3):
            sums = slot_sums(recording, sized)
        for _ in range(n_halvings):
            sums = sums.coarser()
        first, end = sorted(round(each * sums.n_slots) for each in part)
        window = sized._replace(since_ns=first * sums.width_ns, until_ns=max(1, end * sums.width_ns))
        in_window = (sums.rows.slot >= first) & (sums.rows.slot < end)
        found = totals(recording, window)[1] if end > first else ()
        short = temporary(recording, filters=window).rows if end > first else ()
        for unit, member in (("bytes", "size_bytes"), ("count", "count")):
            assert _by_stack(sums, f"allocated_{unit}", in_window) == _amounts(found, "allocated", member)
            assert _by_stack(sums, f"left_{unit}", in_window) == _amounts(found, "live", member)
            assert _by_stack(sums, f"temporary_{unit}", in_window) == _amounts(short, "temporary", member)
        if end:
            _check_peak(sums, peak(recording, window._replace(since_ns=0)), end)


def _check_peak(sums: SlotSums, expected: Any, end: int) -> None:
    """The highest moment before slot *end* is the peak of what was allocated before it."""
    highest = int(np.argmax(sums.highest_bytes[:end]))
    if expected.live.size_bytes == 0:
        assert sums.highest_bytes[highest] == 0
        return
    assert (sums.highest_bytes[highest], sums.highest_ns[highest]) == (
        expected.live.size_bytes,
        expected.at_ns,
    )
    before, within = sums.rows.slot < highest, sums.rows.slot == highest
    live = defaultdict(int, _by_stack(sums, "change_count", before))
    for name, count in _by_stack(sums, "rise_count", within).items():
        live[name] += count
    assert {name: count for name, count in live.items() if count} == _amounts(expected.rows, "live", "count")


def _by_stack(sums: SlotSums, column: str, chosen: np.ndarray) -> dict[str, int]:
    values = np.bincount(
        sums.rows.stack[chosen], getattr(sums.rows, column)[chosen], minlength=len(sums.stacks)
    )
    return {stack.name: int(value) for stack, value in zip(sums.stacks, values, strict=True) if value}


def _amounts(rows: Any, name: str, member: str) -> dict[str, int]:
    amounts = {row.group.name: getattr(getattr(row, name), member) for row in rows}
    return {group: amount for group, amount in amounts.items() if amount}


@given(EVENTS, st.integers(0, 3))
@settings(max_examples=4, deadline=None)
def test_folded_stacks_add_up_to_the_same(events: list[Event], n_kept: int) -> None:
    """Small stacks that are taken together lose nothing."""
    with tempfile.TemporaryDirectory() as folder:
        sums = slot_sums(written(folder, events, False), Filters(max_size_bytes=4 * PAGE))
    folded = sums.folded(n_kept)
    assert len(folded.stacks) == min(len(sums.stacks), n_kept + 1)
    for name in sums.rows._fields[3:]:
        assert getattr(folded.rows, name).sum() == getattr(sums.rows, name).sum()
