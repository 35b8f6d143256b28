"""The API for Python, beside what the command line prints of the same recording."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jupytext
import pytest
from nbclient import NotebookClient

import gadgetops
from gadgetops.errors import QueryError, RecordingError

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "tests/data/demo.gadgetrec"
Gadgetops = Callable[..., "Result"]  # noqa: F821 - the class is conftest's


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A recording that may be written to."""
    return shutil.copytree(DEMO, tmp_path / "demo.gadgetrec", ignore=shutil.ignore_patterns("pairs"))


@pytest.mark.parametrize(
    "question",
    ["summary", "leaks", "top", "peak", "temporary", "timeline", "sizes", "lifetimes", "faults"],
)
def test_a_question_is_answered_as_by_its_verb(question: str, path: Path, run: Gadgetops) -> None:
    """With the same defaults."""
    expected = json.loads(run(question, path, "--format", "json").out)
    answer: Any = getattr(gadgetops.open(path), question)()
    assert json.loads(json.dumps(answer.to_json())) == expected


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Gadgetops:
    """The command line, whose fixture has the name of the package."""
    return request.getfixturevalue("gadgetops")


def test_filters_choose_allocations(path: Path) -> None:
    large = gadgetops.open(path).leaks(gadgetops.Filters(min_size_bytes=1000))
    assert large.leaks
    assert all(leak.live_bytes >= 1000 * leak.live_count for leak in large.leaks)


def test_tables_are_the_same_as_rows_arrow_and_pandas(path: Path) -> None:
    recording = gadgetops.open(path)
    rows = [*recording.events()]
    assert len(rows) == recording.summary().event_count
    assert recording.events().arrow().to_pylist() == rows
    assert recording.events().pandas().to_dict("records") == rows
    assert recording.events().columns == tuple(rows[0])
    for table in (recording.allocations, recording.stacks, recording.frames, recording.modules):
        assert table().arrow().num_rows == len([*table()])


def test_types_of_columns_are_those_of_the_format(path: Path) -> None:
    schema = gadgetops.open(path).events().arrow().schema
    assert [str(schema.field(name).type) for name in ("address", "size_bytes", "pid")] == [
        "int64",
        "int64",
        "int32",
    ]


def test_errors_are_those_of_the_command_line(path: Path) -> None:
    with pytest.raises(RecordingError, match="no such recording"):
        gadgetops.open(path.parent / "none.gadgetrec")
    with pytest.raises(QueryError):
        gadgetops.open(path).sql("drop table events").arrow()


def test_importing_the_package_imports_nothing_else() -> None:
    heavy = ("gadgetops.", "duckdb", "numpy")
    code = f"import sys, gadgetops; print([name for name in sys.modules if name.startswith({heavy})])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell, in order, and what it shows is not empty."""
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = jupytext.read(ROOT / "docs/notebooks/leaks.md")
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) == 5
    assert all(cell.outputs for cell in code)
