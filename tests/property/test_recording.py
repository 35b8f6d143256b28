"""Laws of recordings that were cut: what is left is read, and what is missing is named."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gadgetops.errors import RecordingError
from gadgetops.questions.info import info
from gadgetops.recording.reader import open_recording
from gadgetops.recording.schema import SYMBOLS_NAME, FrameRow, ModuleRow, ProcessRow, StackRow, SymbolRow
from gadgetops.recording.writer import RecordingWriter
from gadgetops.report.info import info_as_text

N_SEGMENTS = 3
EVENTS_OF_A_SEGMENT = 7
TABLES = ("modules", "frames", "stacks", "processes", "events")
NOUNS = {"events": f"{N_SEGMENTS * EVENTS_OF_A_SEGMENT}"}
FILES = ["recording.json", "symbols.parquet", "manifest.txt"]
FILES += [f"{table}-{number:05d}.parquet" for table in TABLES for number in range(N_SEGMENTS)]
NEEDED = {"recording.json", *(name for name in FILES if name.startswith("events-"))}
"""Without any of these nothing is known."""


def write(folder: Path) -> None:
    """Write segments of seven events; event n has address n + 1 and stack n // 7, with a symbol."""
    writer = RecordingWriter.create(folder, {})
    for number in range(N_SEGMENTS):
        zeros = np.zeros(EVENTS_OF_A_SEGMENT, np.int64)
        first = number * EVENTS_OF_A_SEGMENT
        writer.write_modules([ModuleRow(number, 1, f"/m{number}", None, 0, 9, 0, 0)])
        writer.write_frames([FrameRow(number, number + 1, number, number)])
        writer.write_stacks([StackRow(number, [number])])
        writer.write_processes([ProcessRow(number, 1, "exec", None, f"c{number}", None)])
        columns = dict.fromkeys(("timestamp_ns", "pid", "tid", "operation", "size_bytes", "lost"), zeros)
        columns |= {"address": first + 1 + np.arange(EVENTS_OF_A_SEGMENT), "stack_id": zeros + number}
        writer.write_events(columns, ["malloc"])
        writer.close_segment()
    writer.write_symbols(SymbolRow(number, 0, f"f{number}", None, None) for number in range(N_SEGMENTS))
    writer.close(counters={}, end="complete")


@pytest.fixture(scope="module")
def whole() -> Iterator[Path]:
    """A whole recording."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r"
        write(path)
        yield path


def damaged(whole: Path, folder: str, cuts: dict[str, float]) -> Path:
    """Return a copy of which the files named in *cuts* end at that share of their length; 0 is: missing."""
    path = Path(shutil.copytree(whole, Path(folder) / "r"))
    for name, share in cuts.items():
        content = (path / name).read_bytes()
        (path / name).write_bytes(content[: int(len(content) * share)])
        if share == 0:
            (path / name).unlink()
    return path


class TestCuts:
    """Any files cut at any byte, or missing: every event read is true, and what is missing is named."""

    def test_the_files_are_those_of_the_format(self, whole: Path) -> None:
        """None is left out below."""
        assert sorted(FILES) == sorted(path.name for path in whole.iterdir())

    @given(st.dictionaries(st.sampled_from(FILES), st.just(0.0) | st.floats(0, 0.999), max_size=5))
    @settings(max_examples=60, deadline=None)
    def test_what_is_left_is_true_and_what_is_missing_is_named(
        self, whole: Path, cuts: dict[str, float]
    ) -> None:
        """Events keep their stacks, as far as the files of those are whole."""
        assume(not cuts.keys() >= NEEDED)
        with tempfile.TemporaryDirectory() as folder:
            path = damaged(whole, folder, cuts)
            opened = open_recording(path)
            said = " ".join([*opened.problems, "symbols.parquet" if opened.lacks_symbols else ""])
            for name in cuts:
                table = name.partition("-")[0]
                # Without the header nobody knows how many rows there were; gaps between events show.
                is_known = "recording.json" not in cuts and (table != SYMBOLS_NAME or opened.tables["frames"])
                assert (
                    name in said or f"of {NOUNS.get(table, table)} cannot be read" in said or not is_known
                ), (name, said)
            with opened.connect() as connection:
                rows = connection.execute("select seq, address, stack_id from events order by seq").fetchall()
                stacks = dict(connection.execute("select * from stacks").fetchall())
                functions = dict(connection.execute("select frame_id, function from frames").fetchall())
            kept = [n for n in range(N_SEGMENTS) if f"events-{n:05d}.parquet" not in cuts]
            seqs = [n * EVENTS_OF_A_SEGMENT + i for n in kept for i in range(EVENTS_OF_A_SEGMENT)]
            assert rows == [(seq, seq + 1, seq // EVENTS_OF_A_SEGMENT) for seq in seqs]
            assert stacks == {n: [n] for n in range(N_SEGMENTS) if f"stacks-{n:05d}.parquet" not in cuts}
            has_symbols = "symbols.parquet" not in cuts
            assert functions == {
                n: f"f{n}" if has_symbols else None
                for n in range(N_SEGMENTS)
                if f"frames-{n:05d}.parquet" not in cuts
            }
            assert ("missing:" in info_as_text(info(opened))) == bool(opened.problems or opened.lacks_symbols)

    def test_nothing_readable_is_an_error_that_names_all_files(self, whole: Path) -> None:
        """There is no recording then."""
        with tempfile.TemporaryDirectory() as folder:
            path = damaged(whole, folder, dict.fromkeys(FILES, 0.5))
            with pytest.raises(RecordingError) as caught:
                open_recording(path)
        assert all(name in str(caught.value) for name in FILES)
