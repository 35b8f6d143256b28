"""What the gadget promises, on the running kernel, against programs that know their every call."""

import ctypes
import json
import re
import subprocess
import time
from collections import Counter, defaultdict
from pathlib import Path

import duckdb
import pytest
from services.patience import PATIENCE

pytestmark = [pytest.mark.kernel, pytest.mark.clang]

LARGEST_SIZE = 2**63 - 1
NO_STACK = -1
FAILED_STACK = -2
ALLOCATIONS = ("malloc", "calloc", "realloc", "posix_memalign")
OTHER_UID = 65534
OTHER_GID = 65533
ALLOCATORS = ("libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2")


def _library(name: str) -> str:
    """The path of an allocator's library."""
    found = subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True).strip()
    assert Path(found).is_absolute(), f"{name} is not installed"
    return found


def _has_one_address(first: str, second: str) -> bool:
    libc = ctypes.CDLL(None)
    addresses = {ctypes.cast(getattr(libc, name), ctypes.c_void_p).value for name in (first, second)}
    return len(addresses) == 1


def _as_told_apart(calls):
    """Before glibc 2.38, aligned_alloc() and memalign() are one function, which no probe tells apart."""
    if not _has_one_address("memalign", "aligned_alloc"):
        return calls
    return [
        call._replace(operation="memalign") if call.operation == "aligned_alloc" else call for call in calls
    ]


def _of_operation(calls, *operations):
    return [call for call in calls if call.operation in operations]


def _by_thread(entries):
    calls = defaultdict(list)
    for entry in entries:
        calls[entry.tid].append(entry.call)
    return calls


class TestNestedCalls:
    """One call of the program is one allocation, whatever the C library calls inside it."""

    def test_every_call_is_recorded_once_with_its_size_and_address(self, record):
        """Large blocks, reallocations and alignments: the recording is the program's own account."""
        recording = record("nested")
        assert _as_told_apart(recording.known_calls) == _as_told_apart(recording.calls)

    def test_large_malloc_is_no_mmap(self, record):
        """glibc maps a block of 1 MiB; what the program called is malloc."""
        recording = record("nested")
        assert recording.events[0].call.size == 1048576
        assert recording.events[0].call.operation == "malloc"
        assert _of_operation(recording.calls, "mmap") == []

    def test_a_nested_call_is_not_lost(self, record):
        """That the thread has an entry already is no loss: kernels before 6.4 return that error as an int."""
        assert record("nested").header["counters"]["lost"] == 0

    def test_realloc_to_nothing_is_one_release(self, record):
        """realloc(p, 0) frees p: neither a free beside it nor a failed realloc."""
        recording = record("nested")
        releases = Counter(call.address for call in _of_operation(recording.calls, "realloc_free"))
        known = Counter(call.address for call in _of_operation(recording.known_calls, "realloc_free"))
        assert known == releases
        assert [call for call in _of_operation(recording.calls, "realloc") if call.size == 0] == []

    def test_threads_do_not_disturb_each_other(self, record):
        """Four threads reallocate and map at once; each one's calls are its own, in its order."""
        recording = record("threads")
        known = _by_thread(recording.truth)
        calls = _by_thread(recording.events)
        assert len(known) == 4
        for tid, known_calls in known.items():
            assert known_calls == calls[tid]


class TestOwnCalls:
    """What a C library or an allocator maps and releases for itself is no event."""

    @pytest.mark.parametrize(
        ("compiler", "preload"),
        [
            pytest.param("gcc", "", id="glibc"),
            pytest.param("gcc -static", "", id="static glibc"),
            pytest.param("musl-gcc", "", id="musl"),
            pytest.param("musl-gcc -static", "", id="static musl"),
            *(pytest.param("gcc", name, id=name) for name in ALLOCATORS),
        ],
    )
    def test_only_the_programs_calls_are_events(self, record, compiler, preload):
        """
        Arenas, thread stacks and reserves of threads that end are not.

        But what the program maps where a block was is. Of the main thread there are blocks of libraries
        besides; and in a static executable, where nothing tells the library's code from the program's,
        mappings that threads need.
        """
        recording = record("own_calls", compiler=compiler, preload=_library(preload) if preload else "")
        known = set(recording.known_calls)
        main_tid = recording.truth[0].tid
        # What it writes down its calls with may free at an address where it had freed, too: later.
        last_ns = max(entry.ended_ns for entry in recording.truth)
        events = [event for event in recording.events if event.timestamp_ns <= last_ns]
        by_program = [event for event in events if event.call in known]
        assert _by_thread(recording.truth) == _by_thread(by_program)
        pids = {entry.pid for entry in recording.truth}
        rest = [event for event in recording.events if event.pid in pids and event.call not in known]
        mappings = {"mmap", "munmap"} if "static" in compiler else set()
        assert {event.call.operation for event in rest if event.tid != main_tid} <= mappings
        assert {event.call.operation for event in rest} & {"mmap", "munmap"} <= mappings


class TestFailures:
    """A call that failed is an event with address 0; a call that does nothing is none."""

    def test_failures_are_recorded_and_nothing_else(self, record):
        """Too much, no product, a bad alignment, no length; and free(NULL) and refused munmaps are silent."""
        recording = record("failures")
        assert recording.known_calls == recording.calls

    def test_each_allocator_can_fail(self, record):
        """malloc, calloc, posix_memalign, mmap and realloc fail once each."""
        failed = [call for call in record("failures").calls if call.address == 0]
        assert [call.operation for call in failed] == [
            "malloc",
            "calloc",
            "posix_memalign",
            "mmap",
            "realloc",
        ]

    def test_product_of_calloc_saturates(self, record):
        """calloc(SIZE_MAX, 2) asks for more than there is, not for the product's lower half."""
        calls = _of_operation(record("failures").calls, "calloc")
        assert calls[0][1:] == (0, LARGEST_SIZE)

    def test_block_of_failed_realloc_is_freed_later(self, record):
        """The recording shows release, failure and free of one address, from which pairing knows it lived."""
        *_, allocated, released, failed, freed = record("failures").calls
        assert [call.operation for call in (allocated, released, failed, freed)] == [
            "malloc",
            "realloc_free",
            "realloc",
            "free",
        ]
        assert allocated.address == released.address == freed.address
        assert failed.address == 0


def test_munmap_says_how_much(record):
    """Mappings released whole and in parts have the lengths and starts that the program gave."""
    recording = record("mappings")
    assert recording.known_calls == recording.calls
    assert [call.size for call in _of_operation(recording.calls, "munmap")] == [
        5 * 4096 + 1,
        4096,
        4096,
        2 * 4096,
    ]


@pytest.mark.parametrize("workload", ["nested", "failures"])
def test_time_is_boot_time(record, workload):
    """Every event lies between CLOCK_BOOTTIME before its call and after it."""
    recording = record(workload)
    assert len(recording.truth) == len(recording.events)
    for known, event in zip(recording.truth, recording.events, strict=True):
        assert known.began_ns <= event.timestamp_ns <= known.ended_ns, event


def test_process_and_thread_are_those_that_called(record):
    """pid and tid of each event are what getpid() and gettid() say."""
    recording = record("threads")
    ids = {(known.pid, known.tid) for known in recording.truth}
    known = Counter((entry.pid, entry.tid) for entry in recording.truth)
    calls = Counter((event.pid, event.tid) for event in recording.events)
    assert len(ids) == 4
    assert all(known[who] <= calls[who] for who in ids)
    # The main thread makes its threads and nothing else.
    assert {pid for pid, _ in calls} == {pid for pid, _ in ids}


def test_resident_memory_is_measured(record):
    """Of the program, while it runs."""
    with record.held_at_end("mixture", options="--segment-seconds 1") as recorder:
        folder = Path(recorder.args[recorder.args.index("-o") + 1])
        deadline = time.monotonic() + 60 * PATIENCE
        while not list(folder.glob("resident-*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.05)
    rows = duckdb.sql(f"SELECT pid, resident_bytes FROM '{folder}/resident-*.parquet'").fetchall()
    [(pid,)] = duckdb.sql(f"SELECT DISTINCT pid FROM '{folder}/events-*.parquet'").fetchall()
    assert {row[0] for row in rows} == {pid}
    # The kernel counts pages for each processor, and adds them up now and then.
    assert all(0 < row[1] < 1_000_000_000 for row in rows)


def _marked_events(recording):
    """The allocations of tests/workloads/identities.c, told by their sizes."""
    return [
        event
        for event in recording.events
        if event.call.operation == "malloc" and 1001 <= event.call.size <= 1004
    ]


def _marked(recording):
    return [event.call.size for event in _marked_events(recording)]


class TestFilters:
    """A filter keeps what it names and only that."""

    @pytest.mark.parametrize(
        ("parameter", "sizes"),
        [
            (f"uid={OTHER_UID}", [1004]),
            (f"gid={OTHER_GID}", [1004]),
            ("uid=0", [1001, 1002, 1003]),
            ("comm=renamed", [1003, 1004]),
            ("comm=identities", [1001, 1002]),
            ("comm=rename", []),
            ("comm=renamed2", []),
        ],
    )
    def test_by_user_group_and_name(self, record, parameter, sizes):
        """Threads and children are judged by what they are when they call."""
        recording = record("identities", options=f"--param {parameter}")
        assert sizes == _marked(recording)
        allocated = {(event.tid, event.call.address) for event in _marked_events(recording)}
        released = {
            (event.tid, event.call.address) for event in recording.events if event.call.operation == "free"
        }
        assert allocated <= released
        assert {tid for tid, _ in allocated} == {event.tid for event in recording.events}

    def test_without_a_filter_all_are_there(self, record):
        """Else the tests of filters would prove nothing."""
        assert _marked(record("identities")) == [1001, 1002, 1003, 1004]

    def test_by_thread(self, record):
        """Of two threads of a running process the one named is kept."""
        recording = record.running("identities", options=lambda _pid, tid: f"--param tid={tid}")
        assert _marked(recording) == [1002]
        assert len({event.tid for event in recording.events}) == 1

    def test_by_process(self, record):
        """The process named is kept, its child is not."""
        recording = record.running("identities", options=lambda pid, _tid: f"--param pid={pid}")
        assert _marked(recording) == [1001, 1002, 1003]

    @pytest.mark.parametrize(
        "parameter", ["comm=nobody", "uid=12345", "min-size=1000000000", "sample-every=4000000000"]
    )
    def test_what_is_not_wanted_leaves_nothing_behind(self, record, parameter):
        """After sixteen thousand unwanted calls no call is noted as still going on."""
        with record.held_at_end("mixture", options=f"--param {parameter}") as recorder:
            assert _entries(recorder.pid) == {"sizes": [], "memptrs": []}


def _entries(pid):
    """The entries of the two maps of calls in progress that process *pid* has loaded, by map."""
    maps = [_bpftool("map", "show", "id", map_id) for map_id in _map_ids(pid)]
    return {
        entry["name"]: _bpftool("map", "dump", "id", entry["id"])
        for entry in maps
        if entry["name"] in ("sizes", "memptrs")
    }


def _map_ids(pid):
    texts = map(_text, Path(f"/proc/{pid}/fdinfo").iterdir())
    return [found[1] for text in texts if (found := re.search(r"^map_id:\s*(\d+)", text, re.MULTILINE))]


def _text(file):
    """What a file says; nothing if it was closed meanwhile."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""


def _bpftool(*arguments):
    command = ["bpftool", "--json", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


class TestLoss:
    """What could not be delivered is counted, exactly and where it happened."""

    N_BLOCKS = 100_000

    @pytest.fixture
    def recording(self, record):
        """Far more events at once than the ring buffer has room for."""
        return record("blocks", self.N_BLOCKS, options="--buffer-size 4096")

    def test_kept_and_lost_are_what_was_made(self, recording):
        """No event is neither here nor counted."""
        counters = recording.header["counters"]
        assert counters["lost"] > 0
        assert len(recording.events) == counters["events"]
        assert counters["events"] + counters["lost"] == 2 * self.N_BLOCKS

    def test_each_event_says_how_many_are_missing_before_it(self, recording):
        """The event numbered k with L missing is the call numbered k + L."""
        known = recording.known_calls
        for index, event in enumerate(recording.events):
            assert known[index + event.lost] == event.call

    def test_nothing_is_lost_where_there_is_room(self, record):
        """And the counter says so."""
        recording = record("mixture")
        assert recording.header["counters"]["lost"] == 0
        assert recording.known_calls == recording.calls


class TestVolume:
    """Fewer events that still tell the truth."""

    EVERY = 10

    def test_sampling_keeps_a_block_with_its_release_or_neither(self, record):
        """Of each address all operations are there or none, and of mappings and nothing else all."""
        recording = record("mixture", options=f"--param sample-every={self.EVERY}")
        kept = {call.address for call in recording.calls}
        mappings = {call.address for call in _of_operation(recording.known_calls, "mmap", "munmap")}
        assert mappings <= kept
        assert [call for call in recording.known_calls if call.address in kept] == recording.calls

    def test_sampling_keeps_about_the_share_asked_for(self, record):
        """One address in ten, within a factor of two."""
        recording = record("mixture", options=f"--param sample-every={self.EVERY}")
        n_kept = len({call.address for call in _of_operation(recording.calls, *ALLOCATIONS)})
        n_known = len({call.address for call in _of_operation(recording.known_calls, *ALLOCATIONS)})
        assert n_known / self.EVERY / 2 < n_kept < n_known / self.EVERY * 2

    def test_min_size_drops_smaller_allocations_only(self, record):
        """An allocation of the least size is kept, releases all are."""
        recording = record("mixture", options="--param min-size=100")
        allocations = (*ALLOCATIONS, "mmap")
        assert [
            call for call in recording.known_calls if call.operation not in allocations or call.size >= 100
        ] == recording.calls
        assert min(call.size for call in _of_operation(recording.calls, *allocations)) == 100


class TestStacks:
    """A stack that failed is told from a stack that nobody asked for."""

    def test_what_does_not_fit_is_marked_and_counted(self, record):
        """A hundred stacks do not fit into sixteen places; the events are there all the same."""
        recording = record("stacks", options="--max-stacks 16 --unwind fp")
        ids = [event.stack_id for event in recording.events]
        assert recording.known_calls == recording.calls
        assert ids.count(FAILED_STACK) == recording.header["counters"]["failed_stacks"]
        assert ids.count(FAILED_STACK) >= 100 - 16
        assert NO_STACK not in ids

    def test_an_id_is_one_stack(self, record):
        """Each depth of the recursion that has an id has one of its own."""
        recording = record("stacks", options="--max-stacks 64")
        kept = [event.stack_id for event in recording.events if event.stack_id != FAILED_STACK]
        assert len(kept) > 1
        assert len(kept) == len(set(kept))

    def test_stacks_not_asked_for_are_no_failures(self, record):
        """Without stacks every event says that there is none."""
        recording = record("stacks", options="--no-stacks")
        assert {NO_STACK} == {event.stack_id for event in recording.events}
        assert recording.header["counters"]["failed_stacks"] == 0
