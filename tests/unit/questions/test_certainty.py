"""What makes an answer less than certain, and what that does to the bounds of what is live."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gadgetops.questions.asking.certainty import Bounds
from gadgetops.questions.asking.filters import ALL
from gadgetops.questions.asking.question import asked
from gadgetops.questions.leaks.leaks import Leaks, leaks_in
from gadgetops.recording.reader import open_recording
from gadgetops.recording.writer import RecordingWriter

UNKNOWN = Bounds(None, None, None, None)


def write(folder: Path, header: Mapping[str, Any], counters: Mapping[str, Any] | None) -> Path:
    """Write a recording of two allocations, of 5 and 6 bytes; without *counters* it is not ended."""
    writer = RecordingWriter.create(folder / "r.gadgetrec", header)
    numbers = {name: np.array([1, 2]) for name in ("timestamp_ns", "address")}
    zeros = {name: np.zeros(2, np.int64) for name in ("pid", "tid", "operation", "stack_id", "lost")}
    writer.write_events({**numbers, **zeros, "size_bytes": np.array([5, 6])}, ["malloc"])
    if counters is None:
        writer.close_segment()
    else:
        writer.close(counters=counters, end="complete")
    return writer.path


def ask(folder: Path, header: Mapping[str, Any], counters: Mapping[str, Any] | None) -> Leaks:
    """Return the leaks of such a recording."""
    return leaks_in(write(folder, header, counters))


@pytest.mark.parametrize("key", ["sample_every", "sample-every"])
def test_a_sample_has_no_upper_bound(tmp_path: Path, key: str) -> None:
    """What was seen is true; what was left out nobody knows."""
    found = ask(tmp_path, {"parameters": {key: "16"}}, {})
    assert (found.certainty.word, found.bounds) == ("possible", Bounds(11, 2, None, None))
    assert found.certainty.reasons == ("a sample: the blocks at one address in 16 alone were recorded",)


def test_small_allocations_that_were_left_out_are_a_doubt(tmp_path: Path) -> None:
    """`min-size` leaves them out."""
    found = ask(tmp_path, {"parameters": {"min-size": "0x20"}}, {})
    assert (found.certainty.word, found.bounds) == ("possible", Bounds(11, 2, None, None))
    assert found.certainty.reasons == ("allocations of fewer than 32 bytes were not recorded",)


WINDOWED = [
    {"windows": [[0, 10], [90, 100]]},
    {"budget": {"in_windows": True}},
    {"windows": "damaged", "budget": {"in_windows": True}},
]


@pytest.mark.parametrize("header", WINDOWED)
def test_what_was_recorded_in_windows_is_never_certain(tmp_path: Path, header: Mapping[str, Any]) -> None:
    """A release between two windows is not seen: no bound holds, and no stack is called a leak."""
    found = ask(tmp_path, header, {})
    assert (found.certainty.word, found.bounds) == ("possible", UNKNOWN)
    assert any("releases between windows were not seen" in reason for reason in found.certainty.reasons)
    assert {leak.trend.kind for leak in found.leaks} == {"unclear"}
    assert all("releases between windows were not seen" in leak.trend.reason for leak in found.leaks)


def test_how_often_and_how_long_probes_were_in_is_said(tmp_path: Path) -> None:
    """Two windows of 10 ns in 100."""
    [reason] = ask(tmp_path, WINDOWED[0], {}).certainty.reasons
    assert reason.startswith("recorded in 2 windows, 20% of the time: ")


def test_a_budget_that_needs_no_windows_is_no_doubt(tmp_path: Path) -> None:
    """Everything was recorded."""
    assert ask(tmp_path, {"budget": {"in_windows": False}}, {}).certainty.word == "certain"


def test_parameters_that_leave_nothing_out_are_no_doubt(tmp_path: Path) -> None:
    """Nor are others."""
    header = {"parameters": {"sample-every": "1", "min-size": "0", "buffer_bytes": 7, "comm": "x"}}
    assert ask(tmp_path, header, {}).certainty.word == "certain"


def test_functions_that_could_not_be_probed_are_a_doubt(tmp_path: Path) -> None:
    """They may have given and taken whatever they like."""
    found = ask(tmp_path, {"target": {"left_out": {"/lib/libc.so.6": ["mremap"]}}}, {})
    assert (found.certainty.word, found.bounds) == ("possible", Bounds(11, 2, None, None))
    assert found.certainty.reasons == (
        "calls of mremap in /lib/libc.so.6 are not seen: the kernel has no attach cookies (Linux 5.15 has)",
    )


def test_where_nobody_counted_nobody_knows(tmp_path: Path) -> None:
    """As with the output of a gadget that does not count what it loses."""
    found = ask(tmp_path, {}, {"lost": None, "lost_at_least": 3})
    assert (found.certainty.word, found.bounds, found.certainty.to_json()["lost"]) == (
        "possible",
        UNKNOWN,
        None,
    )
    assert "events may be lost that nobody counted" in found.certainty.reasons


def test_a_recording_that_is_still_made_has_bounds_of_its_moment(tmp_path: Path) -> None:
    """Its events say what was lost before them."""
    found = ask(tmp_path, {}, None)
    assert (found.certainty.word, found.bounds) == ("possible", Bounds(11, 2, 11, 2))


def test_an_address_that_was_given_again_shows_a_release_that_was_not_seen(
    write_recording: Callable[..., Path],
) -> None:
    """Though no event is known to be lost."""
    found = leaks_in(write_recording([("malloc", 16, 5), ("malloc", 16, 6)]))
    assert (found.certainty.word, found.live.size_bytes) == ("possible", 6)
    assert found.certainty.reasons == ("1 release not seen: the address was given again",)


def test_releases_of_what_is_unknown_are_no_doubt(write_recording: Callable[..., Path]) -> None:
    """What was allocated before the recording began is not asked for."""
    assert leaks_in(write_recording([("free", 16), ("malloc", 16, 6)])).certainty.word == "certain"


def test_other_questions_are_as_sure(write_recording: Callable[..., Path]) -> None:
    """They ask by their connection."""
    path = write_recording([("malloc", 16, 5), ("malloc", 16, 6, -2, 1, 1, 4)])
    recording = open_recording(path)
    with asked(recording, ALL, None) as question:
        assert question.certainty == leaks_in(path).certainty
