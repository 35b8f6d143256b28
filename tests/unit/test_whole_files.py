"""Files that appear together, whole, or not at all."""

import os
from pathlib import Path

import pytest

from gadgetops.errors import StorageError, UsageError
from gadgetops.whole_files import replacing_files


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_appear_at_the_end(tmp_path: Path) -> None:
    files = {tmp_path / "new/folder/a": b"A", tmp_path / "b": b"B"}
    (tmp_path / "b").write_bytes(b"old")
    with replacing_files(files):
        assert not (tmp_path / "new/folder/a").exists()
        assert (tmp_path / "b").read_bytes() == b"old"
    assert tree(tmp_path) == {"new/folder/a": b"A", "b": b"B"}


def test_an_error_meanwhile_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"old")
    with (
        pytest.raises(UsageError),
        replacing_files({tmp_path / "new/folder/a": b"A", tmp_path / "b": b"B"}),
    ):
        raise UsageError("no")
    assert tree(tmp_path) == {"b": b"old"}
    assert not (tmp_path / "new").exists()


def test_a_file_that_cannot_be_written_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    with (
        pytest.raises(StorageError) as caught,
        replacing_files({tmp_path / "a": b"A", tmp_path / "file/b": b"B"}),
    ):
        pytest.fail("the body is not reached")
    assert caught.value.path == tmp_path / "file/b"
    assert tree(tmp_path) == {"file": b"no folder"}


def test_a_name_that_is_taken_by_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(StorageError) as caught, replacing_files({tmp_path / "a": b"A", tmp_path / "b": b"B"}):
        pytest.fail("the body is not reached")
    assert (caught.value.path, caught.value.reason) == (tmp_path / "b", "Is a directory")
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


def test_replaced_files_keep_their_mode(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o600)
    with replacing_files({tmp_path / "a": b"new"}):
        pass
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes files of others")
def test_what_root_writes_belongs_to_whom_the_folder_belongs_to(tmp_path: Path) -> None:
    (tmp_path / "own").write_bytes(b"old")
    os.chown(tmp_path / "own", 1234, 1235)
    os.chown(tmp_path, 4321, 5432)
    with replacing_files({tmp_path / "new": b"", tmp_path / "sub/new": b"", tmp_path / "own": b""}):
        pass
    owners = {name: (tmp_path / name).stat() for name in ("new", "sub", "sub/new", "own")}
    assert {name: (found.st_uid, found.st_gid) for name, found in owners.items()} == {
        "new": (4321, 5432),
        "sub": (4321, 5432),
        "sub/new": (4321, 5432),
        "own": (1234, 1235),
    }
