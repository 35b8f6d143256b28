"""Settings that are written down, and what goes before what."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gadgetops.commands.common.config import user_file

Gadgetops = Callable[..., "Result"]  # noqa: F821 - the class is conftest's
DEMO = Path(__file__).parents[1] / "data/demo.gadgetrec"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with a recording, and a user without settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    folder = tmp_path / "project"
    shutil.copytree(DEMO, folder / "demo.gadgetrec", ignore=shutil.ignore_patterns("pairs"))
    monkeypatch.chdir(folder)
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def shown(gadgetops: Gadgetops, *options: str) -> int:
    """Return how many stacks `leaks` shows as CSV."""
    return len(gadgetops("leaks", "demo.gadgetrec", "--format", "csv", *options).out.splitlines()) - 1


def test_what_is_typed_goes_before_the_project_and_that_before_the_user(gadgetops: Gadgetops) -> None:
    everything = shown(gadgetops)
    assert everything == 2
    write(user_file(), "limit = 0\n")
    assert shown(gadgetops) == 0
    write(Path("pyproject.toml"), "[tool.gadgetops.leaks]\nlimit = 1\n")
    assert shown(gadgetops) == 1
    write(Path("gadgetops.toml"), "[leaks]\nlimit = 2\n")
    assert shown(gadgetops) == 2
    assert shown(gadgetops, "--limit", "1") == 1


def test_paths_are_meant_from_the_files_folder(gadgetops: Gadgetops) -> None:
    """The user's suppressions lie beside the user's settings."""
    everything = shown(gadgetops)
    write(user_file(), 'suppressions = ["known.supp"]\n')
    write(user_file().with_name("known.supp"), "leak:remember\n")
    assert shown(gadgetops) < everything


def test_config_shows_what_is_in_force_and_from_where(gadgetops: Gadgetops) -> None:
    write(user_file(), 'store = "user"\nlimit = 1\n')
    write(Path("gadgetops.toml"), "limit = 2\n[record]\nduration = '1min'\n")
    rows = json.loads(gadgetops("config", "--format", "json").out)
    found = {row["setting"]: (row["value"], row["from"]) for row in rows if row["from"] != "environment"}
    assert found == {
        "limit": (2, "gadgetops.toml"),
        "record.duration": ("1min", "gadgetops.toml"),
        "store": ("user", str(user_file())),
    }
    assert {"GADGETOPS_STORE"} <= {row["setting"] for row in rows if row["from"] == "environment"}


@pytest.mark.parametrize("file", ["gadgetops.toml", "pyproject.toml"])
def test_check_finds_the_projects_budget(file: str, gadgetops: Gadgetops) -> None:
    table = "budget" if file == "gadgetops.toml" else "tool.gadgetops.budget"
    write(Path(file), f"[{table}]\nmax-leak-bytes = 1\n")
    assert gadgetops("check", "demo.gadgetrec").status == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("limit = ", "gadgetops.toml: "),
        ("[leaks]\nlimt = 1", "gadgetops.toml: leaks.limt: `leaks` has no option --limt"),
        ("[leaks]\nlimit = 'many'", "--limit: not a number: 'many'"),
    ],
)
def test_a_setting_that_is_none_is_named(text: str, expected: str, gadgetops: Gadgetops) -> None:
    write(Path("gadgetops.toml"), text)
    result = gadgetops("leaks", "demo.gadgetrec")
    assert (result.status, result.err.startswith(f"gadgetops: error: {expected}")) == (2, True)
