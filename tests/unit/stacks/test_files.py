"""Files stay readable, whatever becomes of their names."""

import os
from pathlib import Path

import pytest

from gadgetops.stacks.naming import files
from gadgetops.stacks.naming.files import Files, build_id_of


def mapped(kept: Files, path: Path) -> files.File | None:
    """Return what this process would have mapped."""
    return kept.mapped(os.getpid(), str(path), 0, 1, root=None)


def test_a_file_that_was_deleted_and_replaced_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_text("old")
    found = mapped(Files(), path)
    path.unlink()
    path.write_text("new")
    assert found is not None
    assert found.path.read_text() == "old"


def test_one_file_has_one_handle_while_somebody_has_it(tmp_path: Path) -> None:
    path, kept = tmp_path / "program", Files()
    path.write_text("text")
    first = mapped(kept, path)
    assert first is mapped(kept, path)
    n_open = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the descriptors, not their targets
    del first
    assert len(os.listdir("/proc/self/fd")) == n_open - 1  # noqa: PTH208


def test_what_has_no_file_has_no_handle(tmp_path: Path) -> None:
    kept = Files()
    assert mapped(kept, tmp_path / "gone") is None
    assert kept.mapped(os.getpid(), "[vdso]", 0, 1, root=None) is None


def test_a_process_that_is_gone_is_asked_by_its_root(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("text")
    kept = Files()
    root = kept.root_of(os.getpid())
    found = kept.mapped(2**22 + 1, str(tmp_path / "program"), 0, 1, root=root)
    assert found is not None
    assert found.path.read_text() == "text"


def test_descriptors_are_left_for_other_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files beyond that are looked for by name."""
    monkeypatch.setattr(files.resource, "getrlimit", lambda _which: (4, 4))
    kept = Files()
    for number in range(3):
        (tmp_path / str(number)).write_text("text")
    found = [mapped(kept, tmp_path / str(number)) for number in range(3)]
    assert [each is not None for each in found] == [True, True, False]


def test_a_text_has_no_build_id(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    assert build_id_of(tmp_path / "text") is None
