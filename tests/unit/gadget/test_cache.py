"""Objects kept from earlier builds: believed only if nothing they were made from has changed."""

from pathlib import Path

import pytest

from gadgetops.errors import StorageError
from gadgetops.gadget.building.cache import Entry, ObjectCache


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    """The entry for an object that was made from one file, in a folder where another was looked for."""
    (tmp_path / "source.c").write_text("int x;")
    return Entry.of(
        tmp_path, command="clang -O2", inputs=["source.c"], absent=["own.h"], content=b"\x7fELF\n\n"
    )


def test_an_entry_is_what_was_stored(tmp_path: Path, entry: Entry) -> None:
    cache = ObjectCache(tmp_path / "cache")
    assert cache.get("name") is None
    cache.put("name", entry)
    assert cache.get("name") == entry
    assert cache.get("other") is None


def test_an_entry_holds_until_something_changes(tmp_path: Path, entry: Entry) -> None:
    assert entry.holds(tmp_path, "clang -O2")
    assert not entry.holds(tmp_path, "clang -O1")
    (tmp_path / "own.h").write_text("")
    assert not entry.holds(tmp_path, "clang -O2")
    (tmp_path / "own.h").unlink()
    (tmp_path / "source.c").write_text("int y;")
    assert not entry.holds(tmp_path, "clang -O2")
    (tmp_path / "source.c").unlink()
    assert not entry.holds(tmp_path, "clang -O2")


def test_a_file_that_is_only_touched_has_not_changed(tmp_path: Path, entry: Entry) -> None:
    (tmp_path / "source.c").touch()
    assert entry.holds(tmp_path, "clang -O2")


def test_a_damaged_entry_is_none(entry: Entry) -> None:
    data = entry.to_bytes()
    assert Entry.from_bytes(data) == entry
    for end in range(len(data)):
        assert Entry.from_bytes(data[:end]) is None
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        found = Entry.from_bytes(bytes(changed))
        assert found is None or found.content == entry.content


@pytest.mark.parametrize("header", [b"", b"5", b"[]", b"null", b'{"sha256": 5}', b"[" * 100_000])
def test_what_is_no_entry_is_none(header: bytes) -> None:
    assert Entry.from_bytes(header + b"\n") is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, entry: Entry) -> None:
    (tmp_path / "file").write_text("")
    cache = ObjectCache(tmp_path / "file")
    cache.put("name", entry)
    assert cache.get("name") is None


def test_nothing_is_left_of_an_entry_that_could_not_be_stored(tmp_path: Path, entry: Entry) -> None:
    cache = ObjectCache(tmp_path / "cache")
    cache.put("name", entry)
    (path,) = (tmp_path / "cache").iterdir()
    path.unlink()
    path.mkdir()
    cache.put("name", entry)
    assert list((tmp_path / "cache").iterdir()) == [path]


def test_an_input_that_vanishes_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        Entry.of(tmp_path, command="", inputs=["gone.c"], absent=[], content=b"")
    assert caught.value.path == tmp_path / "gone.c"
