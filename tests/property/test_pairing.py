"""Laws of pairing allocations with releases, against a model that walks the events one by one."""

import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gadgetops.pairing.pairs import extend, paired
from gadgetops.questions.leaks.leaks import leaks
from gadgetops.recording.reader import open_recording
from gadgetops.recording.schema import ProcessRow
from gadgetops.recording.writer import RecordingWriter

PAGE = 4096
OPERATIONS = ["malloc", "free", "calloc", "realloc", "realloc_free", "mmap", "munmap", "memalign"]
RELEASES = ("free", "realloc_free", "munmap")


class Event(NamedTuple):
    """One event, at the time that its place in the list says; addresses are few, so that they meet."""

    operation: str
    address: int
    size: int
    tid: int = 1
    pid: int = 1


class Process(NamedTuple):
    """Something that befalls a process just before the event at *index*."""

    index: int
    event: str
    pid: int
    parent_pid: int | None


def blocks(operations: Sequence[str]) -> st.SearchStrategy[Event]:
    """Return calls about blocks."""
    return st.builds(
        Event,
        st.sampled_from(operations),
        st.sampled_from([0, 16, 48, PAGE]),
        st.sampled_from([0, 1, 24, 100]),
        st.integers(1, 2),
        st.integers(1, 3),
    )


MAPPINGS = st.builds(
    Event,
    st.sampled_from(["mmap", "munmap"]),
    st.integers(1, 6).map(lambda page: page * PAGE),
    st.sampled_from([1, PAGE, PAGE + 1, 2 * PAGE, 3 * PAGE - 5]),
    st.integers(1, 2),
    st.integers(1, 2),
)
BLOCKS = blocks([operation for operation in OPERATIONS if operation not in ("mmap", "munmap")])
EVENTS = st.lists(st.one_of(BLOCKS, MAPPINGS), max_size=40)
PROCESSES = st.lists(
    st.builds(
        Process,
        st.integers(0, 40),
        st.sampled_from(["fork", "exec", "exit"]),
        st.integers(2, 3),
        st.integers(1, 2),
    ),
    max_size=4,
)


def write(
    folder: Path, events: Sequence[Event], processes: Sequence[Process], cuts: Sequence[int] = ()
) -> Path:
    """Write a recording; its segments end where *cuts* says, and pairs are extended with each."""
    writer = RecordingWriter.create(folder / "r.gadgetrec", {})
    ends = sorted({min(cut, len(events)) for cut in cuts} | {len(events)})
    start = 0
    for end in ends:
        # As the recorder has it: what befell processes up to the last event is durable with that event.
        due = [p for p in processes if start <= p.index < end or (end == len(events) and p.index >= start)]
        writer.write_processes(
            ProcessRow(
                10 * p.index - 5, p.pid, p.event, p.parent_pid if p.event == "fork" else None, "p", None
            )
            for p in sorted(due)
        )
        writer.write_events(columns(events[start:end], start), OPERATIONS)
        writer.close_segment()
        if cuts:
            extend(writer.path)
        start = end
    writer.close(counters={}, end="complete")
    return writer.path


def columns(events: Sequence[Event], start: int) -> dict[str, Any]:
    """Return what the writer takes."""
    return {
        "timestamp_ns": 10 * np.arange(start, start + len(events)),
        "pid": np.array([event.pid for event in events], np.int64),
        "tid": np.array([event.tid for event in events], np.int64),
        "operation": np.array([OPERATIONS.index(event.operation) for event in events], np.int64),
        "address": np.array([event.address for event in events], np.uint64),
        "size_bytes": np.array([event.size for event in events], np.uint64),
        "stack_id": np.arange(start, start + len(events)) % 3,
        "lost": np.zeros(len(events), np.int64),
    }


class Answer(NamedTuple):
    """What pairing says: seq -> what ended it; parts; reasons."""

    allocations: dict[int, tuple[Any, ...]]
    parts: list[tuple[int, int, int]]
    unmatched: dict[int, str]
    survivors: tuple[int, int]


def answer(path: Path) -> Answer:
    """Return what pairing says of a recording."""
    with paired(open_recording(path)) as connection:
        ended = "released_seq, released_ns, released_operation, released_bytes"
        allocations = connection.execute(f"select seq, {ended} from allocations").fetchall()
        parts = connection.execute(
            "select allocation_seq, seq, released_bytes from partial_releases"
        ).fetchall()
        unmatched = connection.execute("select seq, reason from unmatched_releases").fetchall()
        total = "select coalesce(sum(live_bytes), 0), coalesce(sum(live_count), 0) from stored_survivors"
        [survivors] = connection.execute(total).fetchall()
    assert len({row[0] for row in allocations}) == len(allocations)
    return Answer({row[0]: row[1:] for row in allocations}, sorted(parts), dict(unmatched), survivors)


def ask(events: Sequence[Event], processes: Sequence[Process] = (), cuts: Sequence[int] = ()) -> Answer:
    """Return what pairing says of some events."""
    with tempfile.TemporaryDirectory() as folder:
        return answer(write(Path(folder), events, processes, cuts))


class Model:
    """Walks the events and keeps what is where; independent of all SQL."""

    def __init__(self, events: Sequence[Event], processes: Sequence[Process]) -> None:
        self.events, self.processes = events, processes
        self.blocks: dict[int, dict[int, int]] = {}
        self.pages: dict[int, dict[int, int]] = {}
        self.inherited_blocks: dict[int, set[int]] = {}
        self.inherited_pages: dict[int, set[int]] = {}
        self.ended: dict[int, tuple[Any, ...]] = {}
        self.left: dict[int, Counter[int]] = {}
        self.parts: list[tuple[int, int, int]] = []
        self.idle: set[int] = set()
        self.inner: dict[tuple[int, int], int] = {}
        pending = sorted(processes)
        for seq, event in enumerate(events):
            while pending and pending[0].index <= seq:
                self.process(pending.pop(0))
            if event.address and not self.is_void(seq):
                if self.is_inner(seq):
                    self.inner.setdefault((event.pid, event.address), seq)
                else:
                    self.apply(seq, event)
        for process in pending:
            self.process(process)

    def process(self, process: Process) -> None:
        """Fork, exec or exit."""
        pid, when = process.pid, 10 * process.index - 5
        operation = "exec" if process.event == "exec" else "exit"
        for seq in [*self.blocks.pop(pid, {}).values(), *dict.fromkeys(self.pages.pop(pid, {}).values())]:
            self.ended[seq] = (None, when, operation, self.events[seq].size)
        self.inherited_blocks[pid], self.inherited_pages[pid] = set(), set()
        if process.event == "fork" and process.parent_pid != pid and process.parent_pid is not None:
            parent = process.parent_pid
            self.inherited_blocks[pid] = {*self.blocks.get(parent, {})} | self.inherited_blocks.get(
                parent, set()
            )
            self.inherited_pages[pid] = {*self.pages.get(parent, {})} | self.inherited_pages.get(
                parent, set()
            )

    def apply(self, seq: int, event: Event) -> None:
        """Allocate or release."""
        if event.operation in ("mmap", "munmap"):
            self.map_or_unmap(seq, event)
            return
        blocks = self.blocks.setdefault(event.pid, {})
        before = blocks.pop(event.address, None)
        first = self.inner.pop((event.pid, event.address), seq)
        if event.operation in RELEASES:
            if before is not None:
                self.end(before, seq, event.operation)
            elif event.address not in self.inherited_blocks.get(event.pid, set()):
                self.idle.add(seq)
        else:
            if before is not None:
                # The call of the program began with the one inside it.
                self.end(before, first, "lost")
            blocks[event.address] = seq
        self.inherited_blocks.get(event.pid, set()).discard(event.address)

    def end(self, allocation: int, seq: int, operation: str) -> None:
        """Note what ended an allocation."""
        self.ended[allocation] = (seq, 10 * seq, operation, self.events[allocation].size)

    def map_or_unmap(self, seq: int, event: Event) -> None:
        """Page by page."""
        pages = self.pages.setdefault(event.pid, {})
        inherited = self.inherited_pages.get(event.pid, set())
        touched = range(event.address // PAGE, -(-(event.address + event.size) // PAGE))
        was_inherited = any(page in inherited for page in touched)
        inherited -= {*touched}
        gone: Counter[int] = Counter()
        for page in touched:
            owner = pages.pop(page, None)
            if owner is not None:
                gone[owner] += self.left[owner].pop(page)
        for owner, size in gone.items():
            if self.left[owner]:
                self.parts.append((owner, seq, size))
            else:
                self.end(owner, seq, event.operation)
        if event.operation == "mmap":
            end = event.address + event.size
            sizes = {page: min(end, (page + 1) * PAGE) - page * PAGE for page in touched}
            self.left[seq] = Counter(sizes)
            pages.update(dict.fromkeys(touched, seq))
        elif not gone and not was_inherited:
            self.idle.add(seq)

    def is_void(self, seq: int) -> bool:
        """Whether a realloc_free belongs to a realloc() that failed."""
        event = self.events[seq]
        if event.operation != "realloc_free":
            return False
        for later in self.events[seq + 1 :]:
            if (later.pid, later.tid) == event[3:][::-1] and later.operation in ("realloc", "realloc_free"):
                return later.operation == "realloc" and later.address == 0 and later.size > 0
        return False

    def is_reborn(self, pid: int, after: int, until: int) -> bool:
        """Whether a process of that number began anew between two events."""
        return any(process.pid == pid and after < process.index <= until for process in self.processes)

    def is_inner(self, seq: int) -> bool:
        """Whether an allocation is reported again by the function that called it."""
        event = self.events[seq]
        if event.operation in (*RELEASES, "mmap"):
            return False
        for index, later in enumerate(self.events[seq + 1 :], seq + 1):
            same = (later.pid, later.address) == (event.pid, event.address)
            if same and later.operation not in ("mmap", "munmap") and not self.is_void(index):
                is_same_thread = later.tid == event.tid and not self.is_reborn(event.pid, seq, index)
                return (
                    is_same_thread and later.operation not in RELEASES and later.operation != event.operation
                )
        return False

    @property
    def allocations(self) -> dict[int, tuple[Any, ...]]:
        """What ended each allocation."""
        found = {}
        for seq, event in enumerate(self.events):
            if event.address and event.operation not in RELEASES and not self.is_inner(seq):
                left = sum(self.left[seq].values()) if seq in self.left else event.size
                found[seq] = self.ended.get(seq, (None, None, None, event.size - left))
        return found

    @property
    def survivors(self) -> tuple[int, int]:
        """Bytes and number of what the program never released."""
        rows = [
            (sum(self.left[seq].values()) if seq in self.left else self.events[seq].size)
            for seq, ended in self.allocations.items()
            if ended[2] in (None, "exit")
        ]
        return sum(rows), len(rows)


def live_at(found: Answer, sizes: Sequence[int], seq: int) -> int:
    """Return how many bytes are allocated and not released after the event *seq*."""
    change = sum(sizes[each] for each in found.allocations if each <= seq)
    parts = Counter[int]()
    for allocation, released, size in found.parts:
        parts[allocation] += size
        change -= size if released <= seq else 0
    for allocation, (_, when, _, _) in found.allocations.items():
        if when is not None and when <= 10 * seq:
            change -= sizes[allocation] - parts[allocation]
    return change


class TestPairing:
    """What pairing says is what the model says, however the events are cut into segments."""

    @given(EVENTS)
    @settings(max_examples=20, deadline=None)
    def test_any_events(self, events: list[Event]) -> None:
        """Sensible or not."""
        found, model = ask(events), Model(events, ())
        assert found.allocations == model.allocations
        assert found.parts == sorted(model.parts)
        assert {*found.unmatched} == model.idle
        assert found.survivors == model.survivors

    @given(EVENTS, PROCESSES)
    @settings(max_examples=20, deadline=None)
    def test_processes(self, events: list[Event], processes: list[Process]) -> None:
        """They are forked with what their parent has, replace their memory, and end."""
        distinct = [*{(p.index, p.pid): p for p in processes}.values()]
        found, model = ask(events, distinct), Model(events, distinct)
        assert found.allocations == model.allocations
        assert found.survivors == model.survivors
        assert {*found.unmatched} == model.idle

    @given(EVENTS, PROCESSES, st.lists(st.integers(0, 40), min_size=1, max_size=4))
    @settings(max_examples=20, deadline=None)
    def test_segments(self, events: list[Event], processes: list[Process], cuts: list[int]) -> None:
        """Paired as they come they are paired as at once."""
        distinct = [*{(p.index, p.pid): p for p in processes}.values()]
        assert ask(events, distinct, cuts) == ask(events, distinct)

    @given(EVENTS)
    @settings(max_examples=12, deadline=None)
    def test_allocated_is_released_and_live_at_every_moment(self, events: list[Event]) -> None:
        """In bytes; nothing is released that is not there."""
        found = ask(events)
        sizes = [event.size for event in events]
        for seq in range(len(events)):
            assert 0 <= live_at(found, sizes, seq) <= sum(sizes[: seq + 1])
        left = sum(sizes[seq] - ended[3] for seq, ended in found.allocations.items())
        assert live_at(found, sizes, len(events)) == left

    @given(EVENTS, st.sampled_from([16, 48, PAGE]), st.sampled_from(["free", "munmap"]))
    @settings(max_examples=10, deadline=None)
    def test_a_release_never_raises_what_is_live(
        self, events: list[Event], address: int, operation: str
    ) -> None:
        """Whatever came before it."""
        before = ask(events).survivors
        after = ask([*events, Event(operation, address, PAGE)]).survivors
        assert after[0] <= before[0]
        assert after[1] <= before[1]


@pytest.mark.parametrize(("page_bytes", "n_live"), [(None, 1), (4096, 1), (16384, 0), (65536, 0)])
def test_mappings_are_made_of_the_pages_of_the_recorded_machine(
    page_bytes: int | None, n_live: int, tmp_path: Path
) -> None:
    """Three pages of 4096 bytes are one of arm64's large ones, which goes as a whole."""
    host = {} if page_bytes is None else {"page_bytes": page_bytes}
    writer = RecordingWriter.create(tmp_path / "r.gadgetrec", {"host": host})
    events = [Event("mmap", 1 << 20, 3 * PAGE), Event("munmap", 1 << 20, PAGE)]
    writer.write_events(columns(events, 0), OPERATIONS)
    writer.close(counters={}, end="complete")
    found = answer(writer.path)
    assert found.survivors == (n_live * 2 * PAGE, n_live)


def test_a_grandchild_inherits_what_its_parent_allocated_where_it_had_released() -> None:
    """The address was the grandparent's, then the parent's: what that one released first is another block."""
    events = [
        Event("malloc", 16, 1, 1, 1),
        Event("free", 16, 0, 2, 2),
        Event("malloc", 16, 2, 2, 2),
        Event("free", 16, 0, 3, 3),
        Event("free", 16, 0, 3, 3),
    ]
    found = ask(events, [Process(1, "fork", 2, 1), Process(3, "fork", 3, 2)])
    assert found.unmatched == {4: "double"}


def test_a_grandchild_does_not_inherit_what_its_parent_had_released() -> None:
    """Whatever the grandparent still has."""
    events = [Event("malloc", 16, 1, 1, 1), Event("free", 16, 0, 2, 2), Event("free", 16, 0, 3, 3)]
    found = ask(events, [Process(1, "fork", 2, 1), Process(2, "fork", 3, 2)])
    assert found.unmatched == {2: "unknown"}


def sane_program(seed: int, n_calls: int) -> list[Event]:
    """Return what two processes do that never release twice: blocks, mappings, parts of them, several."""
    choose = random.Random(seed)
    live: set[tuple[int, int]] = set()
    pages: set[tuple[int, int]] = set()
    events = []
    for _ in range(n_calls):
        pid, slot, size = choose.randint(1, 2), 16 * choose.randint(1, 40), choose.randint(1, 5000)
        if choose.random() < 0.2:
            start, length = choose.randint(1, 60), choose.randint(1, 6)
            touched = {(pid, page) for page in range(start, start + length)}
            operation = "munmap" if touched & pages else "mmap"
            pages = pages - touched if touched & pages else pages | touched
            events.append(Event(operation, start * PAGE, length * PAGE, 1, pid))
        elif (pid, slot) not in live:
            live.add((pid, slot))
            events.append(Event("malloc", slot, size, 1, pid))
        elif choose.random() < 0.7:
            live.remove((pid, slot))
            events.append(Event("free", slot, 0, 1, pid))
        else:
            failed = choose.random() < 0.2
            events.append(Event("realloc_free", slot, 0, 1, pid))
            events.append(Event("realloc", 0 if failed else slot, size, 1, pid))
    return events


class TestBounds:
    """Whatever events of a program are lost, what is live lies within the bounds."""

    @pytest.mark.parametrize("part", [0.0, 0.01, 0.1, 0.5, 0.9])
    @pytest.mark.parametrize("seed", range(6))
    def test_a_part_of_the_events_lost(self, part: float, seed: int, tmp_path: Path) -> None:
        """Lost at random, and counted as the gadget counts them."""
        events = sane_program(seed, 400)
        choose = random.Random(seed)
        is_kept = [choose.random() >= part for _ in events]
        kept = [event for event, keep in zip(events, is_kept, strict=True) if keep]
        lost = np.cumsum([not keep for keep in is_kept])[is_kept]
        n_lost = len(events) - len(kept)
        writer = RecordingWriter.create(tmp_path / "r.gadgetrec", {})
        writer.write_events({**columns(kept, 0), "lost": lost}, OPERATIONS)
        writer.close(counters={"lost": n_lost}, end="complete")
        found, (size_bytes, count) = leaks(open_recording(writer.path)), Model(events, ()).survivors
        least, most = found.bounds.at_least_bytes, found.bounds.at_most_bytes
        assert least is not None and least <= size_bytes
        assert most is None if n_lost else (least, most) == (size_bytes, size_bytes)
        assert found.bounds.at_least_count is not None and found.bounds.at_most_count is not None
        assert found.bounds.at_least_count <= count <= found.bounds.at_most_count
        assert found.certainty.word == ("possible" if n_lost else "certain")
