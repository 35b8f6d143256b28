"""The ring buffer that programs share: many write at once, none waits for another, and nothing is torn."""

import os
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import pytest

from gadgetops.trace.events.ring import DISCARDED, FLAGS, HEADER_BYTES, record_bytes
from gadgetops.trace.preload.layout import EVENT_BYTES
from gadgetops.trace.preload.shared_ring import SharedRing, SharedRingReader

ROOT = Path(__file__).parents[2]
SOURCES = Path(__file__).parent / "sources"
RING_BYTES = 1 << 16
HANDLER_THREAD = 1000


def built(folder: Path, sanitizer: str) -> Path:
    """The program that writes, with the library's own ring.c in it."""
    program = folder / "ring_stress"
    options = ["-std=gnu11", "-O1", "-g", "-Wall", "-Werror", "-pthread", f"-I{ROOT / 'preload'}"]
    sanitize = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"] if sanitizer else []
    sources = [SOURCES / "ring_stress.c", SOURCES / "ring_writer.c", ROOT / "preload/ring.c"]
    command = ["gcc", *options, *sanitize, *map(str, sources), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


@pytest.fixture(scope="session", params=["", "address,undefined"], ids=["plain", "address"])
def stress(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, with and without sanitizers."""
    return built(tmp_path_factory.mktemp("stress"), request.param)


class Written:
    """What came out of a ring: numbers, by process and thread, in order."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[int, int], list[int]] = defaultdict(list)

    def take(self, records: memoryview) -> None:
        """Check and take in whole records."""
        words = records.cast("I")
        position = 0
        while position < len(records):
            header = words[position // 4]
            length = header & ~FLAGS
            if not header & DISCARDED:
                start = position + HEADER_BYTES
                place, thread, number, *rest = records[start : start + length].cast("Q").tolist()
                assert rest == [number] * (number % 8)
                self.numbers[place, thread].append(number)
            position += record_bytes(length)


def run(
    program: Path, processes: int, threads: int, records: int, *how: str
) -> tuple[Written, list[str], int]:
    """Have *program* write while we read; return what came, what it says, and how many were lost."""
    written = Written()
    with SharedRing(RING_BYTES, program, {}) as ring:
        reader = SharedRingReader(ring.fd, RING_BYTES, EVENT_BYTES)
        reader.on_lost = ring.lose
        command = [program, ring.path, processes, threads, records, *how]
        process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)
        while process.poll() is None or reader.size_bytes:
            found = reader.read()
            if found:
                written.take(found)
                reader.free(len(found))
            else:
                time.sleep(0.001)
        assert process.stdout is not None
        said = process.stdout.read().splitlines()
        assert process.returncode == 0
        return written, said, ring.counter("lost_events")


def test_each_record_arrives_once_and_in_its_threads_order(stress: Path) -> None:
    """Four threads of each of two processes, and a signal handler, through a ring of a thousand records."""
    n_processes, n_threads, n_records = 2, 4, 20_000
    written, said, lost = run(stress, n_processes, n_threads, n_records)
    assert lost == 0
    for place in range(n_processes):
        for thread in range(n_threads):
            assert written.numbers[place, thread] == [*range(n_records)]
    for place, n_handled in (map(int, line.split()) for line in said):
        assert sorted(written.numbers[place, HANDLER_THREAD]) == [*range(n_handled)]


def test_who_is_killed_holds_up_nobody(stress: Path) -> None:
    """Three of six processes are killed: what the others write is there, and what those wrote before."""
    n_threads, n_records = 2, 20_000
    written, _, _ = run(stress, 6, n_threads, n_records, "kill")
    for place in (1, 3, 5):
        for thread in range(n_threads):
            assert written.numbers[place, thread] == [*range(n_records)]
    for place in (0, 2, 4):
        for thread in range(n_threads):
            numbers = written.numbers[place, thread]
            assert numbers == [*range(len(numbers))]


def test_a_reader_that_is_gone_stops_nobody(stress: Path) -> None:
    """Nobody reads: programs wait once, then what has no room is lost and counted."""
    with SharedRing(RING_BYTES, stress, {}) as ring:
        ring.set("wait_ns", 10_000_000)
        subprocess.run(
            [str(stress), str(ring.path), "1", "2", "50000"], check=True, stdout=subprocess.DEVNULL
        )
        assert ring.counter("lost_events") > 50_000


def test_a_record_that_a_dead_process_began_is_skipped(stress: Path) -> None:
    """It is told from one that is still being written, by its process; an event counts as lost."""
    with SharedRing(RING_BYTES, stress, {}) as ring:
        reader = SharedRingReader(ring.fd, RING_BYTES, EVENT_BYTES)
        reader.on_lost = ring.lose
        subprocess.run([str(stress), str(ring.path), "1", "1", str(EVENT_BYTES), "abandon"], check=True)
        found = reader.read()
        assert len(found) == record_bytes(EVENT_BYTES)
        assert found.cast("I")[0] & DISCARDED
        assert ring.counter("lost_events") == 1


def test_threads_do_not_race(tmp_path: Path) -> None:
    """ThreadSanitizer sees those that write and one that reads, in one process."""
    n_threads, n_records = 4, 20_000
    program = built(tmp_path, "thread")
    with SharedRing(RING_BYTES, program, {}) as ring:
        command = [program, ring.path, 1, n_threads, n_records, "alone"]
        # A thread that slept may look at what is part of a record by now; it finds that it is not free.
        suppressions = tmp_path / "suppressions"
        suppressions.write_text("race:^take$\n")
        environment = os.environ | {"TSAN_OPTIONS": f"suppressions={suppressions}"}
        done = subprocess.run(
            [*map(str, command)], check=True, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert done.stdout == f"read {n_threads * n_records}\n"
