"""
Each object of tests/data/objects gives what ig 0.55.1 showed of it, byte for byte, and what ig 0.48 showed if
that is asked for.

`python tests/data/objects/expected.py` writes the expected texts anew, from an `ig` on PATH.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gadgetops.bpf.reading import NEWEST, Reading
from gadgetops.errors import ObjectError
from gadgetops.gadget.reading.extra_info import extra_infos
from gadgetops.gadget.reading.subject import open_subject

FOLDER = Path(__file__).parents[2] / "data" / "objects"
OBJECTS = sorted(FOLDER.glob("*.bpf.o"))
DIAGRAMS = ("flowchart", "sequence")
LISTS = ("sections", "maps", "variables", "programs")


@pytest.fixture(params=OBJECTS, ids=lambda path: path.name)
def path(request: pytest.FixtureRequest) -> Path:
    """One object after the other."""
    return request.param


def beside(path: Path, suffix: str) -> Path:
    """Return the file beside the object at *path*: `beside(path, ".json")`."""
    return path.with_name(path.name.replace(".bpf.o", suffix))


def shown(path: Path, name: str, reading: Reading = NEWEST) -> str:
    """Return the extra info *name* of an object."""
    return extra_infos(replace(open_subject(str(path)), reading=reading))[name].content


@pytest.mark.parametrize("diagram", DIAGRAMS)
def test_diagrams(path: Path, diagram: str) -> None:
    """The whole text."""
    assert beside(path, f".{diagram}.mmd").read_text() == shown(path, f"ebpf.{diagram}")


@pytest.mark.parametrize("name", LISTS)
def test_lists(path: Path, name: str) -> None:
    """In any order, but for sections."""
    expected = json.loads(beside(path, ".json").read_text())[name]
    assert comparable(name, expected) == comparable(name, json.loads(shown(path, f"ebpf.{name}")) or [])


@pytest.mark.parametrize("reading", [Reading.IG_0_48])
def test_the_older_reading_is_that_of_ig_0_48(path: Path, reading: Reading) -> None:
    """It differs from the newest where, and as, the two programs differ; what 0.48 refuses is refused."""
    older = beside(path, ".ig-0.48.json")
    expected = json.loads(older.read_text() if older.exists() else beside(path, ".json").read_text())
    if expected is None:
        with pytest.raises(ObjectError, match="the loader takes none such"):
            shown(path, "ebpf.flowchart", reading)
        return
    for name in LISTS:
        actual = json.loads(shown(path, f"ebpf.{name}", reading)) or []
        assert comparable(name, expected[name]) == comparable(name, actual)
    for name in DIAGRAMS:
        lines = expected.get(name) or beside(path, f".{name}.mmd").read_text().splitlines()
        assert lines == shown(path, f"ebpf.{name}", reading).splitlines()


def test_the_versions_differ_in_some_objects() -> None:
    """Or the test above could not fail."""
    differing = {each.name.partition(".")[0] for each in FOLDER.glob("*.ig-0.48.json")}
    assert {"weak", "labels", "struct_ops", "may_goto"} <= differing


def comparable(name: str, values: list[Any]) -> list[Any]:
    """Return *values* in an order of their own, but sections; text of several lines as lists of lines."""
    if name == "sections":
        return values
    return sorted(map(as_lines, values), key=lambda each: json.dumps(each, sort_keys=True))


def as_lines(each: dict[str, Any]) -> dict[str, Any]:
    """Return *each* with text of several lines as a list of lines."""
    return {
        key: value.splitlines() if key.startswith("Source") and isinstance(value, str) else value
        for key, value in each.items()
    }


def test_every_object_has_its_source_and_its_texts() -> None:
    """And nothing is left over."""
    names = {path.name.removesuffix(".bpf.o") for path in OBJECTS}
    for suffix in (".bpf.c", ".flowchart.mmd", ".sequence.mmd"):
        assert names == {path.name.removesuffix(suffix) for path in FOLDER.glob(f"*{suffix}")}
    assert names == {path.name.partition(".")[0] for path in FOLDER.glob("*.json")}
