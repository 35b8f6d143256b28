"""Where probes are put, on the running kernel: every allocator, every call once, nobody else disturbed."""

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from services.patience import PATIENCE

from gadgetops.bpf.object import Object
from gadgetops.trace.events.layout import EventLayout
from gadgetops.trace.events.records import decode
from gadgetops.trace.events.ring import RingBuffer
from gadgetops.trace.kernel import features
from gadgetops.trace.kernel.libbpf import LoadedObject
from gadgetops.trace.kernel.loader import Loader, Options
from gadgetops.trace.kernel.ring_map import RingMap
from gadgetops.trace.probes.allocator import Allocator, allocators_of_process

pytestmark = [pytest.mark.kernel, pytest.mark.clang]

RING_BYTES = 1 << 20
WORKLOADS = Path(__file__).parents[1] / "workloads"
ROUNDS = 200
BREAKPOINT = b"\xcc"
LIBRARIES = {
    "jemalloc": "libjemalloc.so.2",
    "tcmalloc": "libtcmalloc_minimal.so.4",
    "mimalloc": "libmimalloc.so.2",
}
ONE_ROUND = [
    *(("malloc", 3011), ("free", 3011)),
    *(("calloc", 3022), ("free", 3022)),
    *(("malloc", 3037), ("realloc_free", 3037), ("realloc", 3041), ("free", 3041)),
    *(("posix_memalign", 3061), ("free", 3061)),
    *(("aligned", 3136), ("free", 3136)),
    *(("aligned", 3083), ("free", 3083)),
    *(("valloc", 3089), ("free", 3089)),
    *(("mmap", 28672), ("munmap", 28672)),
]
OPERATORS_ROUND = [(name, size) for size in (3011, 3019, 3023, 3037, 3136) for name in ("malloc", "free")]
RELEASES = ("free", "realloc_free", "munmap")


def built(folder: Path, source: str, *options: str, compiler: str = "gcc") -> Path:
    """Compile a program of tests/workloads."""
    program = folder / Path(source).stem
    flags = ["-O1", "-g", "-fno-builtin", "-pthread"]
    subprocess.run([compiler, *flags, WORKLOADS / source, "-o", program, *options], check=True)
    return program


def library(name: str) -> str:
    """The path of an allocator's library."""
    found = subprocess.check_output(["gcc", f"-print-file-name={LIBRARIES[name]}"], text=True).strip()
    assert Path(found).is_absolute(), f"{LIBRARIES[name]} is not installed"
    return found


def recorded(
    folder: Path, gadget: Path, command: Sequence[object], *options: str, **variables: str
) -> list[tuple[str, int]]:
    """The calls that a program made, in their order, as recorded."""
    arguments = ["record", "-o", folder, "--image", gadget, "--no-stacks", "--symbols", "late", *options]
    line = [sys.executable, "-m", "gadgetops", *arguments, "--", *command]
    environment = os.environ | variables
    done = subprocess.run([*map(str, line)], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return known_calls(folder)


def known_calls(folder: Path) -> list[tuple[str, int]]:
    """The calls with the workloads' sizes; a release has its block's, or 0 if that had been released."""
    rows = duckdb.sql(
        f"SELECT operation, address, size_bytes FROM read_parquet('{folder}/events-*.parquet') ORDER BY seq"
    ).fetchall()
    sizes = {size for _, size in (*ONE_ROUND, *OPERATORS_ROUND)}
    live: dict[int, int] = {}
    calls = []
    for operation, address, size in rows:
        if operation in RELEASES:
            # musl gives blocks back in groups, with a munmap() of its own.
            if address in live and (operation != "munmap" or size == 28672):
                calls.append((operation, live[address]))
                live[address] = 0
        elif size in sizes:
            calls.append((operation, size))
            live[address] = size
        else:
            live.pop(address, None)
    return [("aligned" if name in ("memalign", "aligned_alloc") else name, size) for name, size in calls]


@pytest.mark.parametrize("probe_at", ["prologue", "symbol"])
@pytest.mark.parametrize(
    ("compiler", "options"),
    [
        pytest.param("gcc", [], id="glibc"),
        pytest.param("gcc", ["-static"], id="static glibc"),
        pytest.param("musl-gcc", [], id="musl"),
        pytest.param("musl-gcc", ["-static"], id="static musl"),
    ],
)
def test_every_call_of_a_c_librarys_allocator_is_seen_once(
    gadget_object: Path, tmp_path: Path, compiler: str, options: list[str], probe_at: str
) -> None:
    program = built(tmp_path, "malloc_family.c", *options, compiler=compiler)
    calls = recorded(tmp_path / "r", gadget_object, [program, ROUNDS], "--probe-at", probe_at)
    assert calls == ONE_ROUND * ROUNDS


@pytest.mark.parametrize("probe_at", ["prologue", "symbol"])
@pytest.mark.parametrize("name", LIBRARIES)
def test_every_call_of_a_preloaded_allocator_is_seen_once(
    gadget_object: Path, tmp_path: Path, name: str, probe_at: str
) -> None:
    program = built(tmp_path, "malloc_family.c")
    command = [program, ROUNDS]
    calls = recorded(tmp_path / "r", gadget_object, command, "--probe-at", probe_at, LD_PRELOAD=library(name))
    assert calls == ONE_ROUND * ROUNDS


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_call_of_a_linked_allocator_is_seen_once(
    gadget_object: Path, tmp_path: Path, name: str
) -> None:
    program = built(tmp_path, "malloc_family.c", library(name))
    assert recorded(tmp_path / "r", gadget_object, [program, ROUNDS]) == ONE_ROUND * ROUNDS


@pytest.mark.parametrize("name", [None, *LIBRARIES])
def test_every_new_and_delete_is_seen_once(gadget_object: Path, tmp_path: Path, name: str | None) -> None:
    """An allocator has operators of its own, libstdc++'s end in malloc, aligned_alloc and free."""
    program = built(tmp_path, "operators.cpp", "-std=c++17", compiler="g++")
    variables = {"LD_PRELOAD": library(name)} if name else {}
    calls = recorded(tmp_path / "r", gadget_object, [program, ROUNDS], **variables)
    as_malloc = [("malloc" if operation == "aligned" else operation, size) for operation, size in calls]
    assert as_malloc == OPERATORS_ROUND * ROUNDS


def test_an_allocator_under_names_of_its_own_is_seen_beside_the_plain_ones(
    gadget_object: Path, tmp_path: Path
) -> None:
    """Blocks come from je_malloc() of the executable itself, which takes them from a pool."""
    (tmp_path / "je.c").write_text(
        "#include <stddef.h>\nstatic char pool[1 << 24], *next = pool;\n"
        "void *je_malloc(size_t n) { void *p = next; next += n + 16 & -16; return p; }\n"
        "void je_free(void *p) { (void)p; }\n"
    )
    (tmp_path / "use.c").write_text(
        "#include <stdlib.h>\nvoid *je_malloc(size_t); void je_free(void *);\n"
        "int main(void) { for (int n = 0; n < 100; n++) {"
        " je_free(je_malloc(3011)); free(malloc(3037)); } return 0; }\n"
    )
    sources = [tmp_path / "je.c", tmp_path / "use.c"]
    subprocess.run(["gcc", "-O1", "-fno-builtin", *sources, "-o", tmp_path / "use"], check=True)
    calls = recorded(tmp_path / "r", gadget_object, [tmp_path / "use"])
    assert calls == [(name, size) for size in (3011, 3037) for name in ("malloc", "free")] * 100


def test_a_command_without_an_allocator_runs_and_the_recording_says_so(
    gadget_object: Path, tmp_path: Path
) -> None:
    program = built(tmp_path, "malloc_family.c", "-static", "-s")
    done = record(tmp_path / "r", gadget_object, "--", program)
    assert done.returncode == 0
    assert "no malloc in" in done.stderr
    assert "no malloc in" in json.loads((tmp_path / "r/recording.json").read_text())["target"]["unseen"]


def test_a_process_without_an_allocator_is_an_error_with_a_way_out(
    gadget_object: Path, tmp_path: Path
) -> None:
    (tmp_path / "waits.c").write_text(
        "#include <unistd.h>\nint main(void) { return read(0, &(char){0}, 1); }\n"
    )
    subprocess.run(["gcc", "-static", "-s", tmp_path / "waits.c", "-o", tmp_path / "waits"], check=True)
    # A program that has begun: Popen returns after exec.
    with subprocess.Popen([tmp_path / "waits"], stdin=subprocess.PIPE) as process:
        done = record(tmp_path / "r", gadget_object, "--pid", process.pid)
        process.kill()
    assert done.returncode == 1
    assert "no malloc in" in done.stderr
    assert "--library" in done.stderr
    assert not (tmp_path / "r").exists()


def record(folder: Path, gadget: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Call `gadgetops record`."""
    line = [sys.executable, "-m", "gadgetops", "record", "-o", folder, "--image", gadget, *arguments]
    return subprocess.run([*map(str, line)], capture_output=True, text=True, check=False)


@contextmanager
def loaded(
    gadget: Path, *, by_link: bool | None = None, namespaces: Sequence[int] = ()
) -> Iterator[tuple[LoadedObject, Callable[[], Mapping[str, Any]]]]:
    """The gadget in the kernel, and what reads its events; of these mount namespaces if there are any."""
    data = gadget.read_bytes()
    gadget_object = Object.from_bytes(data)
    layout = EventLayout.from_object(gadget_object)
    flag = gadget_object.variable("gadget_filter_by_mntns")
    with LoadedObject(data, "test", by_link=by_link) as bpf:
        bpf.resize(layout.map, 1 << 24)
        assert flag is not None
        bpf.set_bytes(flag.section, flag.offset_bytes, bytes([bool(namespaces)]))
        bpf.load()
        for namespace in namespaces:
            bpf.update("gadget_mntns_filter_map", struct.pack("<Q", namespace), struct.pack("<I", 0))
        room = bpf.map_fd(layout.map), bpf.max_entries(layout.map)
        ring = RingBuffer(*room, layout.event_bytes)
        yield bpf, lambda: decode(ring.read(), layout.dtype, layout.event_bytes).columns


def lost_events(bpf: LoadedObject, gadget: Path) -> int:
    """What the gadget says that it lost."""
    variable = Object.from_bytes(gadget.read_bytes()).variable("lost_events")
    assert variable is not None
    value = bpf.get_bytes(variable.section, variable.offset_bytes, variable.size_bytes)
    return int.from_bytes(value, "little")


@contextmanager
def waiting(program: Path | str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """A program that waits for a line, with its C library mapped."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([program, *map(str, arguments)], stdin=pipe, stdout=pipe, bufsize=0)
    deadline = time.monotonic() + 30 * PATIENCE
    try:
        while "libc.so" not in Path(f"/proc/{process.pid}/maps").read_text() or not is_reading(process.pid):
            assert time.monotonic() < deadline
        yield process
    finally:
        process.kill()
        process.wait()


def is_reading(pid: int) -> bool:
    """Whether a process waits for its input."""
    # Not wchan: it is 0 on Linux 5.10.
    return "pipe_read+" in Path(f"/proc/{pid}/stack").read_text()


def first_byte(pid: int, allocator: Allocator, name: str) -> bytes:
    """The first byte of a function as it is in a process's memory now."""
    (function,) = allocator.functions[name]
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        start, end, rights, offset, path = (*line.split()[0].split("-"), *line.split()[1:3], line.split()[-1])
        begin = function.offset_bytes - int(offset, 16)
        if path == str(allocator.path) and "x" in rights and 0 <= begin < int(end, 16) - int(start, 16):
            with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
                memory.seek(int(start, 16) + begin)
                return memory.read(1)
    raise AssertionError(f"{allocator.path} is not mapped")


def c_library(pid: int) -> Allocator:
    """The C library of a process."""
    (found,) = allocators_of_process(pid)
    return found


needs_multi_links = pytest.mark.skipif(
    not features.uprobe_multi_links().is_there, reason="this kernel has no uprobe_multi links for a process"
)
WAYS = pytest.mark.parametrize(
    "by_link",
    [
        pytest.param(True, id="links", marks=needs_multi_links),
        pytest.param(False, id="perf events"),
    ],
)


@pytest.fixture
def waiter(tmp_path: Path) -> Path:
    """A program that waits and then calls in four threads."""
    return built(tmp_path, "threads_at_once.c")


@WAYS
def test_a_probe_of_a_process_changes_its_memory_alone(
    gadget_object: Path, waiter: Path, *, by_link: bool
) -> None:
    """Who maps the same file next to it runs without a breakpoint, and so at full speed."""
    with (
        loaded(gadget_object, by_link=by_link) as (bpf, _),
        waiting(waiter) as target,
        waiting(waiter) as other,
    ):
        libc = c_library(target.pid)
        before = first_byte(target.pid, libc, "free")
        offsets = [libc.functions["free"][0].offset_bytes]
        bpf.attach_uprobe("trace_uprobe_free", libc.probed, offsets, at_return=False, pid=target.pid)
        assert first_byte(target.pid, libc, "free") == BREAKPOINT
        assert first_byte(other.pid, libc, "free") == before != BREAKPOINT
        bpf.detach()
        assert first_byte(target.pid, libc, "free") == before


@WAYS
def test_all_threads_of_a_process_are_seen_and_no_other_process(
    gadget_object: Path, waiter: Path, *, by_link: bool
) -> None:
    """Threads that begin after the probe was put, too."""
    n_calls = 500
    with (
        loaded(gadget_object, by_link=by_link) as (bpf, events),
        waiting(waiter, n_calls) as target,
        waiting(waiter, n_calls) as other,
    ):
        libc = c_library(target.pid)
        for kind in ("uretprobe", "uprobe"):
            offsets = [libc.functions["malloc"][0].offset_bytes]
            bpf.attach_uprobe(
                f"trace_{kind}_malloc", libc.probed, offsets, at_return=kind == "uretprobe", pid=target.pid
            )
        for process in (target, other):
            process.communicate(b"\n")
        columns = events()
        n_lost = lost_events(bpf, gadget_object)
    of_workload = columns["size_bytes"] == 3011
    assert {target.pid} == set(columns["pid"].tolist())
    tids = columns["tid"][of_workload].tolist()
    assert (sorted(tids.count(tid) for tid in set(tids)), n_lost) == ([n_calls] * 4, 0)


@WAYS
def test_several_places_take_one_program(gadget_object: Path, waiter: Path, *, by_link: bool) -> None:
    """free() and munmap() both seen by the program for free()."""
    with loaded(gadget_object, by_link=by_link) as (bpf, _), waiting(waiter) as target:
        libc = c_library(target.pid)
        offsets = [libc.functions[name][0].offset_bytes for name in ("free", "munmap")]
        bpf.attach_uprobe("trace_uprobe_free", libc.probed, offsets, at_return=False, pid=target.pid)
        for name in ("free", "munmap"):
            assert first_byte(target.pid, libc, name) == BREAKPOINT


def test_what_was_chosen_and_why_is_in_the_recording(gadget_object: Path, tmp_path: Path) -> None:
    """By program: file, function, offset, instruction and reason; and which functions are nowhere."""
    program = built(tmp_path, "malloc_family.c", compiler="musl-gcc")
    recorded(tmp_path / "r", gadget_object, [program, 1])
    header = json.loads((tmp_path / "r/recording.json").read_text())["target"]
    free = header["attached"]["trace_uprobe_free"]
    assert free["path"].endswith(("ld-musl-x86_64.so.1", "libc.so"))
    assert (free["function"], free["offset"]) == ("free", 0)
    assert free["instruction"].startswith("jmp")
    assert free["reason"] == "the symbol: the kernel emulates it"
    assert {"trace_uprobe_pvalloc", "trace_uretprobe_pvalloc"} == set(header["missing"])


def attach_posix_memalign(bpf: LoadedObject, path: Path, offset_bytes: int) -> None:
    """Both programs for posix_memalign()."""
    for kind in ("uretprobe", "uprobe"):
        name = f"trace_{kind}_posix_memalign"
        bpf.attach_uprobe(name, path, [offset_bytes], at_return=kind == "uretprobe")


def told_to_go_on(process: subprocess.Popen[bytes]) -> str:
    """Answer the program that waits, and return what it says then; it waits again."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    return process.stdout.readline().decode().strip()


def calls_in_progress(bpf: LoadedObject, tid: int) -> list[str]:
    """The maps that have an entry of a thread."""
    return [name for name in ("sizes", "memptrs") if bpf.look_up(name, tid) is not None]


def test_other_mount_namespaces_give_no_event_and_leave_nothing_behind(
    gadget_object: Path, tmp_path: Path
) -> None:
    """The filter is asked at the return of a call; what was noted at its entry goes, all the same."""
    (tmp_path / "a.c").write_text(
        "#include <stdio.h>\n#include <stdlib.h>\nint main(void) { void *p; getchar();"
        ' posix_memalign(&p, 64, 3061); puts("done"); fflush(stdout); getchar(); return 0; }\n'
    )
    program = tmp_path / "a"
    subprocess.run(["gcc", "-O1", tmp_path / "a.c", "-o", program, "-Wno-unused-result"], check=True)
    with waiting("unshare", "--mount", program) as inside, waiting(program) as outside:
        namespace = Path(f"/proc/{inside.pid}/ns/mnt").stat().st_ino
        assert namespace != Path(f"/proc/{outside.pid}/ns/mnt").stat().st_ino
        with loaded(gadget_object, namespaces=[namespace]) as (bpf, events):
            libc = c_library(outside.pid)
            attach_posix_memalign(bpf, libc.probed, libc.functions["posix_memalign"][0].offset_bytes)
            assert [told_to_go_on(process) for process in (outside, inside)] == ["done", "done"]
            assert {inside.pid} == set(events()["pid"].tolist())
            assert calls_in_progress(bpf, outside.pid) == []


@pytest.mark.parametrize("ends_are_seen", [True, False])
def test_a_thread_that_ends_inside_a_call_leaves_nothing_behind(
    gadget_object: Path, tmp_path: Path, *, ends_are_seen: bool
) -> None:
    """The program at the end of threads takes away what was noted; without it the note stays."""
    program = built(tmp_path, "ending_thread.c", "-rdynamic")
    with loaded(gadget_object) as (bpf, _), waiting(program) as process:
        (own,) = [a for a in allocators_of_process(process.pid) if "posix_memalign" in a.functions]
        assert own.path == program
        attach_posix_memalign(bpf, program, own.functions["posix_memalign"][0].offset_bytes)
        if ends_are_seen:
            bpf.attach("trace_sched_process_exit")
        tid = int(told_to_go_on(process))
        assert calls_in_progress(bpf, tid) == ([] if ends_are_seen else ["sizes", "memptrs"])


def test_a_value_is_had_whole_and_one_of_another_size_is_refused(gadget_object: Path) -> None:
    """The kernel writes and reads by the map's sizes, past the end of what is shorter."""
    with loaded(gadget_object) as (bpf, _):
        [of_calls] = [
            each for each in Object.from_bytes(gadget_object.read_bytes()).maps if each.name == "sizes"
        ]
        value = bytes(range(of_calls.value_size_bytes))
        bpf.update("sizes", struct.pack("=I", 7), value)
        assert bpf.look_up("sizes", 7) == value
        for key, other in ((b"1234", value[:-1]), (b"123", value)):
            with pytest.raises(ValueError, match="map sizes has keys and values of"):
                bpf.update("sizes", key, other)


def map_id(fd: int | None) -> str:
    """The kernel's number of a map."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return next(line for line in lines if line.startswith("map_id:"))


def test_a_ring_buffer_that_was_made_before_is_used(gadget_object: Path) -> None:
    with RingMap(RING_BYTES) as ring:
        loader = Loader(gadget_object.read_bytes(), Options(buffer_bytes=RING_BYTES), ring)
        with loader.loaded():
            assert map_id(loader.bpf.map_fd("events")) == map_id(ring.fd())


@pytest.mark.parametrize(
    ("name", "size_bytes"),
    [pytest.param(b"events", 3, id="refused"), pytest.param(b"others", RING_BYTES, id="another name")],
)
def test_where_it_cannot_be_used_it_is_made_with_the_gadget(
    gadget_object: Path, name: bytes, size_bytes: int
) -> None:
    data = gadget_object.read_bytes().replace(b"events", name)
    with RingMap(size_bytes) as ring:
        loader = Loader(data, Options(buffer_bytes=RING_BYTES), ring)
        with loader.loaded():
            fd, size = loader.bpf.map_fd(name.decode()), loader.bpf.max_entries(name.decode())
            assert size == RING_BYTES
            assert ring.fd() is None or map_id(fd) != map_id(ring.fd())
