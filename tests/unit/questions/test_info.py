"""What is said about a recording as a whole."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from services.old_recordings import forget_checksums

from gadgetops.questions.info import info
from gadgetops.recording.reader import open_recording
from gadgetops.recording.schema import MAX_WALKED_FRAMES, FrameRow, ModuleRow, StackRow, SymbolRow
from gadgetops.recording.writer import RecordingWriter
from gadgetops.report.info import info_as_text

Write = Callable[..., Path]
EVENTS = [("malloc", 16, 5, 1), ("malloc", 32, 5, -1), ("malloc", 48, 5, -2), ("malloc", 64, 5, -2)]


def test_events_without_a_stack_are_counted_by_their_kind(write_recording: Write) -> None:
    """None was asked for, or there was no room for it."""
    stacks = info(open_recording(write_recording(EVENTS))).stacks
    assert (stacks.n_events, stacks.without, stacks.failed, stacks.empty, stacks.n_stacks) == (4, 1, 2, 0, 3)


def test_modules_say_how_many_addresses_have_a_function(write_recording: Write) -> None:
    """All of the fixture's but one; the frame of main has no module."""
    [module] = info(open_recording(write_recording(EVENTS))).modules
    assert (module.path, module.n_addresses, module.n_symbolised) == ("/bin/program", 3, 2)


@pytest.mark.parametrize(
    ("function", "path", "depth", "expected"),
    [
        ("__libc_start_call_main", "/usr/lib/libc.so.6", 2, {}),
        ("start_thread", "/bin/static", 2, {}),
        (None, "/lib/ld-musl-x86_64.so.1", 2, {}),
        ("inner", "/bin/program", 2, {"/bin/program": 1}),
        (None, "/bin/program", 1, {"/bin/program": 1}),
        ("inner", "/bin/program", MAX_WALKED_FRAMES, {}),
    ],
)
def test_a_stack_ends_where_programs_and_threads_begin_or_else_early(
    tmp_path: Path, function: str | None, path: str, depth: int, expected: dict[str, int]
) -> None:
    """One that is as deep as the kernel goes is cut for another reason."""
    writer = RecordingWriter.create(tmp_path / "r", {})
    writer.write_modules([ModuleRow(0, 1, path, None, 0, 9, 0, 0)])
    writer.write_frames([FrameRow(0, 1, 0, 1)])
    writer.write_stacks([StackRow(0, [0] * depth)])
    writer.write_symbols([SymbolRow(0, 0, function, None, None)])
    names = ("timestamp_ns", "pid", "tid", "operation", "address", "size_bytes", "stack_id", "lost")
    writer.write_events(dict.fromkeys(names, np.zeros(1, np.int64)), ["malloc"])
    writer.close(counters={}, end="complete")
    found = info(open_recording(writer.path))
    assert found.stacks.cut_short == expected
    assert ("no frame pointers" in info_as_text(found)) == bool(expected)


def test_counters_of_the_recorder_are_shown(write_recording: Write) -> None:
    """Where it says that something is missing, with the way out."""
    path = write_recording(EVENTS, lost=3, truncated_stacks=2, lost_mappings=7)
    text = info_as_text(info(open_recording(path)))
    for line in ("4, 3 lost", "2 as deep as the kernel goes", "7 reports of mappings", "larger --max-stacks"):
        assert line in text


def test_a_recording_that_was_not_ended_says_so(
    write_recording: Write, gadgetops: Callable[..., Any]
) -> None:
    """And how to get its symbols."""
    path = write_recording(EVENTS)
    forget_checksums(path)
    header = json.loads((path / "recording.json").read_text())
    (path / "recording.json").write_text(json.dumps({**header, "end": None, "counters": None, "rows": None}))
    (path / "symbols.parquet").unlink()
    shown = gadgetops("info", path)
    assert (shown.status, shown.err) == (0, "")
    assert "the recorder did not end it" in shown.out
    assert f"run `gadgetops symbolize {path}`" in shown.out
    assert "unknown how many were lost" in shown.out


def test_json_has_the_same(write_recording: Write, gadgetops: Callable[..., Any]) -> None:
    """Header included."""
    path = write_recording(EVENTS)
    found = json.loads(gadgetops("info", path, "--format", "json").out)
    assert found["header"]["end"] == "complete"
    assert found["stacks"]["failed"] == 2
    assert found["modules"][0]["build_id"] == "c0ffee"


def test_names_cannot_command_the_terminal(write_recording: Write) -> None:
    """A path of the traced program may hold anything."""
    modules = [ModuleRow(1, 1, "/bin/\x1b[2Jprogram", None, 0x400000, 0x410000, 0, 5)]
    assert "\x1b" not in info_as_text(info(open_recording(write_recording(EVENTS, modules=modules))))


def test_symbolize_leaves_what_it_cannot_better(
    write_recording: Write, gadgetops: Callable[..., Any]
) -> None:
    """The files are not on this machine: the symbols that are there stay."""
    path = write_recording(EVENTS)
    before = (path / "symbols.parquet").read_bytes()
    shown = gadgetops("symbolize", path)
    assert (shown.status, shown.out) == (0, "")
    assert "0 of 4 addresses symbolised" in shown.err
    assert (path / "symbols.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            {"processes": [{"pid": 7, "comm": "server"}, {"pid": 8, "comm": None}], "children": True},
            "server (process 7), unknown (process 8)",
        ),
        (
            {
                "processes": [{"pid": 7, "comm": "server"}],
                "descendants": [{"pid": number, "comm": "worker"} for number in range(10, 17)],
            },
            "server (process 7), and what they had started: "
            + ", ".join(f"worker (process {number})" for number in range(10, 15))
            + " and 2 more",
        ),
        ({"container": {"name": "shop", "image": "shop:v1"}, "pid": 7}, "container shop, image shop:v1"),
        ({"processes": "damaged"}, "processes damaged"),
    ],
)
def test_the_target_is_named(target: Any, expected: str, write_recording: Write) -> None:
    """Running processes by their names and numbers, and a container by its name."""
    path = write_recording([])
    forget_checksums(path)
    header = json.loads((path / "recording.json").read_text())
    (path / "recording.json").write_text(json.dumps({**header, "target": target}))
    lines = info_as_text(info(open_recording(path))).splitlines()
    assert f"target      {expected}" in lines
