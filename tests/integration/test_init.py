"""A new gadget, taken as its author takes it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gadgetops.bpf.object import Object

Gadgetops = Callable[..., "Result"]  # noqa: F821 - the class is conftest's


@pytest.mark.clang
def test_a_new_gadget_builds_inspects_and_has_its_documents_up_to_date(
    tmp_path: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strictly, so that all fields are described; without a change by hand."""
    monkeypatch.chdir(tmp_path)
    assert gadgetops("init", "my_gadget").status == 0
    monkeypatch.chdir(tmp_path / "my_gadget")
    assert gadgetops("build", ".", "--strict", "-t", "my_gadget", "-o", "objects").status == 0
    programs = Object.from_bytes(Path("objects/amd64.bpf.o").read_bytes()).programs
    assert [program.name for program in programs] == ["trace_sched_process_exec"]
    shown = gadgetops("inspect", "my_gadget").out
    assert "min_executions" in shown
    checked = gadgetops("docs", "--check")
    assert (checked.status, checked.out) == (0, "")
    assert "@NAME@" not in "".join(path.read_text() for path in Path().rglob("*.yaml"))


@pytest.mark.parametrize("name", ["My Gadget", "../x", "", "a--b", "@NAME@"])
def test_a_name_that_no_image_can_have_is_refused(
    name: str, gadgetops: Gadgetops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert gadgetops("init", name).status == 2
    assert [*tmp_path.iterdir()] == []


def test_nothing_is_overwritten(gadgetops: Gadgetops, tmp_path: Path) -> None:
    (tmp_path / "mine.c").touch()
    result = gadgetops("init", "mine", "-o", tmp_path)
    assert (result.status, [path.name for path in tmp_path.iterdir()]) == (1, ["mine.c"])
