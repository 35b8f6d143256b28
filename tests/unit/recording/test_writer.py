"""What a written recording holds, and what is left when writing fails."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from gadgetops.errors import AlreadyExists, RecordingError, StorageError
from gadgetops.recording import writer as writer_module
from gadgetops.recording.reader import open_recording
from gadgetops.recording.schema import (
    EVENT_COLUMNS,
    JIT_CODE_COLUMNS,
    SEGMENT_TABLES,
    SLICE_COLUMNS,
    SYMBOL_COLUMNS,
    FrameRow,
    JitCodeRow,
    ModuleRow,
    ProcessRow,
    ResidentRow,
    SliceRow,
    StackRow,
)
from gadgetops.recording.writer import RecordingWriter, drop_slices

END: dict[str, Any] = {"counters": {}, "end": "complete"}
MAX = 2**63 - 1


def rows(path: Path, columns: str = "*") -> list[tuple[Any, ...]]:
    return duckdb.sql(f"select {columns} from read_parquet('{path}')").fetchall()


def types(path: Path) -> dict[str, str]:
    described = duckdb.sql(f"describe select * from read_parquet('{path}')").fetchall()
    return {row[0]: row[1].lower() for row in described}


def events(n: int, **columns: Any) -> dict[str, np.ndarray]:
    names = [name for name in EVENT_COLUMNS if name != "seq"]
    return {
        name: np.asarray(columns.get(name, np.arange(n) if name == "address" else np.zeros(n)))
        for name in names
    } | {"operation": np.asarray(columns.get("operation", np.zeros(n, np.uint8)))}


@pytest.fixture
def writer(tmp_path: Path) -> RecordingWriter:
    return RecordingWriter.create(tmp_path / "r", {"target": {"pid": 7}})


def header(writer: RecordingWriter) -> Any:
    return json.loads((writer.path / "recording.json").read_text())


def test_a_recording_says_that_it_is_being_written(writer: RecordingWriter) -> None:
    """Until it is closed, `end` is null."""
    assert tuple(header(writer)[key] for key in ("format_version", "target", "end")) == (1, {"pid": 7}, None)


def test_a_closed_recording_says_how_it_ended(writer: RecordingWriter) -> None:
    """The writer counts the events itself."""
    writer.write_events(events(3), ["malloc"])
    writer.close(**{**END, "counters": {"lost": 2, "events": 99}, "end": "interrupted"})
    assert header(writer)["end"] == "interrupted"
    assert header(writer)["counters"] == {"events": 3, "lost": 2, "failed_stacks": 0}


def test_files_have_the_documented_columns(write_recording: Callable[..., Path]) -> None:
    """Names, types and order."""
    path = write_recording([("malloc", 1, 2)], resident=[ResidentRow(1, 2, 4096)])
    for table, columns in SEGMENT_TABLES.items():
        if table not in ("slices", "jit_code"):
            assert types(path / f"{table}-00000.parquet") == columns
    assert types(path / "symbols.parquet") == SYMBOL_COLUMNS


def test_slices_are_for_nobody_else_and_are_read_as_written(writer: RecordingWriter) -> None:
    """They hold memory of the process."""
    row = SliceRow(0, 1, 2, b"\xff" * 136, b"\0abc\xff" * 100, [7, 8])
    writer.write_slices([row])
    writer.close_segment()
    path = writer.path / "slices-00000.parquet"
    assert path.stat().st_mode & 0o777 == 0o600
    assert types(path) == SLICE_COLUMNS
    with open_recording(writer.path).connect() as connection:
        read = connection.execute("select * from slices").fetchall()
    assert read == [tuple(row)]


def test_code_that_was_generated_is_read_as_written(writer: RecordingWriter) -> None:
    """Names are whatever the process wrote."""
    row = JitCodeRow(1, 2, 3, 1 << 46, 32, "a\x1b[31m\n\0b", "shop.js", None)
    writer.write_jit_code([row])
    writer.close_segment()
    assert types(writer.path / "jit_code-00000.parquet") == JIT_CODE_COLUMNS
    with open_recording(writer.path).connect() as connection:
        assert connection.execute("select * from jit_code").fetchall() == [tuple(row)]


def test_slices_may_be_dropped_while_somebody_reads(writer: RecordingWriter) -> None:
    """Who opened the recording before still has all the rest of it."""
    writer.write_slices([SliceRow(0, 1, 2, b"\xff" * 136, b"\0" * 100, [7])])
    writer.write_events(events(3), ["malloc"])
    writer.close_segment()
    recording = open_recording(writer.path)
    drop_slices(writer.path.glob("slices-*"))
    with recording.connect() as connection:
        counts = [
            connection.execute(f"select count(*) from {table}").fetchall()[0][0]
            for table in ("slices", "events")
        ]
    assert counts == [0, 3]


def test_only_the_files_of_the_format_are_in_the_folder(write_recording: Callable[..., Path]) -> None:
    """A table without rows has no file, and nothing temporary stays."""
    assert sorted(path.name for path in write_recording([("malloc", 1, 2)], modules=[]).iterdir()) == [
        "events-00000.parquet",
        "frames-00000.parquet",
        "manifest.txt",
        "processes-00000.parquet",
        "recording.json",
        "stacks-00000.parquet",
        "symbols.parquet",
    ]


def test_full_segments_are_written_at_once(writer: RecordingWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the sizes of the batches, segments are equal and seq runs through them."""
    monkeypatch.setattr(writer_module, "SEGMENT_EVENTS", 10)
    writer.write_events(events(7), ["malloc"])
    assert not list(writer.path.glob("events-*"))
    writer.write_events(events(18), ["malloc"])
    segments = sorted(writer.path.glob("events-*"))
    assert [len(rows(segment)) for segment in segments] == [10, 10]
    writer.close(**END)
    assert [*range(25)] == [row[0] for row in rows(writer.path / "events-*.parquet", "seq")]


def test_a_segment_is_closed_when_it_is_old(writer: RecordingWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what its events refer to is then as durable as they are."""
    writer.write_stacks([StackRow(0, [])])
    writer.write_events(events(1), ["malloc"])
    writer.tick()
    assert {path.name for path in writer.path.iterdir()} == {"manifest.txt", "recording.json"}
    monkeypatch.setattr(writer_module, "SEGMENT_SECONDS", 0)
    writer.tick()
    names = {path.name for path in writer.path.iterdir()}
    assert names == {"manifest.txt", "recording.json", "stacks-00000.parquet", "events-00000.parquet"}


def test_nothing_is_written_while_nothing_happens(
    writer: RecordingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However old the recording is."""
    monkeypatch.setattr(writer_module, "SEGMENT_SECONDS", 0)
    writer.tick()
    assert {path.name for path in writer.path.iterdir()} == {"manifest.txt", "recording.json"}


def test_processes_without_events_are_not_kept_in_memory_for_ever(
    writer: RecordingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where segments have no gap, nothing is missing: so this one has events, none."""
    monkeypatch.setattr(writer_module, "SEGMENT_ROWS", 2)
    writer.write_processes([ProcessRow(1, 1, "fork", 2, None, None)] * 2)
    writer.tick()
    assert len(rows(writer.path / "processes-00000.parquet")) == 2
    assert not rows(writer.path / "events-00000.parquet")


def test_what_events_refer_to_is_durable_before_them(
    writer: RecordingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails at the events leaves their stacks, never the other way round."""
    replaced: list[str] = []
    replace = Path.replace

    def note(source: Path, target: Path) -> Path:
        replaced.append(target.name.split("-")[0])
        return replace(source, target)

    writer.write_processes([ProcessRow(1, 1, "start", None, None, None)])
    writer.write_stacks([StackRow(0, [0])])
    writer.write_frames([FrameRow(0, 1, 0, 1)])
    writer.write_modules([ModuleRow(0, 1, "/m", None, 0, 1, 0, 0)])
    writer.write_events(events(1), ["malloc"])
    monkeypatch.setattr(Path, "replace", note)
    writer.close_segment()
    assert replaced == ["modules", "frames", "stacks", "processes", "events"]


def test_operations_are_stored_by_name(writer: RecordingWriter) -> None:
    """Codes may change their meaning between two calls."""
    writer.write_events(events(1), ["it's"])
    writer.write_events(events(2, operation=[1, 0]), ["free", "malloc"])
    writer.close(**END)
    assert rows(writer.path / "events-*.parquet", "operation") == [("it's",), ("malloc",), ("free",)]


def test_what_does_not_fit_is_clamped_and_addresses_keep_their_bits(writer: RecordingWriter) -> None:
    """A calloc may ask for 2^64-1 bytes."""
    high = np.array([2**64 - 1], np.uint64)
    writer.write_events(events(1, address=high, size_bytes=high, stack_id=np.array([-2])), ["calloc"])
    writer.write_frames([FrameRow(1, 2**64 - 2, None, None)])
    writer.close(**END)
    assert rows(writer.path / "events-*.parquet", "address, size_bytes, stack_id") == [(-1, MAX, -2)]
    assert rows(writer.path / "frames-00000.parquet", "address") == [(-2,)]


def test_names_that_are_no_unicode_are_escaped(writer: RecordingWriter) -> None:
    """Linux allows any bytes in a path."""
    writer.write_modules([ModuleRow(1, 1, "/\udcff", None, 0, 1, 0, 0)])
    writer.close(**END)
    assert rows(writer.path / "modules-00000.parquet", "path") == [("/\\udcff",)]


def test_an_existing_folder_is_not_touched(writer: RecordingWriter) -> None:
    """Not even an unfinished recording."""
    with pytest.raises(AlreadyExists) as caught:
        RecordingWriter.create(writer.path, {})
    assert caught.value.what == str(writer.path)
    assert header(writer)["target"] == {"pid": 7}


def test_a_missing_parent_is_a_storage_error(tmp_path: Path) -> None:
    """The folder around it is not made."""
    with pytest.raises(StorageError):
        RecordingWriter.create(tmp_path / "no" / "r", {})


def test_a_header_that_is_no_json_leaves_nothing(tmp_path: Path) -> None:
    """It is refused before the folder is made."""
    with pytest.raises(RecordingError):
        RecordingWriter.create(tmp_path / "r", {"host": object()})
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"pid": np.zeros(1)}, "columns missing"),
        (events(2) | {"pid": np.zeros(1)}, "differ in length"),
        (events(1, operation=[1]), "not below 1"),
        (events(1, operation=[-1]), "not below 1"),
    ],
)
def test_columns_that_cannot_be_are_refused(
    writer: RecordingWriter, columns: dict[str, np.ndarray], problem: str
) -> None:
    """Nothing of them is written."""
    with pytest.raises(RecordingError, match=problem):
        writer.write_events(columns, ["malloc"])
    writer.close(**END)
    assert header(writer)["counters"]["events"] == 0


def test_a_closed_recording_takes_no_more(writer: RecordingWriter) -> None:
    """Neither events nor another end."""
    writer.close(**END)
    with pytest.raises(RecordingError):
        writer.write_events(events(1), ["malloc"])
    with pytest.raises(RecordingError):
        writer.close(**END)


def test_a_value_beyond_its_column_is_a_recording_error(writer: RecordingWriter) -> None:
    """And the recording stays incomplete."""
    writer.write_stacks([StackRow(2**40, [1])])
    with pytest.raises(RecordingError, match=r"stacks-00000\.parquet"):
        writer.close(**END)
    assert header(writer)["end"] is None


def test_a_failed_write_leaves_no_half_file(writer: RecordingWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails at fsync leaves a recording that says it is not complete."""

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    writer.write_events(events(3), ["malloc"])
    monkeypatch.setattr(writer_module.os, "fsync", fail)
    with pytest.raises(StorageError) as caught:
        writer.close(**END)
    assert caught.value.path == writer.path / "events-00000.parquet"
    assert {path.name for path in writer.path.iterdir()} == {"manifest.txt", "recording.json"}
    assert header(writer)["end"] is None


def test_a_name_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    """DuckDB takes text only; nothing is made."""
    with pytest.raises(RecordingError):
        RecordingWriter.create(tmp_path / "\udcff", {})
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_vanished_is_a_storage_error(writer: RecordingWriter) -> None:
    """Somebody removed it while it was written."""
    shutil.rmtree(writer.path)
    writer.write_events(events(3), ["malloc"])
    with pytest.raises(StorageError):
        writer.close(**END)
