"""What waits between the reader of the ring buffer and the recorder: in memory first, then in a file."""

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gadgetops.trace.events import spool as spool_module
from gadgetops.trace.events.spool import Place, Spool

PIECE = 1000
MEMORY, FILE = 0, 1


def piece(number: int) -> memoryview:
    return memoryview(bytes([number % 256]) * PIECE)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Spool]]:
    """A spool with room for three pieces in memory and five on disk, unless asked otherwise."""
    spools: list[Spool] = []

    def make_one(folder: Path = tmp_path, **sizes: int) -> Spool:
        spool = Spool(folder, **{"memory_bytes": 3 * PIECE, "file_bytes": 5 * PIECE, **sizes})
        spools.append(spool)
        return spool

    yield make_one
    for spool in spools:
        spool.__exit__()


def test_the_file_takes_what_memory_has_no_room_for(make: Callable[..., Spool]) -> None:
    """Up to its size; then there is no room."""
    spool = make()
    places = [spool.put(piece(number)) for number in range(9)]
    assert [place.store for place in places if place] == [MEMORY] * 3 + [FILE] * 5
    assert places[8] is None
    assert all(spool.get(place) == piece(number) for number, place in enumerate(places) if place)


def test_what_is_freed_is_used_again(make: Callable[..., Spool]) -> None:
    """In memory as soon as there is room, while older records still wait in the file."""
    spool = make()
    places = [spool.put(piece(number)) for number in range(8)]
    spool.free_oldest()
    again = spool.put(piece(8))
    assert again is not None
    assert again.store == MEMORY
    assert all(spool.get(place) == piece(number) for number, place in enumerate(places) if place and number)
    assert spool.get(again) == piece(8)


def test_without_a_file_there_is_memory(make: Callable[..., Spool], tmp_path: Path) -> None:
    """As where the folder cannot be written."""
    spool = make(tmp_path / "missing")
    places = [spool.put(piece(number)) for number in range(4)]
    assert [place is None for place in places] == [False, False, False, True]


def test_a_disk_that_is_full_is_one_without_room(
    make: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was in memory stays, and once there is room again it is used."""
    spool = make()

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for number in range(3):
        assert spool.put(piece(number))
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        assert spool.put(piece(3)) is None
        patched.setattr(os, "pwrite", lambda *_: PIECE - 1)
        assert spool.put(piece(3)) is None
    place = spool.put(piece(3))
    assert place == Place(FILE, 0, PIECE)
    assert spool.get(place) == piece(3)


def test_what_was_read_takes_no_room(
    make: Callable[..., Spool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in memory nor on disk, where the file has no name."""
    monkeypatch.setattr(spool_module, "_KEPT_BYTES", 0)
    spool = make()
    for number in range(8):
        assert spool.put(piece(number))
    assert [*tmp_path.iterdir()] == []
    files = [store._fd for store in spool._stores]
    assert [os.fstat(file).st_size for file in files] == [3 * PIECE, 5 * PIECE]
    for _ in range(8):
        spool.free_oldest()
    assert [os.fstat(file).st_size for file in files] == [0, 0]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.integers(1, 400), st.none()), max_size=80))
def test_every_piece_is_read_as_it_was_put(sizes: list[int | None]) -> None:
    """Of any sizes, freed (None) in their order at any time."""
    waiting: deque[tuple[Place, bytes]] = deque()
    with Spool(Path("/tmp"), memory_bytes=1000, file_bytes=1500) as spool:
        for number, size in enumerate(sizes):
            if size is not None:
                contents = bytes([number]) * size
                place = spool.put(memoryview(contents))
                if place is not None:
                    waiting.append((place, contents))
            elif waiting:
                spool.free_oldest()
                waiting.popleft()
            assert all(spool.get(place) == contents for place, contents in waiting)
