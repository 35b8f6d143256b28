"""What a runtime hides from us is said, with what to type instead."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gadgetops.questions.asking.runtimes import notes_of
from gadgetops.recording.reader import open_recording
from gadgetops.recording.schema import ModuleRow
from gadgetops.recording.writer import RecordingWriter


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a recording of a program that maps some files."""

    def write_(*paths: str, environment: dict[str, str] | None = None) -> Path:
        header = {"target": {"command": ["x"]}, "environment": environment or {}}
        writer = RecordingWriter.create(tmp_path / "r.gadgetrec", header)
        writer.write_modules(
            ModuleRow(number, 1, path, None, 0x1000 * number, 0x1000 * (number + 1), 0, 0)
            for number, path in enumerate(paths, 1)
        )
        writer.close(counters={"lost": 0}, end="complete")
        return writer.path

    return write_


def notes(path: Path) -> tuple[str, ...]:
    """Return what is said of a recording."""
    recording = open_recording(path)
    with recording.connect() as connection:
        return notes_of(recording, connection)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/usr/bin/python3.11", "PYTHONMALLOC=malloc"),
        ("/usr/lib/x86_64-linux-gnu/libpython3.13.so.1.0", "PYTHONMALLOC=malloc"),
        ("/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so", "GC.class_histogram"),
        ("/usr/bin/node", "--heapsnapshot-signal"),
        ("/usr/lib/x86_64-linux-gnu/libruby-3.1.so.3.1", "trace_object_allocations"),
        ("/usr/bin/php8.2", "USE_ZEND_ALLOC=0"),
    ],
)
def test_each_runtime_is_known_by_its_files(write: Callable[..., Path], path: str, says: str) -> None:
    """One note each, with what to type."""
    [note] = notes(write("/usr/lib/libc.so.6", path))
    assert says in note


def test_other_programs_have_no_note(write: Callable[..., Path]) -> None:
    """Names that only begin alike are others."""
    assert notes(write("/bin/server", "/usr/bin/nodeinfo", "/opt/python3-tools/run", "/usr/bin/phpize")) == ()


def test_a_runtime_whose_objects_are_seen_has_none(write: Callable[..., Path]) -> None:
    """PYTHONMALLOC=malloc was set already."""
    path = write("/usr/bin/python3.11", environment={"PYTHONMALLOC": "malloc"})
    assert notes(path) == ()


def test_every_answer_has_the_note(write: Callable[..., Path], gadgetops: Callable[..., Any]) -> None:
    """In JSON and in text; it takes nothing from how sure the answer is."""
    path = write("/usr/bin/python3.11")
    for verb in ("leaks", "summary", "top", "peak"):
        [note] = json.loads(gadgetops(verb, path, "--format", "json").out)["notes"]
        assert f"  note: {note}" in gadgetops(verb, path).out.splitlines()
