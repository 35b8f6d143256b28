"""Pairs are kept beside a recording, valid for exactly the segments they were made from."""

import multiprocessing
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gadgetops.pairing import store as pairing_store
from gadgetops.pairing.pairs import extend, paired, stored
from gadgetops.questions.leaks.leaks import leaks_in
from gadgetops.recording.reader import open_recording

Write = Callable[..., Path]
EVENTS = [("malloc", 16, 5), ("malloc", 32, 7), ("free", 16), ("mmap", 4096, 9000), ("munmap", 4096, 4096)]


def pairs_of(path: Path) -> list[tuple[object, ...]]:
    """Return every allocation of a recording."""
    with paired(open_recording(path)) as connection:
        return connection.execute("from allocations order by seq").fetchall()


def stored_files(path: Path) -> dict[str, int]:
    """Return the stored files and when they were made."""
    return {file.name: file.stat().st_mtime_ns for file in (path / "pairs").glob("*.parquet")}


def test_pairs_are_made_once(write_recording: Write) -> None:
    """Asked again, nothing is written."""
    path = write_recording(EVENTS)
    first, made = pairs_of(path), stored_files(path)
    assert (pairs_of(path), stored_files(path)) == (first, made)


def test_a_reader_of_recordings_ignores_them(write_recording: Write) -> None:
    """They are no part of the recording."""
    path = write_recording(EVENTS)
    extend(path)
    assert open_recording(path).problems == ()


def test_a_segment_without_events_adds_nothing(write_recording: Write) -> None:
    """As the last one of a recording, which tells how its processes ended."""
    path, empty = write_recording(EVENTS), write_recording([], name="empty.gadgetrec")
    extend(path)
    counted = "select sum(allocated_count), sum(allocated_bytes), sum(released_count) from stored_growth"
    with paired(open_recording(path)) as connection:
        before = connection.execute(counted).fetchall()
    shutil.copy(empty / "events-00000.parquet", path / "events-00001.parquet")
    extend(path)
    with paired(open_recording(path)) as connection:
        assert connection.execute(counted).fetchall() == before


def test_another_content_of_a_segment_makes_them_anew(write_recording: Write) -> None:
    """An old answer is not given for a new recording."""
    path, other = write_recording(EVENTS), write_recording([*EVENTS, ("calloc", 64, 8)], name="other")
    assert leaks_in(path).live.count == 2
    for file in other.glob("*.*"):
        shutil.copy(file, path)
    assert leaks_in(path).live.count == 3
    assert len(pairs_of(path)) == 4


@pytest.mark.parametrize("table", ["closed", "open", "parts"])
@pytest.mark.parametrize("damage", [b"", b"PAR1 no more"])
def test_a_damaged_store_is_made_anew(write_recording: Write, table: str, damage: bytes) -> None:
    """Whichever of its files it is."""
    path = write_recording(EVENTS)
    expected = pairs_of(path)
    [file] = (path / "pairs").glob(f"{table}-*.parquet")
    file.write_bytes(damage)
    assert pairs_of(path) == expected


@pytest.mark.parametrize("text", ["", "{}", '{"version": 1}', "[1]", '{"version": 99}'])
def test_a_damaged_list_of_files_makes_it_anew(write_recording: Write, text: str) -> None:
    """Also one of another version."""
    path = write_recording(EVENTS)
    expected = pairs_of(path)
    (path / "pairs/pairs.json").write_text(text)
    (path / "pairs/leaks.json").write_text(text)
    assert pairs_of(path) == expected
    assert leaks_in(path).live.count == 2


def test_a_change_is_noticed_whatever_the_time_of_change_says(write_recording: Write) -> None:
    """A page that was changed in place, and the file's time set to what it was."""
    path = write_recording(EVENTS)
    expected = pairs_of(path)
    [file] = (path / "pairs").glob("open-*.parquet")
    status, content = file.stat(), file.read_bytes()
    file.write_bytes(content[:4] + bytes(200) + content[204:])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert pairs_of(path) == expected


def test_a_folder_that_cannot_be_written_is_no_obstacle(write_recording: Write) -> None:
    """Pairs go to the user's cache then. Root may write anywhere, so a file stands in its place."""
    path = write_recording(EVENTS)
    (path / "pairs").write_text("in the way")
    assert leaks_in(path).live.count == 2
    assert len(pairs_of(path)) == 3
    assert (path / "pairs").read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is played by who was root")
@pytest.mark.parametrize("is_made", [True, False])
def test_another_user_reads_what_root_recorded(write_recording: Write, is_made: bool) -> None:
    """Recorders are root, who asks need not be: it is paired elsewhere, whether it was paired or not."""
    made = write_recording(EVENTS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copytree(made, Path(folder) / "r.gadgetrec"))
        Path(folder).chmod(0o755)
        if is_made:
            extend(path)
        before = stored_files(path)
        os.seteuid(65534)
        try:
            with stored(open_recording(path)) as (store, state):
                found = store.folder, len(state.made_from)
        finally:
            os.seteuid(0)
        assert found[1] == 1
        assert found[0] != path / "pairs"
        assert stored_files(path) == before


def test_questions_at_once_agree(write_recording: Write) -> None:
    """Threads and processes that all find nothing stored."""
    path = write_recording(EVENTS)
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(pairs_of(path))) for _ in range(2)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        for thread in threads:
            thread.start()
        # A function of the package: other processes may not find this module, and then wait forever.
        found = pool.map_async(leaks_in, [path] * 2).get(timeout=100)
        for thread in threads:
            thread.join()
    assert answers == [pairs_of(path)] * 2
    assert found == [leaks_in(path)] * 2


def test_left_overs_of_a_crash_go_with_the_next_step(write_recording: Write) -> None:
    """Files of a step that never was a part of the store."""
    path = write_recording(EVENTS)
    (path / "pairs").mkdir()
    left_over = path / "pairs/closed-00000-1-abc.parquet"
    left_over.write_bytes(b"half")
    extend(path)
    assert not left_over.exists()


def test_what_is_read_is_not_deleted(write_recording: Write) -> None:
    """A question that takes long outlives the next step."""
    path = write_recording(EVENTS)
    with paired(open_recording(path)) as connection:
        pairing_store.Store(path / "pairs").drop()
        (path / "pairs/pairs.json").write_text("{}")
        extend(path)
        assert connection.execute("select count(*) from allocations").fetchall() == [(3,)]
