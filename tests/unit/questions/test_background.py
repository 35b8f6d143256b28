"""Pairs are made beside the recorder, while it records, by a process that nobody waits for."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gadgetops.errors import StorageError
from gadgetops.pairing import pairs as pairing
from gadgetops.pairing.store import stamp
from gadgetops.questions.leaks import background
from gadgetops.questions.leaks.background import follow, paired_beside
from gadgetops.questions.leaks.leaks import leaks_in
from gadgetops.recording.schema import FrameRow, StackRow, SymbolRow
from gadgetops.recording.writer import RecordingWriter

N_PAIRS = 500


def events(first: int) -> dict[str, Any]:
    """Return columns of blocks, of which every third is released."""
    count = 2 * N_PAIRS
    number = np.arange(first, first + count)
    return {
        "timestamp_ns": number * 1000,
        "operation": (number % 4 == 1).astype(np.uint8),
        "address": 16 * (number - (number % 4 == 1) + 1),
        "size_bytes": np.full(count, 8),
        "stack_id": np.ones(count, np.int32),
        **{name: np.ones(count, np.int64) for name in ("pid", "tid")},
        "lost": np.zeros(count, np.int64),
    }


def write_segment(writer: RecordingWriter, first: int) -> None:
    """Write one closed segment."""
    writer.write_events(events(first), ["malloc", "free"])
    writer.close_segment()


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what a process of low priority does."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def n_paired(path: Path) -> int:
    """Return how many segments are paired."""
    try:
        return len(json.loads((path / "pairs/pairs.json").read_text().partition("\n")[2])["made_from"])
    except FileNotFoundError:
        return 0


def workers(path: Path) -> Iterator[Path]:
    """Yield the folders in /proc of those that pair the recording *path*."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"gadgetops.questions.leaks.background" in words and bytes(path) in words:
            yield process


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A name for a recording; nobody works on it afterwards."""
    path = tmp_path / "r.gadgetrec"
    yield path
    until(lambda: not [*workers(path)])


def started(path: Path, *, has_symbols: bool = True) -> RecordingWriter:
    """Begin a recording that has a stack."""
    writer = RecordingWriter.create(path, {})
    writer.write_frames([FrameRow(1, 0x1000, None, None)])
    writer.write_stacks([StackRow(1, [1])])
    if has_symbols:
        writer.write_symbols([SymbolRow(1, 0, "main", None, None)])
    return writer


@pytest.fixture
def followed(path: Path) -> Iterator[int]:
    """What to close when a recording is complete; here a thread pairs it, which yields to nobody."""
    reader, recorder = os.pipe()
    thread = threading.Thread(target=lambda: follow(path, reader))
    thread.start()
    yield recorder
    thread.join()
    os.close(reader)


def test_segments_are_paired_while_the_next_are_recorded(path: Path, followed: int) -> None:
    """Not when all are there."""
    writer = started(path)
    for segment in (1, 2):
        write_segment(writer, segment * 2 * N_PAIRS)
        until(lambda: n_paired(path) == segment)  # noqa: B023 - called at once
    os.close(followed)
    writer.close(counters={"lost": 0}, end="complete")


def test_a_step_that_fails_is_made_up_for(path: Path, followed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be read just now is no reason to leave off."""
    failures = [StorageError(path, "vanished")]

    def extend(where: Path) -> None:
        if failures:
            raise failures.pop()
        pairing.extend(where)

    monkeypatch.setattr(background, "_extend", extend)
    writer = started(path)
    write_segment(writer, 0)
    until(lambda: not failures)
    write_segment(writer, 2 * N_PAIRS)
    until(lambda: n_paired(path) == 2)
    os.close(followed)
    writer.close(counters={"lost": 0}, end="complete")


def test_leaks_are_answered_before_anyone_asks(path: Path) -> None:
    """As soon as the recording is complete; what is kept is what would be found."""
    with paired_beside(path):
        writer = started(path)
        write_segment(writer, 0)
        write_segment(writer, 2 * N_PAIRS)
        writer.close(counters={"lost": 0}, end="complete")
    until((path / "pairs/leaks.json").exists)
    kept = stamp(path / "pairs/leaks.json")
    found = leaks_in(path)
    assert (n_paired(path), found.certainty.word) == (2, "certain")
    assert 0 < found.live.count < found.allocated.count
    assert stamp(path / "pairs/leaks.json") == kept
    shutil.rmtree(path / "pairs")
    assert leaks_in(path) == found


def test_without_symbols_no_answer_is_kept(path: Path) -> None:
    """Those of `--symbols late` make it another one; the pairs do not depend on them."""
    with paired_beside(path):
        writer = started(path, has_symbols=False)
        write_segment(writer, 0)
        (path / "symbols.parquet").unlink(missing_ok=True)
        writer.close(counters={"lost": 0}, end="complete")
        (path / "symbols.parquet").unlink(missing_ok=True)
    until(lambda: n_paired(path) == 1 and not [*workers(path)])
    assert not (path / "pairs/leaks.json").exists()


def test_it_yields_to_everyone_and_has_a_session_of_its_own(path: Path) -> None:
    """A terminal's Ctrl-C does not reach it; and the processor is the recorder's."""
    with paired_beside(path):
        until(lambda: [nice_and_session(process)[0] for process in workers(path)] == [19])
        [worker] = workers(path)
        assert nice_and_session(worker)[1] != os.getsid(0)
        assert {str((worker / "fd" / name).readlink()) for name in "12"} == {"/dev/null"}


def nice_and_session(process: Path) -> tuple[int, int]:
    """Return both of a folder in /proc."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return int(fields[16]), int(fields[3])


@pytest.mark.parametrize("moment", ["during", "after"])
def test_a_recording_that_is_removed_stays_away(path: Path, moment: str) -> None:
    """Nothing of it comes back."""
    with paired_beside(path):
        writer = started(path)
        write_segment(writer, 0)
        if moment == "during":
            shutil.rmtree(path)
        else:
            write_segment(writer, 2 * N_PAIRS)
            writer.close(counters={"lost": 0}, end="complete")
    shutil.rmtree(path, ignore_errors=True)
    until(lambda: not [*workers(path)])
    assert not path.exists()


def test_a_recording_that_never_came_to_be_is_nothing_to_pair(path: Path) -> None:
    """Where the recorder failed before it began to write."""
    with pytest.raises(RuntimeError), paired_beside(path):
        raise RuntimeError
    until(lambda: not [*workers(path)])
    assert not path.exists()
