"""
Each object of tests/data/objects gives what ig 0.48 showed of it, byte for byte.

`python tests/data/objects/expected.py` writes the expected texts anew, from an `ig` on PATH.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from gadgetops.gadget.reading.extra_info import extra_infos
from gadgetops.gadget.reading.subject import open_subject

FOLDER = Path(__file__).parents[2] / "data" / "objects"
OBJECTS = sorted(FOLDER.glob("*.bpf.o"))


@pytest.fixture(params=OBJECTS, ids=lambda path: path.name)
def path(request: pytest.FixtureRequest) -> Path:
    """One object after the other."""
    return request.param


def shown(path: Path, name: str) -> str:
    """Return the extra info *name* of an object."""
    return extra_infos(open_subject(str(path)))[name].content


@pytest.mark.parametrize("diagram", ["flowchart", "sequence"])
def test_diagrams(path: Path, diagram: str) -> None:
    """The whole text."""
    expected = path.with_name(path.name.replace(".bpf.o", f".{diagram}.mmd")).read_text()
    assert expected == shown(path, f"ebpf.{diagram}")


@pytest.mark.parametrize("name", ["sections", "maps", "variables", "programs"])
def test_lists(path: Path, name: str) -> None:
    """In any order, but for sections."""
    expected = json.loads(path.with_name(path.name.replace(".bpf.o", ".json")).read_text())[name]
    actual = json.loads(shown(path, f"ebpf.{name}")) or []
    if name == "sections":
        assert expected == actual
    else:
        assert ordered(expected) == ordered([as_lines(each) for each in actual])


def as_lines(each: dict[str, Any]) -> dict[str, Any]:
    """Return *each* with text of several lines as a list of lines."""
    several = ("Source", "SourceWithRelocation")
    return {key: value.splitlines() if key in several else value for key, value in each.items()}


def ordered(values: list[Any]) -> list[Any]:
    """Return *values* in an order of their own."""
    return sorted(values, key=lambda each: json.dumps(each, sort_keys=True))


def test_every_object_has_its_source_and_its_texts() -> None:
    """And nothing is left over."""
    names = {path.name.removesuffix(".bpf.o") for path in OBJECTS}
    for suffix in (".bpf.c", ".flowchart.mmd", ".sequence.mmd", ".json"):
        assert names == {path.name.removesuffix(suffix) for path in FOLDER.glob(f"*{suffix}")}
