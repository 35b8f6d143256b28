"""The immediate caller is always right, and what is gone by the end is symbolised all the same."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from services.patience import PATIENCE

from gadgetops.recording.reader import Recording, open_recording

pytestmark = pytest.mark.kernel
TIMEOUT_S = 120 * PATIENCE

WORKLOADS = Path(__file__).parents[1] / "workloads"
RELEASES = ("free", "realloc_free", "munmap")
Record = Callable[..., Recording]


class Place(NamedTuple):
    """A call: what is called, from where."""

    operation: str
    function: str | None
    line: int | None


def compiled(program: Path, source: str, *options: str) -> Path:
    subprocess.run(["gcc", "-g", *options, WORKLOADS / source, "-o", program], check=True)
    return program


@pytest.fixture
def record(gadget_object: Path, tmp_path: Path) -> Record:
    """Record a command: `record(["./program"], "--symbols", "late")`."""

    def call(command: list[object], *options: str) -> Recording:
        folder = tmp_path / "r.gadgetrec"
        argv = ["record", "-q", "-o", folder, "--image", gadget_object, *options, "--", *command]
        subprocess.run([sys.executable, "-m", "gadgetops", *map(str, argv)], check=True, timeout=TIMEOUT_S)
        return open_recording(folder)

    return call


def rows(recording: Recording, query: str) -> list[tuple[Any, ...]]:
    with recording.connect() as connection:
        return connection.execute(query).fetchall()


def callers(recording: Recording) -> list[Place]:
    """Where each call was made from, in order: after the function itself at its entry, else the leaf."""
    query = f"""
        select operation, function, line
        from (
            select seq, operation, frame_ids[case when operation in {RELEASES} then 2 else 1 end] as frame_id
            from events join stacks using (stack_id)
        ) as calls
        left join frames using (frame_id)
        where coalesce(position, 0) = 0
        order by seq
    """
    return [Place(*row) for row in rows(recording, query)]


def own_calls(recording: Recording) -> list[Place]:
    """Those of the program itself: the C library allocates before main(), and to write the truth."""
    return [place for place in callers(recording) if (place.function or "").startswith("by_")]


@pytest.mark.parametrize(
    "options",
    [
        ["-O0", "-fno-omit-frame-pointer"],
        ["-O2", "-fno-omit-frame-pointer"],
        ["-O2", "-fomit-frame-pointer"],
        ["-O2", "-fomit-frame-pointer", "-no-pie"],
        ["-O2", "-fomit-frame-pointer", "-static"],
    ],
    ids=" ".join,
)
def test_every_call_is_said_to_be_made_where_it_was_made(
    record: Record, tmp_path: Path, options: list[str]
) -> None:
    """Function and line, of each operation, whether the program keeps frame pointers or not."""
    program = compiled(tmp_path / "callers", "callers.c", "-fno-builtin", *options)
    recording = record([program, tmp_path / "truth"])
    lines = [line.split() for line in (tmp_path / "truth").read_text().splitlines()]
    assert len(lines) == 240
    truth = [Place(operation, function, int(line)) for operation, function, line in lines]
    assert own_calls(recording) == truth


@pytest.fixture
def gone(record: Record, tmp_path: Path) -> Recording:
    """A recording of tests/workloads/gone.c."""
    compiled(tmp_path / "gone", "gone.c", "-O1", "-ldl")
    passing = compiled(tmp_path / "passing", "gone.c", "-O1", "-DPROGRAM")
    plugin = compiled(tmp_path / "plugin.so", "gone.c", "-O1", "-DLIBRARY", "-shared", "-fPIC")
    (tmp_path / "mounted").mkdir()
    shutil.copy(plugin, tmp_path / "kept.so")
    recording = record([tmp_path / "gone", passing, plugin, tmp_path / "mounted"])
    assert not passing.exists()
    assert not plugin.exists()
    assert not (tmp_path / "mounted/inside.so").exists()
    return recording


def test_what_is_deleted_or_seen_by_the_process_alone_is_symbolised(gone: Recording) -> None:
    """A program that was forked, executed and deleted; a library; one in mounts of its own."""
    query = """
        select size_bytes, function, line is not null, modules.path
        from events join stacks using (stack_id)
        join frames on frames.frame_id = frame_ids[1] and position = 0
        join modules using (module_id)
        where size_bytes between 4001 and 4003
        order by size_bytes
    """
    found = [(size, function, known, Path(path).name) for size, function, known, path in rows(gone, query)]
    assert found == [
        (4001, "allocate_in_passing", True, "passing"),
        (4002, "allocate_in_passing", True, "plugin.so"),
        (4003, "allocate_in_passing", True, "inside.so"),
    ]


def test_the_lives_of_processes_are_recorded(gone: Recording) -> None:
    """When they were forked by whom, what they executed, and when they ended."""
    found = rows(
        gone, "select pid, event, parent_pid, comm, timestamp_ns from processes order by timestamp_ns"
    )
    by_pid: dict[int, list[tuple[str, int | None, str]]] = {}
    for pid, event, parent, comm, _ in found:
        by_pid.setdefault(pid, []).append((event, parent, comm))
    main = next(pid for pid, life in by_pid.items() if life[0][0] == "start")
    assert [event for event, _, _ in by_pid[main]] == ["start", "exec", "exit"]
    children = sorted(tuple(life) for pid, life in by_pid.items() if pid != main)
    assert children == [
        (("fork", main, "gone"), ("exec", None, "passing"), ("exit", None, "passing")),
        (("fork", main, "gone"), ("exit", None, "gone")),
    ]


@pytest.mark.parametrize("unwind", ["fp", "dwarf"])
def test_symbols_can_be_found_later_and_elsewhere(
    record: Record, gadgetops: Callable[..., Any], tmp_path: Path, unwind: str
) -> None:
    """With the target's files below a folder, and debug files in another: the same as at once."""
    program = compiled(tmp_path / "callers", "callers.c", "-O2", "-fno-builtin")
    recording = record([program, tmp_path / "truth"], "--symbols", "late", "--unwind", unwind)
    assert recording.lacks_symbols
    assert {place.function for place in callers(recording)} <= {None}
    assert "symbolize" in gadgetops("info", recording.path).out
    root = tmp_path / "elsewhere"
    (root / str(tmp_path).lstrip("/")).mkdir(parents=True)
    debug = tmp_path / "callers.debug"
    subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
    subprocess.run(["objcopy", "--strip-all", program, root / str(program).lstrip("/")], check=True)
    program.unlink()
    libraries = "select path from modules where path like '%/libc.so%' or path like '%/ld-linux%'"
    for (library,) in rows(recording, libraries):
        (root / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library.lstrip("/"))
    [(build_id,)] = rows(recording, f"select build_id from modules where path = '{program}'")
    tree = tmp_path / "debug/.build-id" / build_id[:2]
    tree.mkdir(parents=True)
    debug.rename(tree / f"{build_id[2:]}.debug")
    result = gadgetops("symbolize", recording.path, "--sysroot", root, "--debug-dir", tmp_path / "debug")
    assert result.status == 0, result.err
    lines = [line.split() for line in (tmp_path / "truth").read_text().splitlines()]
    truth = [Place(operation, function, int(line)) for operation, function, line in lines]
    assert own_calls(open_recording(recording.path)) == truth


def test_info_says_what_was_recorded_and_how_good_it_is(
    record: Record, gadgetops: Callable[..., Any], tmp_path: Path
) -> None:
    """Target, probes, end, modules; where stacks end early, and that it is for want of frame pointers."""
    program = compiled(tmp_path / "callers", "callers.c", "-O2", "-fno-builtin", "-fno-omit-frame-pointer")
    recording = record([program, tmp_path / "truth"])
    shown = gadgetops("info", recording.path)
    assert shown.status == 0
    for text in (str(program), os.uname().release, "complete", "trace_uprobe_malloc", ", 0 lost"):
        assert text in shown.out
    assert "missing:" not in shown.out
