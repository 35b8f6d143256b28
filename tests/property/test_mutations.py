"""Laws of recordings that somebody changed: equal answers, or a clear error; nothing outside is touched."""

import faulthandler
import hashlib
import json
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.mutated import KINDS, mutate

from gadgetops.errors import GadgetOpsError
from gadgetops.pairing.pairs import paired
from gadgetops.questions.info import info
from gadgetops.questions.leaks.leaks import leaks_in
from gadgetops.recording.reader import open_recording

DEMO = Path(__file__).parents[1] / "data/demo.gadgetrec"
N_MUTATIONS = 2000
N_IN_CI = 3 * len(KINDS)
PATIENCE_S = 120
MOST_BYTES = 2 << 30


@pytest.fixture(autouse=True)
def watched() -> Iterator[None]:
    """End the run, with a traceback, where a recording makes it wait for ever."""
    faulthandler.dump_traceback_later(PATIENCE_S * 30, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files that look like those of a recording; the user's cache is elsewhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "outside"
    shutil.copytree(DEMO, folder, ignore=shutil.ignore_patterns("pairs"))
    for name in ("precious.parquet", "closed-0.parquet", "open-1.parquet", "reading.lock", "leaks.json"):
        (folder / name).write_bytes(b"precious")
    return folder


def state_of(folder: Path) -> dict[str, str]:
    """What is in *folder*."""
    return {
        str(each.relative_to(folder)): hashlib.sha256(each.read_bytes()).hexdigest() if each.is_file() else ""
        for each in folder.rglob("*")
    }


def answer(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Return what is answered from all of it, and why it is not certain."""
    recording = open_recording(path)
    info(recording)
    found = leaks_in(path)
    with paired(recording) as connection:
        counted = connection.execute("select count(*), sum(size_bytes) from allocations").fetchall()
    document = found.to_json()
    rows = json.dumps(document["leaks"], sort_keys=True)
    return (rows, counted), (*found.certainty.reasons, *recording.problems)


def check(numbers: range, outside: Path, tmp_path: Path) -> None:
    """Mutation by mutation, the answer is that of the original, or it is said what is wrong."""
    whole = Path(shutil.copytree(DEMO, tmp_path / "whole.gadgetrec", ignore=shutil.ignore_patterns("pairs")))
    right, reasons = answer(whole)
    before = state_of(outside)
    for number in numbers:
        path = Path(shutil.copytree(whole, tmp_path / "mutated.gadgetrec"))
        what = mutate(path, number, outside)
        try:
            found, said = answer(path)
        except GadgetOpsError as error:
            found, said = None, (error.problem,)
        assert found == right or set(said) - set(reasons), (number, what)
        assert "\n" not in "".join(said), (number, what)
        assert state_of(outside) == before, (number, what)
        shutil.rmtree(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10 < MOST_BYTES


def test_a_changed_recording_gives_the_same_answer_or_says_what_is_wrong(
    outside: Path, tmp_path: Path
) -> None:
    """Each kind of change a few times."""
    check(range(N_IN_CI), outside, tmp_path)


@pytest.mark.long
def test_two_thousand_changed_recordings(outside: Path, tmp_path: Path) -> None:
    """The same, often."""
    check(range(N_IN_CI, N_MUTATIONS), outside, tmp_path)
