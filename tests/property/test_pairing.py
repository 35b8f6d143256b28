"""Laws of pairing allocations with releases, against a model that walks the events one by one."""

import itertools
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gadgetops.analysis.leaks import Amount, Leaks, leaks
from gadgetops.recording.reader import open_recording
from gadgetops.recording.writer import RecordingWriter

PAGE = 4096
OPERATIONS = ["malloc", "free", "calloc", "realloc", "realloc_free", "mmap", "munmap", "memalign"]


class Event(NamedTuple):
    """One event; addresses are few, so that they meet."""

    operation: str
    address: int
    size: int
    tid: int = 1
    pid: int = 1


EVENTS = st.lists(
    st.builds(
        Event,
        st.sampled_from(OPERATIONS),
        st.sampled_from([0, PAGE, PAGE + 16, 2 * PAGE]),
        st.sampled_from([0, 1, 24, PAGE, PAGE + 1, 3 * PAGE]),
        st.integers(1, 2),
        st.integers(1, 2),
    ),
    max_size=30,
)
HEAP_CALLS = st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 99)), max_size=40)


def ask(events: list[Event], lost: int = 0) -> Leaks:
    """Return the leaks of a recording of *events*."""
    with tempfile.TemporaryDirectory() as folder:
        writer = RecordingWriter.create(Path(folder) / "r", {})
        columns = {
            "timestamp_ns": np.arange(len(events)),
            "pid": np.array([event.pid for event in events], np.int64),
            "tid": np.array([event.tid for event in events], np.int64),
            "operation": np.array([OPERATIONS.index(event.operation) for event in events], np.int64),
            "address": np.array([event.address for event in events], np.uint64),
            "size_bytes": np.array([event.size for event in events], np.uint64),
            "stack_id": np.arange(len(events)) % 3,
            "lost": np.zeros(len(events), np.int64),
        }
        writer.write_events(columns, OPERATIONS)
        writer.close(counters={"lost": lost}, end="complete")
        return leaks(open_recording(writer.path))


def released_nothing(events: list[Event], index: int) -> bool:
    """Return whether the release at *index* is void or the allocator's own."""
    event = events[index]
    thread = (event.pid, event.tid)
    if event.operation == "realloc_free":
        later = (e for e in events[index + 1 :] if (e.pid, e.tid) == thread)
        following = next((e for e in later if e.operation.startswith("realloc")), None)
        return (
            following is not None
            and (following.operation, following.address) == ("realloc", 0)
            and following.size > 0
        )
    before = [e for e in events[:index] if (e.pid, e.tid) == thread]
    if event.operation != "munmap" or not before or event.address == 0:
        return False
    return (
        before[-1].operation in ("free", "realloc_free")
        and event.address <= before[-1].address < event.address + event.size
    )


def model(events: list[Event]) -> list[int]:
    """Return the sizes of what is live, sorted, by walking *events*."""
    blocks: dict[tuple[int, int], int] = {}
    mappings: dict[tuple[int, int], int] = {}
    rests: list[int] = []
    for index, event in enumerate(events):
        place = (event.pid, event.address)
        if event.address == 0 or released_nothing(events, index):
            continue
        if event.operation == "munmap":
            pages_bytes = -(-event.size // PAGE) * PAGE
            rest = mappings.pop(place, 0) - pages_bytes
            rests += [rest] if rest > 0 else []
        elif event.operation == "mmap":
            mappings[place] = event.size
        elif event.operation in ("free", "realloc_free"):
            blocks.pop(place, None)
        else:
            blocks[place] = event.size
    return sorted([*blocks.values(), *(size for size in mappings.values() if size), *rests])


def heap(calls: list[tuple[bool, int, int]]) -> list[Event]:
    """Return what an allocator does that is asked to allocate or to free, address by address."""
    live: set[int] = set()
    events = []
    for wants_block, slot, size in calls:
        if wants_block != (slot in live):
            live ^= {slot}
            events.append(Event("malloc" if wants_block else "free", 16 + slot, size if wants_block else 0))
    return events


class TestPairing:
    """What is live is what the model says; allocated = released + live, in bytes and in counts."""

    @given(EVENTS)
    @settings(max_examples=100, deadline=None)
    def test_model(self, events: list[Event]) -> None:
        """Any events, sensible or not."""
        found, expected = ask(events), model(events)
        assert found.live == Amount(sum(expected), len(expected))
        allocations = [
            e for e in events if e.address and e.operation not in ("free", "realloc_free", "munmap")
        ]
        assert found.allocated == Amount(sum(e.size for e in allocations), len(allocations))
        assert found.released.size_bytes >= 0
        assert found.released.count >= 0
        assert sum(leak.live_bytes for leak in found.leaks) == found.live.size_bytes

    @given(EVENTS, st.sampled_from([PAGE, PAGE + 16, 2 * PAGE]), st.sampled_from(["free", "munmap"]))
    @settings(max_examples=25, deadline=None)
    def test_a_release_never_raises_what_is_live(
        self, events: list[Event], address: int, operation: str
    ) -> None:
        """Whatever came before it."""
        before, after = ask(events).live, ask([*events, Event(operation, address, PAGE)]).live
        assert after.size_bytes <= before.size_bytes
        assert after.count <= before.count

    @given(HEAP_CALLS, st.data())
    @settings(max_examples=25, deadline=None)
    def test_the_truth_is_not_below_the_least(
        self, calls: list[tuple[bool, int, int]], data: st.DataObject
    ) -> None:
        """Whichever events of a sane program are lost, at least that much is live."""
        events = heap(calls)
        kept = data.draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
        seen = [*itertools.compress(events, kept)]
        truth, found = model(events), ask(seen, lost=len(events) - len(seen))
        assert found.at_least is not None
        assert found.at_least.size_bytes <= sum(truth)
        assert found.at_least.count <= len(truth)
