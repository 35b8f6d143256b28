"""What `record` reaches: children, several processes, what they start later, the whole machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from services.patience import PATIENCE

from gadgetops.recording.reader import open_recording

pytestmark = pytest.mark.kernel
TIMEOUT_S = 60 * PATIENCE

# allocate SIZE COUNT [GO]: waits for the file GO, if any, and then makes COUNT blocks and releases them.
ALLOCATE = """
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	int size = atoi(argv[1]), count = atoi(argv[2]);
	while (argc > 3 && access(argv[3], F_OK) != 0)
		usleep(10000);
	for (int i = 0; i < count; i++)
		free(malloc(size));
	return 0;
}
"""
# parent HOW SIZE COUNT GO [PROGRAM]: starts a child in the way HOW once GO is there; both wait until GO2 is
# there, and make COUNT blocks of SIZE (parent) and SIZE + 1 (child, or PROGRAM).
PARENT = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void wait_for(const char *path)
{
	while (access(path, F_OK) != 0)
		usleep(10000);
}
static void allocate(int size, int count)
{
	for (int i = 0; i < count; i++)
		free(malloc(size));
}
int main(int argc, char **argv)
{
	int size = atoi(argv[2]), count = atoi(argv[3]);
	char go2[4096];
	snprintf(go2, sizeof(go2), "%s2", argv[4]);
	wait_for(argv[4]);
	pid_t child = strcmp(argv[1], "vfork") == 0 ? vfork() : fork();
	if (child == 0) {
		if (argc > 5) {
			char text[16], number[16];
			snprintf(text, sizeof(text), "%d", size + 1);
			snprintf(number, sizeof(number), "%d", count);
			execl(argv[5], argv[5], text, number, go2, NULL);
			_exit(9);
		}
		wait_for(go2);
		allocate(size + 1, count);
		_exit(0);
	}
	wait_for(go2);
	allocate(size, count);
	waitpid(child, NULL, 0);
	return 5;
}
"""
COMPILERS = {"allocate": ["gcc"], "static": ["gcc", "-static"], "musl": ["musl-gcc"], "parent": ["gcc"]}


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The programs above: `parent`, and `allocate` with glibc, `static` and `musl`."""
    folder = tmp_path_factory.mktemp("programs")
    for name, compiler in COMPILERS.items():
        source = folder / f"{name}.c"
        source.write_text(PARENT if name == "parent" else ALLOCATE)
        flags = ["-g", "-O1", "-fno-builtin", "-fno-omit-frame-pointer"]
        subprocess.run([*compiler, *flags, source, "-o", folder / name], check=True)
    return {name: folder / name for name in COMPILERS}


@pytest.fixture
def record(gadget_object: Path, tmp_path: Path) -> Callable[..., Any]:
    """Start `record` with these arguments, in a context that waits for its end; it writes r.gadgetrec."""

    @contextmanager
    def start(*arguments: object, status: int = 0) -> Iterator[subprocess.Popen[str]]:
        argv = ["record", "-o", tmp_path / "r.gadgetrec", "--image", gadget_object, *arguments]
        process = subprocess.Popen(
            [sys.executable, "-m", "gadgetops", *map(str, argv)], stderr=subprocess.PIPE, text=True
        )
        try:
            yield process
            _, errors = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
        assert process.returncode == status, errors
        (tmp_path / "errors").write_text(errors)

    return start


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def header(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "r.gadgetrec/recording.json").read_text())
    return document


def mallocs(folder: Path) -> dict[int, int]:
    """Return how often each size above 4000 was allocated: the program's, not its libraries' own."""
    rows = duckdb.sql(
        f"select size_bytes, count(*) from read_parquet('{folder}/r.gadgetrec/events-*.parquet')"
        " where operation = 'malloc' and size_bytes between 4001 and 9999 group by all"
    ).fetchall()
    return dict(rows)


@pytest.mark.parametrize("how", ["fork", "vfork"])
def test_without_children_only_the_commands_own_process_is_recorded(
    record: Callable[..., Any], programs: dict[str, Path], tmp_path: Path, how: str
) -> None:
    """Also where the child runs in the command's memory, as after vfork(), and where it is exec'd anew."""
    go = tmp_path / "go"
    go.touch()
    Path(f"{go}2").touch()
    command = [programs["parent"], how, 5000, 40, go, programs["allocate"]]
    with record("--no-children", "--", *command, status=5):
        pass
    assert mallocs(tmp_path) == {5000: 40}


def test_several_processes_are_recorded_and_no_other(
    record: Callable[..., Any], programs: dict[str, Path], tmp_path: Path
) -> None:
    """The recording ends with the last of them."""
    go = tmp_path / "go"
    started = [subprocess.Popen([programs["allocate"], str(size), "30", go]) for size in (4100, 4200, 4300)]
    with record("--pid", f"{started[0].pid},{started[2].pid}"):
        wait_until((tmp_path / "r.gadgetrec").exists)
        go.touch()
    for process in started:
        process.wait()
    assert mallocs(tmp_path) == {4100: 30, 4300: 30}
    assert header(tmp_path)["end"] == "complete"


@pytest.mark.parametrize("name", ["allocate", "static"])
def test_files_that_only_the_process_sees_are_found_without_those_of_its_mappings(
    gadget_object: Path, programs: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """Through its root folder: the program and its C library, in mounts of its own."""
    (mounted := tmp_path / "mounted").mkdir()
    go, recording = tmp_path / "go", tmp_path / "r.gadgetrec"
    mappings = Path("/proc/self/maps").read_text().splitlines()
    libc = next(line.split()[-1] for line in mappings if "/libc.so.6" in line)
    own = f"mount -t tmpfs t {mounted}; cp {libc} {programs[name]} {mounted}"
    run = f"LD_LIBRARY_PATH={mounted} exec {mounted}/{name} 5000 40 {go}"
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", f"{own}; {run}"]) as process:
        wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == f"{name}\n")
        line = [sys.executable, "-m", "gadgetops", "record", "-o", recording, "--image", gadget_object]
        hide = f'mount -t tmpfs t /proc/{process.pid}/map_files; exec "$@"'
        hidden = ["unshare", "--mount", "sh", "-c", hide, "sh", *line, "--pid", process.pid]
        with subprocess.Popen([*map(str, hidden)], stderr=subprocess.PIPE, text=True) as recorder:
            wait_until(lambda: recording.exists() or recorder.poll() is not None)
            go.touch()
            _, errors = recorder.communicate(timeout=TIMEOUT_S)
        assert recorder.returncode == 0, errors
    assert mallocs(tmp_path) == {5000: 40}
    made = open_recording(recording)
    with made.connect() as connection:
        query = """
            select distinct function, line, modules.path
            from events join stacks using (stack_id)
            join frames on frames.frame_id = frame_ids[1] and position = 0
            join modules using (module_id)
            where size_bytes = 5000
        """
        assert connection.execute(query).fetchall() == [("main", 10, f"{mounted}/{name}")]


@pytest.mark.parametrize("program", [None, "allocate", "static"])
def test_what_a_running_process_starts_is_reached_late_and_the_recording_says_so(
    record: Callable[..., Any], programs: dict[str, Path], tmp_path: Path, program: str | None
) -> None:
    """A child that was forked before it allocates gives all its events, also if it is exec'd anew."""
    go = tmp_path / "go"
    parent = subprocess.Popen(
        [programs["parent"], "fork", "5000", "40", go, *([programs[program]] if program else [])]
    )
    with record("--pid", parent.pid):
        wait_until((tmp_path / "r.gadgetrec").exists)
        go.touch()
        # Longer than it takes to be seen and reached on a busy machine; the recording says how long it took.
        time.sleep(1)
        Path(f"{go}2").touch()
    parent.wait()
    assert mallocs(tmp_path) == {5000: 40, 5001: 40}
    target = header(tmp_path)["target"]
    assert target["n_attached_late"] >= 1
    assert all(late["at_most_ms_late"] > 0 for late in target["attached_late"])
    assert target["n_not_covered"] == 0
    assert "after it began" in (tmp_path / "errors").read_text()


def test_children_of_a_running_process_are_left_out_on_request(
    record: Callable[..., Any], programs: dict[str, Path], tmp_path: Path
) -> None:
    """A forked child has a copy of the traced memory, breakpoints included; it gives no events."""
    go = tmp_path / "go"
    parent = subprocess.Popen([programs["parent"], "fork", "5000", "40", go])
    with record("--pid", parent.pid, "--no-children"):
        wait_until((tmp_path / "r.gadgetrec").exists)
        go.touch()
        Path(f"{go}2").touch()
    assert parent.wait() == 5
    assert mallocs(tmp_path) == {5000: 40}


def test_a_child_that_is_gone_too_soon_is_named(
    record: Callable[..., Any], programs: dict[str, Path], tmp_path: Path
) -> None:
    """A static program that a shell starts, and that ends while the recorder has no time to look."""
    begun, go, done = (tmp_path / name for name in ("begun", "go", "done"))
    child = f"{programs['static']} 4500 1"
    script = f"touch {begun}; until [ -e {go} ]; do sleep 0.01; done; {child}; touch {done}; true"
    with record("--", "sh", "-c", script) as recorder:
        wait_until(begun.exists)
        recorder.send_signal(signal.SIGSTOP)
        go.touch()
        wait_until(done.exists)
        recorder.send_signal(signal.SIGCONT)
    [missed] = header(tmp_path)["target"]["not_covered"]
    assert missed["maps"] == str(programs["static"])
    assert "not recorded: 1 process" in (tmp_path / "errors").read_text()


def test_a_child_with_another_c_library_is_reached(
    record: Callable[..., Any], programs: dict[str, Path], tmp_path: Path
) -> None:
    """Late; a later one with the command's own library is recorded from its first allocation."""
    go = tmp_path / "go"
    with record("--", "sh", "-c", f"{programs['musl']} 4500 25 {go}; {programs['allocate']} 4600 25; true"):
        wait_until((tmp_path / "r.gadgetrec").exists)
        time.sleep(1)
        go.touch()
    assert mallocs(tmp_path) == {4500: 25, 4600: 25}
    assert header(tmp_path)["target"]["n_attached_late"] == 1


def test_the_whole_machine_by_name_of_program(
    record: Callable[..., Any], programs: dict[str, Path], tmp_path: Path
) -> None:
    """Programs started later too; the recorder does not record itself; and it says that everybody pays."""
    with record("--host", "--comm", "allocate") as process:
        wait_until((tmp_path / "r.gadgetrec").exists)
        subprocess.run([programs["allocate"], "4700", "35"], check=True)
        process.send_signal(signal.SIGTERM)
    assert mallocs(tmp_path) == {4700: 35}
    names = f"select distinct comm from read_parquet('{tmp_path}/r.gadgetrec/processes-*.parquet')"
    assert ("allocate",) in duckdb.sql(names).fetchall()
    assert header(tmp_path)["end"] == "interrupted"
    assert "pays for the probes" in (tmp_path / "errors").read_text()


def test_the_recorder_of_the_whole_machine_does_not_record_itself(
    record: Callable[..., Any], programs: dict[str, Path], tmp_path: Path
) -> None:
    """It runs under a C library of its own, which has no probes."""
    # Not the names of all that the machine does meanwhile.
    options = ("--duration", "1.5", "--unwind", "fp", "--symbols", "late")
    with record("--host", *options, "--uid", os.getuid()) as process:
        wait_until((tmp_path / "r.gadgetrec").exists)
        subprocess.run([programs["allocate"], "4700", "35"], check=True)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert mallocs(tmp_path).get(4700, 0) >= 35
    pids = duckdb.sql(f"select distinct pid from read_parquet('{tmp_path}/r.gadgetrec/events-*.parquet')")
    assert len(children) == 1
    assert (int(children[0]),) not in pids.fetchall()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--pid", "1", "--host"),
        ("--pid", "x"),
        ("--pid", "0"),
        ("--wait", "--", "true"),
        ("--host", "--no-children"),
        ("--container", "a", "--", "true"),
    ],
)
def test_what_makes_no_sense_is_refused(
    record: Callable[..., Any], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with record(*arguments, status=2):
        pass
    assert "Traceback" not in (tmp_path / "errors").read_text()
    assert not (tmp_path / "r.gadgetrec").exists()
