"""Code that a process generates has the names that the process gives it, in perf maps and jitdumps."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gadgetops.recording.reader import Recording, open_recording

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="writes code of x86-64"),
]
WORKLOAD = Path(__file__).parents[1] / "workloads/jitted.c"
CALLERS = """
    select size_bytes, function, line, count(*)
    from events
    join stacks using (stack_id)
    join frames on frames.frame_id = frame_ids[1] and position = 0
    where size_bytes between 7001 and 7003
    group by all
    order by 1
"""
Record = Callable[..., Recording]
NODE = """
function keepOne(size) { return Buffer.allocUnsafeSlow(size); }
function keepMany() { const kept = []; for (let n = 0; n < 50; n++) kept.push(keepOne(777777)); return kept; }
globalThis.kept = keepMany();
"""


@pytest.fixture
def record(gadget_object: Path, tmp_path: Path) -> Record:
    """Record a command: `record(["./program"], "--symbols", "late")`."""

    def call(command: list[object], *options: str) -> Recording:
        folder = tmp_path / "r.gadgetrec"
        argv = ["record", "-q", "-o", folder, "--image", gadget_object, *options, "--", *command]
        argv_ = [sys.executable, "-m", "gadgetops", *map(str, argv)]
        subprocess.run(argv_, check=True, timeout=120, cwd=tmp_path)
        return open_recording(folder)

    return call


@pytest.fixture
def jitted(tmp_path: Path) -> Path:
    """tests/workloads/jitted.c, compiled without frame pointers of its own."""
    subprocess.run(["gcc", "-g", "-O2", WORKLOAD, "-o", tmp_path / "jitted"], check=True)
    return tmp_path / "jitted"


def rows(recording: Recording, query: str) -> list[tuple[Any, ...]]:
    with recording.connect() as connection:
        return connection.execute(query).fetchall()


def functions_of(recording: Recording, size_bytes: int) -> list[list[str]]:
    """The functions of each stack in which so much was allocated, leaf first."""
    query = f"""
        select list(function order by place)
        from (select distinct stack_id from events where size_bytes = {size_bytes})
        join stacks using (stack_id)
        cross join unnest(frame_ids) with ordinality as each(frame_id, place)
        join frames using (frame_id)
        where position = 0
        group by stack_id
    """
    return [functions for (functions,) in rows(recording, query)]


def expected(form: str) -> list[tuple[int, str, int | None, int]]:
    """Each function with the allocations that it made: the second lies where the first one did."""
    names = [(7001, "jit_first", 11), (7002, "jit_second", 22), (7003, "jit_third", 33)]
    return [(size, name, line if form == "dump" else None, 5) for size, name, line in names]


@pytest.mark.parametrize(
    ("form", "unwind", "frame"),
    [
        ("map", "fp", "pointer"),
        ("map", "dwarf", "none"),
        ("dump", "fp", "none"),
        ("dump", "dwarf", "pointer"),
    ],
)
def test_generated_code_has_its_names(
    record: Record, jitted: Path, form: str, unwind: str, frame: str
) -> None:
    """Also where the map is gone at the end, and where code took the place of other code."""
    recording = record([jitted, form, frame], "--unwind", unwind)
    assert rows(recording, CALLERS) == expected(form)


def test_stacks_go_on_above_generated_code_with_frame_pointers(record: Record, jitted: Path) -> None:
    """Up to the beginning, though the code has no rules and the program no frame pointers."""
    recording = record([jitted, "dump", "pointer"], "--unwind", "dwarf")
    assert {tuple(names[:3]) for names in functions_of(recording, 7003)} == {("jit_third", "call", "main")}


@pytest.mark.parametrize("form", ["map", "dump"])
def test_names_are_in_the_recording(
    record: Record, jitted: Path, gadgetops: Callable[..., Any], form: str
) -> None:
    """They are found later, when process, map and jitdump are gone."""
    recording = record([jitted, form, "pointer"], "--symbols", "late")
    assert recording.lacks_symbols
    for dump in jitted.parent.glob("jit-*.dump"):
        dump.unlink()
    assert gadgetops("symbolize", recording.path, "--sysroot", jitted.parent).status == 0
    assert rows(open_recording(recording.path), CALLERS) == expected(form)


def test_a_map_is_found_in_namespaces_of_the_process(record: Record, jitted: Path) -> None:
    """It has another number there, and another /tmp."""
    place = Path("/var/tmp") / jitted.parent.name
    place.mkdir()
    try:
        shutil.copy(jitted, place / "jitted")
        script = f"mount -t tmpfs none /tmp && {place}/jitted map pointer"
        recording = record(["unshare", "--mount", "--pid", "--fork", "sh", "-c", script])
    finally:
        shutil.rmtree(place)
    assert rows(recording, CALLERS) == expected("map")


def test_a_forked_process_has_the_names_of_its_parent(record: Record, jitted: Path) -> None:
    """Who runs code that the parent generated has no map of its own."""
    recording = record([jitted, "map", "pointer", "fork"])
    assert rows(recording, CALLERS.replace("7003", "7004"))[-1] == (7004, "jit_third", None, 5)


def test_hostile_names_are_never_raw_on_a_terminal(
    record: Record, jitted: Path, gadgetops: Callable[..., Any]
) -> None:
    """Whatever a process says that its code is called."""
    recording = record([jitted, "map", "pointer", "hostile"])
    for answer in ("leaks", "top", "info"):
        shown = gadgetops(answer, recording.path)
        assert shown.status == 0
        assert "\x1b" not in shown.out + shown.err
    assert ("jit_\x1b[31mfirst",) in rows(recording, "select function from frames")


@pytest.mark.parametrize("option", ["--perf-basic-prof", "--perf-prof"])
@pytest.mark.skipif(shutil.which("node") is None, reason="no `node` on PATH")
def test_functions_of_node_have_names(record: Record, tmp_path: Path, option: str) -> None:
    """In one stack with the functions of node that called them, and those that they called."""
    (tmp_path / "shop.js").write_text(NODE)
    recording = record(["node", option, "--interpreted-frames-native-stack", tmp_path / "shop.js"])
    found = functions_of(recording, 777777)
    assert found
    for functions in found:
        # A sign says how the function was compiled, which changes while it runs.
        named = [re.sub(r"JS:\W|\s.*", "", name) for name in functions if "shop.js" in str(name)]
        assert named[:2] == ["keepOne", "keepMany"]
        assert functions[-1] == "_start"
