"""Whole stacks of programs without frame pointers, as gdb sees them."""

import json
import multiprocessing
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from services.patience import PATIENCE

from gadgetops.bpf.object import Object
from gadgetops.commands import main
from gadgetops.commands.common.progress_line import ProgressLine
from gadgetops.errors import TraceError
from gadgetops.recording.reader import Recording, open_recording
from gadgetops.stacks.naming.symbolize import Finder
from gadgetops.stacks.unwinding import recorded_slices, unwind_pool
from gadgetops.stacks.unwinding.batch_unwinder import Lockstep
from gadgetops.stacks.unwinding.libdw import Unwinder
from gadgetops.stacks.unwinding.unwind_recording import Unwinding
from gadgetops.trace.attachment import Attachment
from gadgetops.trace.events.caller_rules import CallerRules
from gadgetops.trace.events.drain import Drain
from gadgetops.trace.probes.allocator import Allocator

pytestmark = pytest.mark.kernel
TIMEOUT_S = 120 * PATIENCE

WORKLOADS = Path(__file__).parents[1] / "workloads"
SIZES = range(10001, 10006)
MAX_UNSETTLED = 8192
"""So many stacks the gadget sends without knowing whether it should (`gadget/stack_slice.h`)."""
N_SCRATCHES = 64
STARTS = {"_start", "clone", "clone3", "__clone", "__clone3"}
FIRST_ARGUMENT = {"x86_64": "$rdi", "aarch64": "$x0"}[os.uname().machine]
SIGNED = {"x86_64": "-fcf-protection", "aarch64": "-mbranch-protection=standard"}[os.uname().machine]
"""As distributions build: on arm64 return addresses are signed."""
GDB_SCRIPT = """
import gdb, json
FIRST, LAST, TO = {first}, {last}, {to!r}
for command in ("set pagination off", "set confirm off", "set debuginfod enabled off",
                "set backtrace past-main on", "set backtrace past-entry off",
                "handle SIGUSR1 nostop noprint pass", "break main", "run", "delete",
                "set language c"):
    gdb.execute(command, to_string=True)
found = {{}}

def places():
    maps = [line.split(maxsplit=5) for line in open(f"/proc/{{gdb.selected_inferior().pid}}/maps")]
    ranges = [(*(int(end, 16) for end in line[0].split("-")), int(line[2], 16), line[5].strip())
              for line in maps if "x" in line[1] and len(line) == 6]
    frame = gdb.newest_frame()
    while frame is not None:
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
            pc = frame.pc()
            yield next([path.rsplit("/", 1)[-1], pc - start + offset]
                       for start, end, offset, path in ranges if start <= pc < end)
        frame = frame.older()

class OnMalloc(gdb.Breakpoint):
    def stop(self):
        size = int(gdb.parse_and_eval("{size}"))
        if FIRST <= size <= LAST:
            found[size] = list(places())
        return False

OnMalloc("*(unsigned long)&malloc")
gdb.execute("continue", to_string=True)
json.dump(found, open(TO, "w"))
"""


class Place(NamedTuple):
    """An address: the file's name, and the offset in bytes into it."""

    file: str
    offset: int


Record = Callable[..., Recording]


@pytest.fixture
def record(gadget_object: Path, tmp_path: Path) -> Record:
    """Record a command: `record(["./program"], "--unwind", "dwarf")`."""

    def call(command: list[object], *options: str) -> Recording:
        folder = tmp_path / "r.gadgetrec"
        argv = ["record", "-q", "-o", folder, "--image", gadget_object, *options, "--", *command]
        subprocess.run([sys.executable, "-m", "gadgetops", *map(str, argv)], check=True, timeout=TIMEOUT_S)
        return open_recording(folder)

    return call


def rows(recording: Recording, query: str) -> list[tuple[Any, ...]]:
    with recording.connect() as connection:
        return connection.execute(query).fetchall()


def compiled(program: Path, *options: str, source: str = "unwound.c") -> Path:
    command = ["gcc", "-g", "-pthread", *options, WORKLOADS / source, "-o", program]
    subprocess.run([*map(str, command)], check=True)
    return program


def as_gdb_sees(program: Path) -> dict[int, list[Place]]:
    """The callers of malloc() for each size, as gdb finds them."""
    script, result = program.with_suffix(".gdb.py"), program.with_suffix(".gdb.json")
    script.write_text(GDB_SCRIPT.format(first=SIZES[0], last=SIZES[-1], to=str(result), size=FIRST_ARGUMENT))
    command = ["gdb", "-q", "-batch", "-nx", "-x", script, program]
    subprocess.run([*map(str, command)], check=True, timeout=TIMEOUT_S, capture_output=True)
    found = json.loads(result.read_text())
    return {int(size): [Place(*place) for place in places[1:]] for size, places in found.items()}


def as_recorded(recording: Recording) -> dict[int, list[Place]]:
    """The stack of the malloc() of each size."""
    query = f"""
        select size_bytes, modules.path, frames.module_offset
        from (
            select size_bytes, depth, frame_ids[depth] as frame_id
            from (
                select size_bytes, frame_ids, unnest(range(1, len(frame_ids) + 1)) as depth
                from events join stacks using (stack_id)
                where operation = 'malloc' and size_bytes between {SIZES[0]} and {SIZES[-1]}
            ) as deep
        ) as calls
        join stored_frames as frames using (frame_id) left join modules using (module_id)
        order by size_bytes, depth
    """
    found: dict[int, list[Place]] = {}
    for size, path, offset in rows(recording, query):
        found.setdefault(size, []).append(Place(Path(path or "").name, offset))
    return found


def functions(recording: Recording, size: int) -> list[str | None]:
    """The functions of the stack of the malloc() of `size`, leaf first, inlined ones included."""
    query = f"""
        select function
        from (
            select unnest(frame_ids) as frame_id, unnest(range(1, len(frame_ids) + 1)) as depth
            from stacks
            where stack_id in (select stack_id from events where operation = 'malloc' and size_bytes = {size})
        ) as calls
        join frames using (frame_id)
        order by depth, position
    """
    return [row[0] for row in rows(recording, query)]


@pytest.mark.parametrize(
    "options",
    [
        ["-O2"],
        ["-O2", SIGNED],
        ["-O0", "-fomit-frame-pointer"],
        ["-O2", "-no-pie"],
        ["-O2", "-static"],
        ["-O2", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"],
        ["-O2", "-x", "c++", "-fpermissive", "-w"],
    ],
    ids=["optimised", "signed", "plain", "no-pie", "static", "debug_frame", "c++"],
)
def test_stacks_are_those_that_gdb_sees(record: Record, tmp_path: Path, options: list[str]) -> None:
    """Deep, called back by the C library, in a thread, in a signal handler, and under frames of 24 KiB."""
    program = compiled(tmp_path / "program", *options)
    expected = as_gdb_sees(program)
    assert sorted(expected) == [*SIZES]
    recording = record([program])
    assert as_recorded(recording) == expected
    assert recording.counters["missing_slices"] == 0


def test_a_stack_reaches_from_the_call_to_the_start(record: Record, tmp_path: Path) -> None:
    """Named from the allocating function to the program's or the thread's start."""
    recording = record([compiled(tmp_path / "program", "-O2", "-fno-inline")])
    stacks = {size: functions(recording, size) for size in SIZES}
    assert stacks[10001][:42] == ["allocate", *["recurse"] * 41]
    assert stacks[10002][:2] == ["allocate", "compare"]
    assert stacks[10003][:2] == ["allocate", "work"]
    assert stacks[10004][:2] == ["allocate", "handle"]
    assert stacks[10005][:3] == ["allocate", "under_big_frames", "main"]
    assert {stack[-1] for stack in stacks.values()} <= STARTS


def test_a_stripped_program_is_unwound_by_its_debug_file(record: Record, tmp_path: Path) -> None:
    """Rules that are in `.debug_frame` alone go to the separate file, which .gnu_debuglink names."""
    options = ["-O2", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]
    program = compiled(tmp_path / "program", *options)
    expected = as_gdb_sees(program)
    for command in (
        ["objcopy", "--only-keep-debug", "program", "program.debug"],
        ["strip", "program"],
        ["objcopy", "--add-gnu-debuglink=program.debug", "program"],
    ):
        subprocess.run(command, check=True, cwd=tmp_path)
    assert as_recorded(record([program])) == expected


def test_a_program_in_rust_is_unwound(record: Record, tmp_path: Path) -> None:
    """Built as cargo builds for release, with lines."""
    if shutil.which("rustc") is None:
        pytest.skip("no rustc on PATH")
    source = tmp_path / "program.rs"
    source.write_text(
        "use std::hint::black_box;\n"
        "#[inline(never)]\n"
        "fn allocate(n: usize) { std::mem::forget(black_box(Vec::<u8>::with_capacity(n))); }\n"
        "#[inline(never)] fn recurse(n: usize) { if n == 0 { allocate(10001) } else { recurse(n - 1) } "
        "black_box(n); }\n"
        "fn main() { recurse(20); let f: Box<dyn Fn()> = Box::new(|| allocate(10002)); black_box(f)();\n"
        "std::thread::spawn(|| allocate(10003)).join().unwrap(); }\n"
    )
    program = tmp_path / "program"
    # rustup's `rustc` looks for itself in the real home.
    environment = os.environ | {"HOME": pwd.getpwuid(os.getuid()).pw_dir}
    subprocess.run(["rustc", "-g", "-O", str(source), "-o", str(program)], check=True, env=environment)
    expected = as_gdb_sees(program)
    assert sorted(expected) == [10001, 10002, 10003]
    assert as_recorded(record([program])) == expected


def test_a_deeper_stack_than_is_copied_is_cut_and_a_larger_copy_can_be_asked_for(
    record: Record, tmp_path: Path
) -> None:
    """What is there is right; it is said that there was more."""
    program = compiled(tmp_path / "program", "-O2", "-DBIG_FRAME=100000")
    expected = as_gdb_sees(program)
    recording = record([program])
    whole, cut = expected[10005], as_recorded(recording)[10005]
    assert cut == whole[: len(cut)]
    assert len(cut) < len(whole)
    assert recording.counters["unwound_cut"] == 1
    shutil.rmtree(recording.path)
    assert as_recorded(record([program], "--stack-size", "256KiB")) == expected


def test_a_deep_stack_is_joined_of_slices_that_overlap(
    gadget_object: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recursion that allocated on its way down is known to its beginning."""
    program = compiled(tmp_path / "program", "-O2", source="deepening.c")
    expected = as_gdb_sees(program)
    # Else the gadget walks some itself, as soon as it has the rules: how many, is a matter of time.
    monkeypatch.setattr(CallerRules, "map", lambda *_: 0)
    folder = tmp_path / "r.gadgetrec"
    arguments = ["record", "-q", "-o", folder, "--image", gadget_object, "--", program]
    assert main([*map(str, arguments)]) == 0
    recording = open_recording(folder)
    assert recording.counters["walked_stacks"] == 0
    assert len(expected[10001]) > 150
    assert as_recorded(recording) == expected
    assert recording.counters["unwound_joined"] > 100
    assert recording.counters["unwound_cut"] == 0


@pytest.mark.parametrize(("where", "room_bytes"), [("heap", 9000), ("mapping", 30000), ("thread", 9000)])
def test_frames_beyond_pages_that_are_not_there_are_found(
    record: Record, tmp_path: Path, where: str, room_bytes: int
) -> None:
    """On stacks whose end nobody knows, as coroutines have, and on the thread's own."""
    program = compiled(
        tmp_path / "switched", "-O2", "-fno-ipa-icf", "-fno-optimize-sibling-calls", source="switched.c"
    )
    recording = record([program, where, room_bytes], "--unwind", "dwarf", "--stack-size", "64KiB")
    query = """
        select function, count(*)
        from (
            select unnest(frame_ids) as frame_id
            from events join stacks using (stack_id)
            where operation = 'malloc' and size_bytes = 7301
        ) as calls
        join frames using (frame_id)
        where function like 'way_of_%'
        group by function
    """
    assert dict(rows(recording, query)) == {"way_of_first": 30, "way_of_second": 20}


def test_slices_are_unwound_elsewhere(record: Record, tmp_path: Path) -> None:
    """Where the recorded machine's files lie in a folder."""
    program = compiled(tmp_path / "program", "-O2")
    expected = as_gdb_sees(program)
    recording = record([program], "--symbols", "late")
    elsewhere = tmp_path / "elsewhere"
    for (path,) in rows(recording, "select distinct path from modules where path like '/%'"):
        (elsewhere / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, elsewhere / path.lstrip("/"))
    program.unlink()
    command = [sys.executable, "-m", "gadgetops", "symbolize", "--sysroot", str(elsewhere)]
    subprocess.run([*command, str(recording.path)], check=True)
    assert as_recorded(open_recording(recording.path)) == expected


def test_a_loop_sends_its_stack_once(record: Record, gadget_object: Path, tmp_path: Path) -> None:
    """Of 200,000 calls only those are copied that come before the gadget knows what is code."""
    recording = record(
        [compiled(tmp_path / "program", "-O2", source="blocks.c"), tmp_path / "truth", 100_000]
    )
    assert recording.n_events >= 200_000
    assert recording.counters["lost"] == 0
    assert recording.counters["slices"] <= MAX_UNSETTLED + 100


def test_a_stack_is_walked_once_its_rules_are_known(record: Record, tmp_path: Path) -> None:
    """It has the same frames then as one that was copied and unwound."""
    program = compiled(tmp_path / "program", "-O2", source="blocks.c")
    recording = record([program, tmp_path / "truth", 100_000])
    assert 1 <= recording.counters["walked_stacks"] <= 100
    for operation in ("malloc", "free"):
        frames = "select distinct frame_ids from events join stacks using (stack_id) where operation = "
        assert len(rows(recording, f"{frames} '{operation}' and seq > 1000")) == 1


@pytest.mark.parametrize(
    ("command", "has_many"),
    [
        (["perl", "-e", "for (1 .. 300) { my @kept = map { { a => [$_] } } 1 .. 30 }"], False),
        (
            ["python3", "-S", "-c", "import json; [json.loads(json.dumps({'a': [n]})) for n in range(3000)]"],
            True,
        ),
    ],
)
def test_walked_stacks_are_those_of_copies(
    gadget_object: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    command: list[str],
    has_many: bool,
) -> None:
    """Of programs of the distribution: whole, by the same frames; of many stacks most need no copy."""
    for name, value in (("PERL_HASH_SEED", "0"), ("PYTHONHASHSEED", "0"), ("PYTHONMALLOC", "malloc")):
        monkeypatch.setenv(name, value)
    options = ["--unwind", "dwarf", "--image", gadget_object]
    assert main([*map(str, ["record", "-q", "-o", tmp_path / "walked", *options, "--", *command])]) == 0
    with monkeypatch.context() as patched:
        patched.setattr(CallerRules, "map", lambda *_: 0)
        assert main([*map(str, ["record", "-q", "-o", tmp_path / "copied", *options, "--", *command])]) == 0
    walked, copied = open_recording(tmp_path / "walked"), open_recording(tmp_path / "copied")
    assert copied.counters["walked_stacks"] == 0
    assert walked.counters["walked_stacks"] > 0
    assert not has_many or walked.counters["slices"] < copied.counters["slices"] / 2
    # No two runs of Python are the same: some 20 of its 14,000 stacks are another's. On a busy machine either
    # run may come late with what is code: events that know their caller alone, which are counted.
    stacks = distinct_stacks(copied)
    n_without = sum(recording.counters.get("caller_only", 0) for recording in (walked, copied))
    assert len(distinct_stacks(walked) ^ stacks) <= len(stacks) / 200 + n_without


def distinct_stacks(recording: Recording) -> set[tuple[object, ...]]:
    """The stacks of a recording, by files and the places in them."""
    query = """
        select list((parse_filename(path), module_offset) order by position)
        from (
            select stack_id, unnest(frame_ids) as frame_id, generate_subscripts(frame_ids, 1) as position
            from stacks
        )
        join stored_frames using (frame_id)
        left join modules using (module_id)
        group by stack_id
    """
    return {tuple(map(tuple, stack)) for (stack,) in rows(recording, query)}


def test_a_program_with_frame_pointers_is_not_copied(record: Record, tmp_path: Path) -> None:
    """The choice is made by what it maps; until then some stacks are copied."""
    options = ["-O1", "-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer"]
    recording = record(
        [compiled(tmp_path / "program", *options, source="blocks.c"), tmp_path / "truth", 100_000]
    )
    assert recording.header["unwind"] == {"fp": 1}
    assert recording.counters["slices"] <= MAX_UNSETTLED
    # However a stack came, it is the same frames: one call is one stack.
    for operation in ("malloc", "free"):
        frames = "select distinct frame_ids from events join stacks using (stack_id) where operation = "
        assert len(rows(recording, f"{frames} '{operation}'")) == 1


def test_slices_are_kept_only_until_stacks_are_made(
    gadget_object: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are private to the user meanwhile; `symbolize` makes the stacks, also without the process."""
    program = compiled(tmp_path / "program", "-O2")
    expected = as_gdb_sees(program)
    # Else the gadget walks some itself, or all, as soon as it has the rules: how many, is a matter of time.
    monkeypatch.setattr(CallerRules, "map", lambda *_: 0)
    options = ["-q", "-o", tmp_path / "r.gadgetrec", "--image", gadget_object, "--symbols", "late"]
    assert main([*map(str, ["record", *options, "--", program])]) == 0
    recording = open_recording(tmp_path / "r.gadgetrec")
    slices = [*recording.path.glob("slices-*")]
    assert slices
    assert {path.stat().st_mode & 0o777 for path in slices} == {0o600}
    assert as_recorded(recording) == {}
    subprocess.run([sys.executable, "-m", "gadgetops", "symbolize", str(recording.path)], check=True)
    assert as_recorded(open_recording(recording.path)) == expected
    assert not [*recording.path.glob("slices-*")]


@pytest.mark.parametrize("stage", ["unwinding stacks", "finding functions"])
def test_ctrl_c_while_symbolizing_leaves_what_goes_on_later(
    stage: str,
    gadget_object: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gadgetops: Callable[..., Any],
) -> None:
    """Status 130 and no traceback; no process is left, and the next time all stacks are made."""
    program = compiled(tmp_path / "program", "-O2")
    folder = tmp_path / "r.gadgetrec"
    with monkeypatch.context() as patched:
        patched.setattr(CallerRules, "map", lambda *_: 0)
        options = ["-q", "-o", folder, "--image", gadget_object, "--symbols", "late"]
        assert gadgetops("record", *options, "--", program).status == 0
    said = []

    def interrupt(_line: ProgressLine, what: str, _done: int = 0, _of: int = 0) -> None:
        said.append(what)
        if what.startswith(stage):
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(ProgressLine, "stage", interrupt)
        done = gadgetops("symbolize", folder)
    assert (done.status, done.out) == (130, "")
    assert "Traceback" not in done.err
    assert said[-1].startswith(stage)
    assert not multiprocessing.active_children()
    assert open_recording(folder).problems == ()
    assert gadgetops("symbolize", folder).status == 0
    assert as_recorded(open_recording(folder)) == as_gdb_sees(program)
    assert functions(open_recording(folder), SIZES[0])


def test_a_recording_whose_stacks_could_not_be_made_is_whole_but_for_them(
    gadget_object: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is said, and `symbolize` makes them later."""
    program = compiled(tmp_path / "program", "-O2")

    def write(*_: object, **__: object) -> None:
        raise TraceError("the unwinder is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Unwinding, "write", write)
        options = ["-q", "-o", tmp_path / "r", "--image", gadget_object]
        assert main([*map(str, ["record", *options, "--", program])]) != 0
    assert open_recording(tmp_path / "r").problems == ()
    assert open_recording(tmp_path / "r").header["end"] == "complete"
    assert main(["symbolize", "-q", str(tmp_path / "r")]) == 0
    assert as_recorded(open_recording(tmp_path / "r")) == as_gdb_sees(program)


def test_slices_can_be_kept(record: Record, tmp_path: Path) -> None:
    """For who wants to unwind them again; the same stacks are not made twice."""
    recording = record([compiled(tmp_path / "program", "-O2")], "--keep-slices")
    before = rows(recording, "select count(*) from stacks")
    subprocess.run(
        [sys.executable, "-m", "gadgetops", "symbolize", "--keep-slices", str(recording.path)], check=True
    )
    assert [*recording.path.glob("slices-*")]
    assert rows(open_recording(recording.path), "select count(*) from stacks") == before


def test_several_processes_unwind_as_one_does(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same stacks with the same numbers, whoever comes first."""
    recording = record([compiled(tmp_path / "program", "-O2")], "--symbols", "late")
    alone = [*Unwinding(recording, Finder()).rows()]
    monkeypatch.setattr(unwind_pool, "_WORTH_A_PROCESS", 1)
    monkeypatch.setattr(recorded_slices, "_SLICES_OF_A_JOB", 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    together = Unwinding(recording, Finder())
    assert [*together.rows()] == alone
    assert together.ends["complete"] >= len(SIZES)


def test_what_is_mapped_later_is_code_as_soon_as_it_runs(record: Record, tmp_path: Path) -> None:
    """A library that is opened while the program allocates; stacks through it are whole at once."""
    (tmp_path / "plugin.c").write_text(
        "#include <stdlib.h>\nvoid *volatile kept;\n"
        '__attribute__((noinline)) void plugged(void) { kept = malloc(10001); __asm__ volatile(""); }\n'
        'void plug(void) { plugged(); __asm__ volatile(""); }\n'
    )
    (tmp_path / "host.c").write_text(
        "#include <dlfcn.h>\n#include <stdlib.h>\n"
        "int main(int c, char **v) { for (int i = 0; i < 20000; i++) free(malloc(100));\n"
        'void (*plug)(void) = dlsym(dlopen(v[c - 1], RTLD_NOW), "plug"); plug();\n'
        '__asm__ volatile(""); return 0; }\n'
    )
    subprocess.run(
        ["gcc", "-O2", "-fno-builtin", "-shared", "-fPIC", "plugin.c", "-o", "plugin.so"],
        check=True,
        cwd=tmp_path,
    )
    subprocess.run(["gcc", "-O2", "-fno-builtin", "host.c", "-o", "host"], check=True, cwd=tmp_path)
    recording = record([tmp_path / "host", tmp_path / "plugin.so"])
    assert functions(recording, 10001)[:3] == ["plugged", "plug", "main"]
    assert functions(recording, 10001)[-1] == "_start"


def test_children_that_execute_other_programs_are_unwound_as_themselves(
    record: Record, tmp_path: Path
) -> None:
    """What a process mapped before it executed another program does not count afterwards."""
    program = compiled(tmp_path / "program", "-O2")
    expected = as_gdb_sees(program)
    recording = record(["/bin/sh", "-c", f"{program}; exec {program}"], "--unwind", "dwarf")
    assert as_recorded(recording).keys() == expected.keys()
    # munmap() inside malloc(): the kernel has put an address of its own in place of malloc()'s caller.
    [(n_nested,)] = rows(recording, "select count(*) from events where operation = 'munmap'")
    assert recording.counters["unwound_complete"] >= recording.counters["slices"] - n_nested


def test_a_stack_is_the_same_in_whatever_pieces_it_is_read(
    gadget_object: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, or in chunks while another thread has the room for that; it is claimed now and then here."""
    scratches = Object.from_bytes(gadget_object.read_bytes()).variable("scratches")
    assert scratches is not None
    is_over = threading.Event()

    def claim(users: NDArray[np.uint64]) -> None:
        while not is_over.wait(0.001):
            users[:] = 1 - users[0]

    def attach(attachment: Attachment, allocator: Allocator) -> None:
        attached(attachment, allocator)
        bss = attachment.loader.bpf.data(scratches.section)
        room = np.frombuffer(bss, np.uint64, scratches.size_bytes // 8, scratches.offset_bytes)
        threading.Thread(target=claim, args=[room[:: len(room) // N_SCRATCHES]]).start()

    attached = Attachment.attach
    monkeypatch.setattr(Attachment, "attach", attach)
    program = compiled(tmp_path / "program", source="timed_blocks.c")
    options = ["--unwind", "dwarf", "--symbols", "late", "--image", gadget_object]
    arguments = ["record", "-q", "-o", tmp_path / "r", *options, "--", program, 200_000]
    try:
        assert main([*map(str, arguments)]) == 0
    finally:
        is_over.set()
    query = """
        select count(distinct stack_id)
        from events
        where operation = 'malloc' and size_bytes < 128 and seq > (select max(seq) / 2 from events)
    """
    # Where the room is taken the stack is not walked, but copied, in pieces; one copy, whatever the pieces.
    [(n_stacks,)] = rows(open_recording(tmp_path / "r"), query)
    assert n_stacks <= 2


@pytest.mark.parametrize(
    "command", [["git", "log", "-3", "--stat"], ["perl", "-e", "my @kept = map { { a => [$_] } } 1 .. 300"]]
)
def test_stacks_unwound_together_are_as_if_unwound_alone(
    record: Record, monkeypatch: pytest.MonkeyPatch, command: list[object]
) -> None:
    """Of programs of the distribution, whose rules are nearly all simple."""
    recording = record(command, "--unwind", "dwarf", "--symbols", "late")
    monkeypatch.setattr(unwind_pool, "_WORTH_A_PROCESS", sys.maxsize)
    alone: list[object] = []
    unwind = Unwinder.unwind
    monkeypatch.setattr(Unwinder, "unwind", lambda *args: alone.append(args) or unwind(*args))
    stacks = [*Unwinding(recording, Finder()).rows()]
    n_alone = len(alone)
    monkeypatch.setattr(Lockstep, "unwind", lambda _, slices: [None] * len(slices))
    assert [*Unwinding(recording, Finder()).rows()] == stacks
    assert n_alone < len(stacks) / 10


def test_stacks_that_are_read_long_after_the_process_ended(
    gadget_object: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a program that makes more than can be read while it runs; nothing is read until it ends here."""
    take = Drain.take
    monkeypatch.setattr(Drain, "take", lambda drain: take(drain) if drain.is_stopping else None)
    program = compiled(tmp_path / "program", source="timed_blocks.c")
    options = ["--unwind", "dwarf", "--image", gadget_object]
    arguments = ["record", "-q", "-o", tmp_path / "r", *options, "--", program, 300_000]
    assert main([*map(str, arguments)]) == 0
    recording = open_recording(tmp_path / "r")
    assert recording.counters["events"] > 600_000
    # The buffer of its standard output comes last, and is the largest.
    [(size,)] = rows(recording, "select max(size_bytes) from events where operation = 'malloc'")
    stack = functions(recording, size)
    assert "main" in stack
    assert stack[-1] == "_start"


def test_frame_pointers_can_be_asked_for(record: Record, tmp_path: Path) -> None:
    """Then nothing is copied."""
    recording = record([compiled(tmp_path / "program", "-O2")], "--unwind", "fp")
    assert "unwind" not in recording.header
    assert not [*recording.path.glob("slices-*")]
    assert len(functions(recording, 10001)) >= 1
