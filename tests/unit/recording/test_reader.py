"""What is read of a recording that is whole, cut, or none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from services.old_recordings import forget_checksums

from gadgetops.errors import RecordingError
from gadgetops.recording import writer as writer_module
from gadgetops.recording.reader import open_recording

Write = Callable[..., Path]
EVENTS = [("malloc", address, 8) for address in range(1, 26)]


@pytest.fixture
def recording(write_recording: Write, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording of 25 events in three segments."""
    monkeypatch.setattr(writer_module, "SEGMENT_EVENTS", 10)
    return write_recording(EVENTS)


def count(path: Path, table: str) -> int:
    with open_recording(path).connect() as connection:
        return int(connection.execute(f"select count(*) from {table}").fetchall()[0][0])


def test_a_whole_recording_has_no_problems(recording: Path) -> None:
    """All its tables can be asked."""
    opened = open_recording(recording)
    assert (opened.problems, opened.n_events, opened.n_missing) == ((), 25, 0)
    tables = ("events", "stacks", "frames", "modules", "processes")
    assert [count(recording, table) for table in tables] == [25, 3, 6, 1, 1]


@pytest.mark.parametrize(
    ("name", "rows"), [("stacks", "3 of 3 rows"), ("modules", "1 of 1 row"), ("processes", "1 of 1 row")]
)
def test_a_missing_table_is_empty_and_said(recording: Path, name: str, rows: str) -> None:
    """The events remain."""
    (recording / f"{name}-00000.parquet").unlink()
    missing = (f"{name}-00000.parquet is missing", f"{rows} of {name} cannot be read")
    assert open_recording(recording).problems == missing
    forget_checksums(recording)
    assert open_recording(recording).problems == missing[1:]
    assert [count(recording, table) for table in ("events", name)] == [25, 0]


def test_without_symbols_frames_keep_address_and_module(recording: Path) -> None:
    """They can be found later; where there are checksums somebody removed them."""
    (recording / "symbols.parquet").unlink()
    assert open_recording(recording).problems == ("symbols.parquet is missing",)
    forget_checksums(recording)
    opened = open_recording(recording)
    assert (opened.problems, opened.lacks_symbols) == ((), True)
    with opened.connect() as connection:
        rows = connection.execute("select * from frames order by frame_id limit 1").fetchall()
    assert rows == [(1, 0, 0x401010, 1, 0x1010, None, None, None)]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_missing_segment_is_said_and_counted(recording: Path, number: int) -> None:
    """Of the last one only the count is known, where there are no checksums."""
    forget_checksums(recording)
    (recording / f"events-{number:05d}.parquet").unlink()
    opened = open_recording(recording)
    lost = 5 if number == 2 else 10
    assert (25 - lost, lost) == (opened.n_events, opened.n_missing)
    assert opened.problems[-1] == f"{lost} events of 25 cannot be read"
    assert (number < 2) == (f"events-{number:05d}.parquet is missing" in opened.problems)


def test_a_segment_cut_anywhere_is_left_out(recording: Path) -> None:
    """Parquet has its footer last: a cut file says nothing, the others do."""
    forget_checksums(recording)
    segment = recording / "events-00001.parquet"
    content = segment.read_bytes()
    for length in [*range(0, len(content), 61), len(content) - 1]:
        segment.write_bytes(content[:length])
        opened = open_recording(recording)
        assert opened.n_events == 15
        assert any(problem.startswith("events-00001.parquet cannot be read: ") for problem in opened.problems)


def test_recording_json_cut_anywhere_leaves_the_events(recording: Path) -> None:
    """How many there were is then unknown."""
    forget_checksums(recording)
    content = (recording / "recording.json").read_bytes().rstrip()
    for length in {*range(0, len(content), 13), len(content) - 1}:
        (recording / "recording.json").write_bytes(content[:length])
        opened = open_recording(recording)
        assert (opened.n_events, opened.n_missing, opened.header) == (25, None, {})
        assert opened.problems == ("recording.json is not JSON",)


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"format_version": "1"}', '{"format_version": true}', "[" * 99999]
)
def test_a_header_that_is_none_is_a_problem(recording: Path, text: str) -> None:
    """JSON of another shape tells nothing."""
    forget_checksums(recording)
    (recording / "recording.json").write_text(text)
    assert len(open_recording(recording).problems) == 1


@pytest.mark.parametrize("counters", [None, 5, {"events": "x"}, {"events": -1}])
def test_counters_of_another_shape_are_unknown(recording: Path, counters: object) -> None:
    """They are not believed."""
    forget_checksums(recording)
    (recording / "recording.json").write_text(
        json.dumps({"format_version": 1, "end": "complete", "counters": counters})
    )
    assert open_recording(recording).n_missing is None


def test_a_recording_that_was_not_ended_says_so(recording: Path) -> None:
    """Its recorder was killed."""
    forget_checksums(recording)
    (recording / "recording.json").write_text('{"format_version": 1, "end": null}')
    assert open_recording(recording).problems == ("the recorder did not end it: later events are missing",)


def test_a_newer_format_is_refused(recording: Path) -> None:
    """It might be misread."""
    forget_checksums(recording)
    (recording / "recording.json").write_text('{"format_version": 2}')
    with pytest.raises(RecordingError, match="expected 1, got 2"):
        open_recording(recording)


def test_a_file_with_other_columns_is_left_out(recording: Path) -> None:
    """The names of the columns that are wrong are said."""
    forget_checksums(recording)
    (recording / "frames-00000.parquet").write_bytes((recording / "modules-00000.parquet").read_bytes())
    assert open_recording(recording).problems == (
        "frames-00000.parquet: not the columns of a recording: frame_id, address, module_offset",
        "4 of 4 rows of frames cannot be read",
    )


def test_a_damaged_page_is_found_when_asked_for(recording: Path) -> None:
    """Its footer is whole, so only reading it tells."""
    forget_checksums(recording)
    segment = recording / "events-00000.parquet"
    content = segment.read_bytes()
    segment.write_bytes(content[:4] + bytes(60) + content[64:])
    opened = open_recording(recording)
    assert opened.n_events == 25
    with pytest.raises(RecordingError), opened.connect() as connection:
        connection.execute("select sum(seq), min(operation) from events").fetchall()
    assert opened.verified().n_events == 15


def test_a_name_with_wildcards_and_quotes_is_a_name(write_recording: Write) -> None:
    """The path is never a pattern."""
    path = write_recording(EVENTS, name="it's [a]*?.gadgetrec")
    assert count(path, "events") == 25


def test_a_name_that_is_no_unicode_is_refused(recording: Path) -> None:
    """DuckDB takes text only; the message can be printed."""
    with pytest.raises(RecordingError) as caught:
        open_recording(recording.rename(recording.with_name("\udcff")))
    assert caught.value.path.name == "\\udcff"


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    """No such path, a file, a folder of other things, and one with nothing readable."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "events-00000.parquet").write_text("x")
    for name in ("absent", "file", "folder", "broken"):
        with pytest.raises(RecordingError) as caught:
            open_recording(tmp_path / name)
        assert caught.value.hint
