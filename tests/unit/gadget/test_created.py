"""When a gadget was made: chosen, else committed, else 1970; never when it was built or copied."""

import subprocess
from pathlib import Path

import pytest

from gadgetops.errors import UsageError
from gadgetops.gadget.building.created import created


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two files, committed at different times."""
    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(variable, raising=False)
    git(tmp_path, "init", "--quiet")
    for number, name in enumerate(("old.c", "new.c", "README"), start=1):
        (tmp_path / name).write_text(name)
        git(tmp_path, "add", name)
        git(tmp_path, "commit", "--quiet", "--message", name, date=f"{number}000000000 +0200")
    return tmp_path


def git(folder: Path, *arguments: str, date: str = "") -> None:
    names = [f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    environment = dict.fromkeys(names, "someone") | {"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date}
    subprocess.run(["git", *arguments], cwd=folder, check=True, env=environment | {"PATH": "/usr/bin:/bin"})


def test_it_is_when_one_of_the_inputs_was_last_committed(repository: Path) -> None:
    assert created(repository, [Path("old.c")]).epoch_s == 1_000_000_000
    found = created(repository, [Path("old.c"), Path("new.c"), Path("/usr/include/stdio.h")])
    assert (found.epoch_s, str(found), found.origin) == (2_000_000_000, "2033-05-18T03:33:20Z", "last commit")


def test_source_date_epoch_goes_first(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    found = created(repository, [Path("old.c")])
    assert (str(found), found.origin) == ("2023-11-14T22:13:20Z", "SOURCE_DATE_EPOCH")


@pytest.mark.parametrize("text", ["", "yesterday", "-1", "1.5", " 1", "²", "9" * 19, "9" * 5000])
def test_a_source_date_epoch_that_is_no_time_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(UsageError, match="expected seconds since 1970"):
        created(tmp_path, [])


def test_what_is_not_in_git_was_made_in_1970(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "untracked.c").write_text("x")
    assert str(created(repository, [Path("untracked.c")])) == "1970-01-01T00:00:00Z"
    assert str(created(repository, [Path("/etc/passwd"), Path("../outside.c")])) == "1970-01-01T00:00:00Z"
    assert str(created(tmp_path_factory.mktemp("plain"), [Path("x.c")])) == "1970-01-01T00:00:00Z"
    monkeypatch.setenv("PATH", "/nonexistent")
    assert created(repository, [Path("old.c")]).origin == "not in git, SOURCE_DATE_EPOCH not set"


def test_names_that_look_like_git_patterns_are_names(repository: Path) -> None:
    assert created(repository, [Path("*.c")]).epoch_s == 0
