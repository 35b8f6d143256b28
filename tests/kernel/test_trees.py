"""Targets in trees: daemons, children that run already, children in their parent's memory, other roots."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gadgetops.trace.processes import threads_of

pytestmark = pytest.mark.kernel
TIMEOUT_S = 60
ALLOCATE = """
#include <stdlib.h>
static void *volatile kept;
int main(int argc, char **argv)
{
	for (int i = 0; i < atoi(argv[2]); i++)
		kept = malloc(atoi(argv[1]));
	return 0;
}
"""


@pytest.fixture
def argv(gadget_object: Path, tmp_path: Path) -> list[str]:
    """The command line that records into r.gadgetrec, as far as its first option."""
    own = [sys.executable, "-m", "gadgetops", "record", "-o", tmp_path / "r.gadgetrec"]
    return [*map(str, own), "--image", str(gadget_object)]


@contextmanager
def started(argv: list[str], *rest: object) -> Iterator["subprocess.Popen[str]"]:
    """The recorder, whose words go to the file `words` beside the recording; it is gone afterwards."""
    words = Path(argv[5]).parent / "words"
    with words.open("w") as stream:
        process = subprocess.Popen([*argv, *map(str, rest)], stderr=stream, text=True, start_new_session=True)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until(is_so: Callable[[], object], recorder: "subprocess.Popen[str] | None" = None) -> None:
    """Wait until *is_so*, as long as *recorder* runs."""
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert recorder is None or recorder.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def header(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "r.gadgetrec/recording.json").read_text())
    return document


def sizes(folder: Path) -> dict[int, int]:
    """Return how often each size of the programs here was allocated."""
    rows = duckdb.sql(
        f"select size_bytes, count(*) from read_parquet('{folder}/r.gadgetrec/events-*.parquet')"
        " where operation = 'malloc' and size_bytes between 4301 and 7999 group by all"
    ).fetchall()
    return dict(rows)


def leaks(folder: Path) -> dict[str, Any]:
    """Return the answer of `leaks`."""
    command = [sys.executable, "-m", "gadgetops", "leaks", folder / "r.gadgetrec", "--format", "json"]
    answer: dict[str, Any] = json.loads(subprocess.check_output([*map(str, command)]))
    return answer


def live(folder: Path) -> dict[int, int]:
    """Return how many blocks of each size of the programs here were not released."""
    sql = "select size_bytes, count(*) n from allocations where size_bytes between 4301 and 7999"
    sql += " and (released_operation is null or released_operation in ('exit', 'exec')) group by all"
    command = [sys.executable, "-m", "gadgetops", "sql", folder / "r.gadgetrec", sql, "--format", "csv"]
    lines = subprocess.check_output([*map(str, command)], text=True).splitlines()[1:]
    return {int(size): int(count) for size, count in (line.split(",") for line in lines)}


@pytest.mark.parametrize("how", ["vfork", "clone"])
def test_what_a_child_does_in_its_parents_memory_is_its_parents(
    argv: list[str], compiled: Callable[[str], Path], tmp_path: Path, how: str
) -> None:
    """It frees what the parent made, and the parent what it made; who called stands in `tid`."""
    with started(argv, "--", compiled("sharing"), how) as recorder:
        assert recorder.wait(TIMEOUT_S) == 0
    assert sizes(tmp_path) == {7001: 20, 7002: 20, 7003: 1}
    assert live(tmp_path) == {7003: 1}
    pids, tids = duckdb.sql(
        "select count(distinct pid), count(distinct tid) from read_parquet("
        f"'{tmp_path}/r.gadgetrec/events-*.parquet') where size_bytes between 7001 and 7003"
    ).fetchall()[0]
    assert (pids, tids) == (1, 22)


def test_a_daemon_is_recorded_to_its_end(
    argv: list[str], compiled: Callable[[str], Path], tmp_path: Path
) -> None:
    """The status is that of the command, which has ended long before; what is waited for is said."""
    go = tmp_path / "go"
    with started(argv, "--", compiled("daemon"), go) as recorder:
        wait_until(Path(f"{go}.ready").exists, recorder)
        wait_until(lambda: "which it started, goes on" in (tmp_path / "words").read_text(), recorder)
        go.touch()
        assert recorder.wait(TIMEOUT_S) == 3
    assert live(tmp_path) == {5102: 3}
    assert sizes(tmp_path) == {5101: 30, 5102: 3}
    assert header(tmp_path)["end"] == "complete"
    assert "Ctrl-C ends the recording" in (tmp_path / "words").read_text()


def test_a_daemon_that_goes_on_is_named_when_the_user_ends_the_recording(
    argv: list[str], compiled: Callable[[str], Path], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    try:
        with started(argv, "--", compiled("daemon"), go) as recorder:
            wait_until(lambda: "which it started, goes on" in (tmp_path / "words").read_text(), recorder)
            os.killpg(recorder.pid, signal.SIGINT)
            assert recorder.wait(TIMEOUT_S) == 3
    finally:
        go.touch()
    assert header(tmp_path)["end"] == "interrupted"
    assert "(daemon), which the command started, goes on, unrecorded" in (tmp_path / "words").read_text()


def test_without_children_a_daemon_is_not_waited_for(
    argv: list[str], compiled: Callable[[str], Path], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    try:
        with started(argv, "--no-children", "--", compiled("daemon"), go) as recorder:
            assert recorder.wait(TIMEOUT_S) == 3
    finally:
        go.touch()


@pytest.mark.parametrize(
    ("options", "expected"), [((), {4401: 10, 4402: 10, 4403: 10}), (("--no-children",), {4401: 10})]
)
def test_children_that_run_already_are_recorded_with_their_parent(
    argv: list[str],
    compiled: Callable[[str], Path],
    tmp_path: Path,
    options: tuple[str, ...],
    expected: dict[int, int],
) -> None:
    """As the workers of a server whose first process has nothing to do; none of them is late."""
    go = tmp_path / "go"
    parent = subprocess.Popen([compiled("family_of_three"), go])
    wait_until(lambda: len(family(parent.pid)) == 3)
    with started(argv, *options, "--pid", parent.pid) as recorder:
        wait_until((tmp_path / "r.gadgetrec/recording.json").exists, recorder)
        go.touch()
        assert recorder.wait(TIMEOUT_S) == 0
    parent.wait()
    assert sizes(tmp_path) == expected
    assert header(tmp_path)["target"].get("n_attached_late", 0) == 0
    assert leaks(tmp_path)["certainty"] == "certain"


def family(pid: int) -> list[int]:
    """Return *pid* and the processes that it and they have started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root folder with /bin/allocate and a C library of its own, at the path of the machine's."""
    folder = tmp_path / "root"
    (folder / "bin").mkdir(parents=True)
    for name in ("lib", "lib64"):
        (folder / "usr" / name).mkdir(parents=True)
        (folder / name).symlink_to(f"usr/{name}")
    (tmp_path / "allocate.c").write_text(ALLOCATE)
    program = folder / "bin/allocate"
    flags = ["-g", "-O1", "-fno-builtin", "-fno-omit-frame-pointer"]
    subprocess.run(["gcc", *flags, tmp_path / "allocate.c", "-o", program], check=True)
    for line in subprocess.check_output(["ldd", program], text=True).splitlines():
        for word in line.split():
            if word.startswith("/"):
                place = folder / word.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(word, place)
    return folder


def test_a_program_in_another_root_is_reached_and_nothing_is_certain(
    argv: list[str], root: Path, tmp_path: Path
) -> None:
    """Its C library is another file than the command's, however equal their paths."""
    script = f"chroot {root} /bin/allocate 4600 0; exec chroot {root} /bin/allocate 4601 40"
    with started(argv, "--", "sh", "-c", script) as recorder:
        assert recorder.wait(TIMEOUT_S) == 0
    found = leaks(tmp_path)
    target = header(tmp_path)["target"]
    assert found["certainty"] == "possible"
    assert target["n_attached_late"] + target["n_not_covered"] >= 1
    assert found["at_most_bytes"] is None


def test_a_program_in_another_root_that_is_gone_too_soon_is_named(
    argv: list[str], root: Path, tmp_path: Path
) -> None:
    """Not taken for covered because the path of its library is that of the command's."""
    begun, go, done = (tmp_path / name for name in ("begun", "go", "done"))
    script = f"touch {begun}; until [ -e {go} ]; do sleep 0.01; done; chroot {root} /bin/allocate 4602 3;"
    with started(argv, "--", "sh", "-c", f"{script} touch {done}") as recorder:
        wait_until(begun.exists, recorder)
        recorder.send_signal(signal.SIGSTOP)
        go.touch()
        wait_until(done.exists)
        recorder.send_signal(signal.SIGCONT)
        assert recorder.wait(TIMEOUT_S) == 0
    [missed] = header(tmp_path)["target"]["not_covered"]
    assert missed["maps"] == "/bin/allocate"
    assert sizes(tmp_path) == {}
    assert leaks(tmp_path)["certainty"] == "possible"


def test_a_mount_namespace_of_its_own_keeps_the_probes(argv: list[str], root: Path, tmp_path: Path) -> None:
    """It begins as a copy of the command's."""
    with started(argv, "--", "unshare", "--mount", root / "bin/allocate", "4603", "40") as recorder:
        assert recorder.wait(TIMEOUT_S) == 0
    assert sizes(tmp_path) == {4603: 40}
    assert leaks(tmp_path)["certainty"] == "certain"


def state(pid: int, tid: int) -> str:
    """Return the state of a thread; nothing if it is gone."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/task/{tid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def n_links(pid: int) -> int:
    """Return how many programs process *pid* has attached, each to one place."""
    links = Path(f"/proc/{pid}/fd").iterdir()
    return sum("bpf_link" in str(link.readlink()) for link in links if link.is_symlink())


def test_a_process_whose_first_thread_has_ended_is_recorded(
    argv: list[str], compiled: Callable[[str], Path], tmp_path: Path
) -> None:
    """To its end, though the thread that the probes belong to then ends before it, too."""
    go = tmp_path / "go"
    with subprocess.Popen([compiled("lone_thread"), go]) as program, ExitStack() as stack:
        # Whatever fails: nobody else ends it.
        stack.callback(program.kill)
        wait_until(lambda: state(program.pid, program.pid) == "Z")
        brief, last = sorted(threads_of(program.pid) - {program.pid})
        with started(argv, "--pid", program.pid) as recorder:
            wait_until((tmp_path / "r.gadgetrec/recording.json").exists, recorder)
            n_probes = n_links(recorder.pid) - 1  # and a tracepoint
            Path(f"{go}.brief").touch()
            wait_until(lambda: not state(program.pid, brief), recorder)
            # Those of the thread that has ended are taken off at the end.
            wait_until(lambda: n_links(recorder.pid) == 2 * n_probes + 1, recorder)
            assert state(program.pid, last)
            go.touch()
            assert recorder.wait(TIMEOUT_S) == 0
    assert live(tmp_path)[4323] == 5
    assert sizes(tmp_path)[4321] > 0
    assert header(tmp_path)["attach"]["name"].startswith("perf event")


def test_the_machines_own_library_is_probed_for_one_process_alone(
    argv: list[str], root: Path, tmp_path: Path
) -> None:
    """Of a process that has left for the machine's mount namespace; others would pay, and be recorded."""
    go = tmp_path / "go"
    script = f"until [ -e {go} ]; do sleep 0.1; done; exec {root}/bin/allocate 4604 40"
    inside = ["nsenter", f"--mount=/proc/{os.getpid()}/ns/mnt", "sh", "-c", script]
    with started(argv, "--", *inside) as recorder:
        wait_until((tmp_path / "r.gadgetrec/recording.json").exists, recorder)
        time.sleep(1)
        subprocess.run([root / "bin/allocate", "4605", "40"], check=True)
        go.touch()
        assert recorder.wait(TIMEOUT_S) == 0
    found = sizes(tmp_path)
    assert 4605 not in found
    assert found.get(4604, 0) + header(tmp_path)["target"]["n_not_covered"] > 0
    assert leaks(tmp_path)["certainty"] == "possible"
