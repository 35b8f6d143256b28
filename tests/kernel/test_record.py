"""What `record` promises besides events: children, status, others left alone, clean ends, clear errors."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from services.patience import PATIENCE

from gadgetops.recording.reader import open_recording

pytestmark = pytest.mark.kernel

LEAKER = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static __attribute__((noinline)) void *leak(int size) { return malloc(size); }
int main(int argc, char **argv)
{
	void *volatile kept = leak(argc > 1 ? 2000 : 1000);
	if (argc == 1) {
		fflush(stdout);
		if (fork() == 0)
			execl(argv[0], argv[0], "child", NULL);
		wait(NULL);
	}
	return kept ? 3 : 4;
}
"""


@pytest.fixture
def leaker(tmp_path: Path) -> Path:
    """A program that leaks 1000 bytes, and whose child, exec'd anew, leaks 2000."""
    source = tmp_path / "leaker.c"
    source.write_text(LEAKER)
    flags = ["-g", "-O1", "-fno-builtin", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]
    subprocess.run(["gcc", *flags, source, "-o", tmp_path / "leaker"], check=True)
    return tmp_path / "leaker"


def gadgetops(*arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "gadgetops", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60 * PATIENCE, check=False)


def wait_for(path: Path) -> None:
    """Wait until *path* is there: a recording is made when everything is attached."""
    deadline = time.monotonic() + 30 * PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def events(recording: Path) -> list[tuple[object, ...]]:
    query = (
        f"select operation, size_bytes, pid from read_parquet('{recording}/events-*.parquet') order by seq"
    )
    return duckdb.sql(query).fetchall()


def test_children_and_what_they_exec_are_recorded_and_the_status_is_passed_on(
    gadget_object: Path, leaker: Path, tmp_path: Path
) -> None:
    recording = tmp_path / "r.gadgetrec"
    done = gadgetops("record", "-o", recording, "--image", gadget_object, "--", leaker)
    assert (done.returncode, done.stdout) == (3, "")
    assert [event[:2] for event in events(recording)] == [("malloc", 1000), ("malloc", 2000)]
    assert len({event[2] for event in events(recording)}) == 2


def test_leaks_names_function_and_line_of_processes_that_are_gone(
    gadget_object: Path, leaker: Path, tmp_path: Path
) -> None:
    recording = tmp_path / "r.gadgetrec"
    gadgetops("record", "-o", recording, "--image", gadget_object, "--", leaker)
    answer = json.loads(gadgetops("leaks", recording, "--format", "json").stdout)
    assert (answer["certainty"], answer["live_bytes"], answer["live_count"]) == ("certain", 3000, 2)
    for leak in answer["leaks"]:
        assert [(f["function"], f["line"]) for f in leak["stack"][:2]] == [("leak", 6), ("main", 9)]
        assert leak["stack"][0]["file"] == str(leaker.with_suffix(".c"))
        assert leak["stack"][0]["module"] == str(leaker)


def test_a_process_beside_is_not_recorded(gadget_object: Path, tmp_path: Path) -> None:
    """Programs that start while another is recorded, on the same C library, give no events."""
    recording = tmp_path / "r.gadgetrec"
    argv = [sys.executable, "-m", "gadgetops", "record", "-o", str(recording), "--image", str(gadget_object)]
    recorder = subprocess.Popen([*argv, "--", "sleep", "2"], stderr=subprocess.DEVNULL)
    wait_for(recording)
    beside = {subprocess.Popen(["perl", "-e", "1"]).pid for _ in range(3)}
    recorder.wait(30 * PATIENCE)
    pids = {event[2] for event in events(recording)}
    assert len(pids) == 1
    assert not pids & beside


def test_a_process_that_ends_ends_its_recording(gadget_object: Path, tmp_path: Path) -> None:
    """Also before its parent has waited for it."""
    recording = tmp_path / "r.gadgetrec"
    target = subprocess.Popen(["sleep", "60"])
    argv = [sys.executable, "-m", "gadgetops", "record", "-o", str(recording), "--image", str(gadget_object)]
    recorder = subprocess.Popen([*argv, "--pid", str(target.pid)], stderr=subprocess.DEVNULL)
    wait_for(recording)
    target.kill()
    assert recorder.wait(30 * PATIENCE) == 0
    target.wait()
    assert json.loads((recording / "recording.json").read_text())["end"] == "complete"


def test_a_running_process_is_recorded_until_it_ends(
    gadget_object: Path, compiled: Callable[[str], Path], tmp_path: Path
) -> None:
    """Each call of each thread, with the function and the line that made it."""
    recording, n_calls = tmp_path / "r.gadgetrec", 200
    program = [str(compiled("threads_at_once")), str(n_calls)]
    record = [sys.executable, "-m", "gadgetops", "record", "-o", str(recording)]
    with subprocess.Popen(program, stdin=subprocess.PIPE) as target:
        options = ["--image", str(gadget_object), "--pid", str(target.pid)]
        recorder = subprocess.Popen([*record, *options], stderr=subprocess.DEVNULL)
        wait_for(recording)
        target.communicate(b"\n")
    assert recorder.wait(60 * PATIENCE) == 0
    made = open_recording(recording)
    assert (made.header["end"], made.counters["lost"]) == ("complete", 0)
    query = """
        select tid, operation, count(*), function, line
        from events join stacks using (stack_id)
        join frames on frames.frame_id = frame_ids[1] and position = 0
        where size_bytes = 3011 group by all
    """
    with made.connect() as connection:
        found = connection.execute(query).fetchall()
    assert len({tid for tid, *_ in found}) == 4
    assert [row[1:] for row in found] == [("malloc", n_calls, "work", 11)] * 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_recording_cleanly(
    gadget_object: Path, tmp_path: Path, number: signal.Signals
) -> None:
    recording = tmp_path / "r.gadgetrec"
    program = "import time\nwhile True: bytearray(5000); time.sleep(0.001)"
    target = subprocess.Popen([sys.executable, "-c", program])
    argv = [sys.executable, "-m", "gadgetops", "record", "-o", str(recording), "--image", str(gadget_object)]
    recorder = subprocess.Popen([*argv, "--pid", str(target.pid)], stderr=subprocess.DEVNULL)
    wait_for(recording)
    time.sleep(1)
    recorder.send_signal(number)
    assert recorder.wait(30 * PATIENCE) == 0
    target.kill()
    target.wait()
    header = json.loads((recording / "recording.json").read_text())
    assert header["end"] == "interrupted"
    assert header["counters"]["events"] == len(events(recording)) > 0
    assert {event[2] for event in events(recording)} == {target.pid}


def test_duration_ends_a_recording_and_leaves_the_command(gadget_object: Path, tmp_path: Path) -> None:
    recording, messages = tmp_path / "r.gadgetrec", tmp_path / "messages"
    argv = [sys.executable, "-m", "gadgetops", "record", "-o", str(recording), "--image", str(gadget_object)]
    # Not a pipe: the command keeps it open.
    with messages.open("w") as stream:
        subprocess.run([*argv, "--duration", "0.3", "--", "sleep", "60"], check=True, stderr=stream)
    assert "the command goes on, unrecorded, as process" in messages.read_text()
    os.kill(int(messages.read_text().split()[-1]), signal.SIGKILL)
    assert json.loads((recording / "recording.json").read_text())["end"] == "duration"


def test_what_cannot_be_recorded_says_why_and_leaves_nothing(gadget_object: Path, tmp_path: Path) -> None:
    recording = tmp_path / "r.gadgetrec"
    record = ["record", "-o", recording, "--image", gadget_object]
    expected = [
        ((*record, "--", "no-such-program"), 127, "no such program"),
        ((*record, "--pid", 2**22 + 1), 1, "no process"),
        ((*record, "--param", "nope=1", "--", "true"), 2, "no parameter 'nope'"),
        ((*record, "--param", "min-size=x", "--", "true"), 2, "parameter min_size"),
        ((*record, "--buffer-size", "1000", "--", "true"), 2, "power of two"),
        ((*record,), 2, "give one thing to record"),
        (("record", "-o", recording, "--image", __file__, "--", "true"), 1, "test_record.py"),
    ]
    for arguments, status, text in expected:
        done = gadgetops(*arguments)
        assert (done.returncode, text in done.stderr) == (status, True), done.stderr
        assert "Traceback" not in done.stderr
        assert not recording.exists()


def test_an_existing_recording_is_not_touched(gadget_object: Path, tmp_path: Path) -> None:
    recording = tmp_path / "r.gadgetrec"
    recording.mkdir()
    done = gadgetops("record", "-o", recording, "--image", gadget_object, "--", "true")
    assert done.returncode == 1
    assert "already exists" in done.stderr
    assert not [*recording.iterdir()]


def test_without_the_right_to_trace_it_says_so(gadget_object: Path, tmp_path: Path) -> None:
    gadgetops_argv = [sys.executable, "-m", "gadgetops", "record", "-o", str(tmp_path / "r"), "--image"]
    drop = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    done = subprocess.run(
        [*drop, *gadgetops_argv, str(gadget_object), "--", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "CAP_SYS_ADMIN" in done.stderr
    assert "--privileged" in done.stderr


LOCKED_DOWN = (
    "mount -t tmpfs t /sys/kernel/security;"
    " echo none integrity [confidentiality] >/sys/kernel/security/lockdown"
)


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [
        ("mount -t tmpfs t /sys/kernel/btf", "no BTF: /sys/kernel/btf/vmlinux cannot be read"),
        ("mount -t tmpfs t /sys/bus/event_source/devices", "no uprobes: "),
        (LOCKED_DOWN, "lockdown says confidentiality"),
    ],
    ids=["no BTF", "no uprobes", "locked down"],
)
def test_a_kernel_that_cannot_be_traced_is_named_with_the_way_out(
    prepare: str, problem: str, gadget_object: Path, tmp_path: Path
) -> None:
    """Nothing was begun by then."""
    argv = [sys.executable, "-m", "gadgetops", "record", "-o", str(tmp_path / "r"), "--image"]
    shell = ["unshare", "--mount", "sh", "-c", f'{prepare}; exec "$@"', "sh"]
    line = [*shell, *argv, str(gadget_object), "--", "true"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert problem in error
    assert hint.strip().startswith(("use a kernel with CONFIG_", "boot without lockdown=confidentiality"))
    assert not (tmp_path / "r").exists()


def test_missing_file_systems_are_mounted_with_a_message(gadget_object: Path, tmp_path: Path) -> None:
    """In a mount namespace without tracefs and bpffs the recorder mounts them, there alone."""
    recording = tmp_path / "r.gadgetrec"
    hide = 'umount -l /sys/kernel/tracing; umount -l /sys/fs/bpf; exec "$@"'
    argv = [sys.executable, "-m", "gadgetops", "record", "-o", str(recording), "--image", str(gadget_object)]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, "sh", *argv, "--", "true"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert "mounted tracefs on /sys/kernel/tracing" in done.stderr
    assert "mounted bpf on /sys/fs/bpf" in done.stderr


def made_and_recorded(
    gadget_object: Path, folder: Path, source: str, *arguments: str
) -> tuple[Path, dict[str, Any], list[tuple[str, int]], str]:
    """A static program of tests/workloads, recorded: path, header, calls of its sizes, what was said."""
    program, recording = folder / Path(source).stem, folder / "r.gadgetrec"
    path = Path(__file__).parents[1] / "workloads" / source
    subprocess.run(["gcc", "-static", "-O1", "-fno-builtin", path, "-o", program], check=True)
    done = gadgetops("record", "-o", recording, "--image", gadget_object, "--", program, *arguments)
    assert done.returncode == 0, done.stderr
    header = json.loads((recording / "recording.json").read_text())
    calls = [event[:2] for event in events(recording) if event[1] in (*range(100, 140), *range(1100, 1140))]
    return program, header, calls, done.stderr


def test_a_static_program_is_probed_itself_and_a_call_that_never_returns_costs_no_other(
    gadget_object: Path, tmp_path: Path
) -> None:
    program, header, calls, _ = made_and_recorded(gadget_object, tmp_path, "jumper.c")
    assert header["target"]["attached"]["trace_uprobe_malloc"]["path"] == str(program)
    assert calls == [("malloc", size) for size in range(100, 140)]
    assert (header["counters"]["lost"], header["counters"]["given_up"]) == (0, 0)


def test_calls_that_are_lost_inside_one_that_never_returns_are_said(
    gadget_object: Path, tmp_path: Path
) -> None:
    """After 16 returns inside a call on a stack that was left, its owner is gone: 17 calls count as lost."""
    _, header, calls, said = made_and_recorded(gadget_object, tmp_path, "leaps.c", "abandoned")
    assert calls == [("malloc", size) for size in range(1117, 1140)]
    assert (header["counters"]["lost"], header["counters"]["given_up"]) == (17, 17)
    assert "17 events lost inside calls that never returned" in said
    assert "--buffer-size" not in said
