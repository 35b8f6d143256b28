"""Nothing is lost because the recorder was not ready, or is slow, or has little room."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gadgetops.commands import main
from gadgetops.recording.reader import open_recording
from gadgetops.trace.events import spool
from gadgetops.trace.events.drain import Drain

pytestmark = pytest.mark.kernel

N_STACKS = 10_000
TIMEOUT_S = 300
MOST_MEMORY_BYTES = 150_000_000
ROOT = Path(__file__).parents[2]
# In the same session, which is weighed as a whole: nice counts only there.
STARVED = """
loop() { while :; do :; done; }
for processor in $(seq "$(nproc)"); do loop & loops="$loops $!"; done
nice -n 10 "$@"
status=$?
kill $loops
exit $status
"""


@pytest.fixture
def many_stacks(compiled: Callable[[str], Path]) -> list[str]:
    """A program that sends 330 MB of stacks in its first second, and does not starve."""
    return ["nice", "-n", "-20", str(compiled("many_stacks")), str(N_STACKS)]


def recorded(gadget_object: Path, folder: Path, *arguments: str, starved: bool, **variables: str) -> Any:
    """Record a command, and return the header of the recording."""
    options = ["-o", folder, "--image", gadget_object, "--no-pairs"]
    argv = [sys.executable, "-m", "gadgetops", "record", *map(str, options), *arguments]
    if starved:
        argv = ["sh", "-c", STARVED, "sh", *argv]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
        timeout=TIMEOUT_S,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "recording.json").read_text())


def test_all_events_and_stacks_come_though_the_recorder_starves_and_has_no_bytecode(
    gadget_object: Path, many_stacks: list[str], tmp_path: Path
) -> None:
    """As in containers that set PYTHONDONTWRITEBYTECODE, on a machine that has something else to do."""
    header = recorded(
        gadget_object,
        tmp_path / "r.gadgetrec",
        *("--unwind", "dwarf", "--symbols", "late", "--", *many_stacks),
        starved=True,
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONPYCACHEPREFIX=str(tmp_path / "no bytecode"),
    )
    assert not (tmp_path / "no bytecode").exists()
    counters = header["counters"]
    late = ("lost", "caller_only", "missing_slices", "failed_stacks", "lost_mappings")
    assert {name: counters[name] for name in late} == dict.fromkeys(late, 0)
    query = f"select count(*), count(distinct stack_id) from '{tmp_path}/r.gadgetrec/events-*.parquet'"
    assert duckdb.sql(f"{query} where size_bytes = 77").fetchall() == [(N_STACKS, N_STACKS)]


def test_a_program_that_is_over_at_once_has_its_stacks_and_names(
    gadget_object: Path, compiled: Callable[[str], Path], tmp_path: Path
) -> None:
    """It has ended long before a starved recorder looks at what it had mapped."""
    command = [str(compiled("many_stacks")), "20"]
    header = recorded(gadget_object, tmp_path / "r.gadgetrec", "--", *command, starved=True)
    late = ("lost", "caller_only", "missing_slices", "lost_mappings")
    assert {name: header["counters"][name] for name in late} == dict.fromkeys(late, 0)
    query = """
        select path is null or function is null, function, count(*)
        from (
            select unnest(frame_ids) as frame_id
            from events join stacks using (stack_id)
            where size_bytes = 77
        ) as called
        left join frames using (frame_id)
        left join modules using (module_id)
        group by all
    """
    with open_recording(tmp_path / "r.gadgetrec").connect() as connection:
        rows = connection.execute(query).fetchall()
    assert [row for row in rows if row[0]] == []
    # 14 calls of itself, and the one that is at the end of them.
    assert (False, "descend", 20 * 15) in rows


def test_where_there_is_no_room_left_it_is_for_events(
    gadget_object: Path, compiled: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is taken until the program has ended, and there is no disk: stacks are missing, and counted."""
    take = Drain.take
    monkeypatch.setattr(Drain, "take", lambda drain: take(drain) if drain.is_stopping else None)
    monkeypatch.setattr(spool, "_nameless_file", lambda _folder: None)
    monkeypatch.setattr(spool, "MEMORY_BYTES", 64 << 20)
    options = ["--unwind", "dwarf", "--symbols", "late", "--no-pairs", "--image", gadget_object]
    command = [compiled("many_stacks"), N_STACKS]
    assert main([*map(str, ["record", "-q", "-o", tmp_path / "r", *options, "--", *command])]) == 0
    counters = json.loads((tmp_path / "r/recording.json").read_text())["counters"]
    assert counters["events"] >= N_STACKS
    assert (counters["lost"], counters["missing_slices"]) == (0, 0)
    assert 0 < counters["caller_only"] < N_STACKS


def test_the_recorder_of_a_program_that_does_nothing_is_small(
    gadget_object: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its processes together, pages that they share counted once, and each by itself."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    memory = importlib.import_module("recorder_memory")
    options = ["-q", "-o", str(tmp_path / "r.gadgetrec"), "--image", str(gadget_object)]
    argv = [sys.executable, "-m", "gadgetops", "record", *options, "--", "/bin/true"]
    samples = memory.samples_of(argv)
    assert (tmp_path / "r.gadgetrec/recording.json").exists()
    assert max(sample.n_processes for sample in samples) > 2
    assert max(sample.shared_once for sample in samples) < MOST_MEMORY_BYTES
    assert max(sample.largest for sample in samples) < MOST_MEMORY_BYTES
