"""What `doctor` says, beside what `record` then does in the same surroundings."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.kernel

GADGETOPS = [sys.executable, "-m", "gadgetops"]
COVERED = 'mount --bind /dev/null "$(realpath {})"; exec "$@"'

READ_ONLY = 'mount -t tmpfs -o ro tmpfs .; cd "$PWD"'


def covered(path: str) -> list[str]:
    """Return what runs a command where *path* is an empty file."""
    return ["unshare", "--mount", "sh", "-ec", COVERED.format(path), "sh"]


def library(name: str) -> str:
    """Return the path of a shared library."""
    lines = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout.splitlines()
    return next(line.split("=> ")[1] for line in lines if line.strip().startswith(f"{name} "))


class Surroundings(NamedTuple):
    """Where `record` does not work, and the name of the finding that says so."""

    within: Callable[[], Sequence[str]]
    culprit: str


UNABLE = {
    "no right": Surroundings(
        lambda: ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"], "rights"
    ),
    "own pid namespace": Surroundings(
        lambda: ["unshare", "--pid", "--fork", "--mount-proc", "--"], "process numbers"
    ),
    "no BTF": Surroundings(lambda: covered("/sys/kernel/btf/vmlinux"), "BTF"),
    "no uprobes": Surroundings(lambda: covered("/sys/bus/event_source/devices/uprobe/type"), "uprobes"),
    "no libbpf": Surroundings(lambda: covered(library("libbpf.so.1")), "libbpf"),
    "few descriptors": Surroundings(
        lambda: [
            *("setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource", "--"),
            *("sh", "-c", 'ulimit -n 64; exec "$@"', "sh"),
        ],
        "limits",
    ),
    "read-only folder": Surroundings(
        lambda: [
            "unshare",
            "--mount",
            "sh",
            "-ec",
            'mount -t tmpfs -o ro tmpfs .; cd "$PWD"; exec "$@"',
            "sh",
        ],
        "disk",
    ),
}


def run(*arguments: object, folder: Path) -> "subprocess.CompletedProcess[str]":
    argv = [*map(str, arguments)]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


def diagnosis(*within: str, folder: Path, options: Sequence[object] = ()) -> tuple[int, dict[str, Any]]:
    done = run(*within, *GADGETOPS, "doctor", "--format", "json", *options, folder=folder)
    answer = json.loads(done.stdout)
    assert done.returncode == (0 if answer["can_record"] else 1), done.stderr
    found = {each["name"]: each for each in answer["findings"]}
    return answer["can_record"], {**found, "commands": answer["can_record_commands"]}


def test_where_it_says_so_record_works_in_the_way_that_it_says(gadget_object: Path, tmp_path: Path) -> None:
    can_record, found = diagnosis(folder=tmp_path)
    record = ["record", "--image", gadget_object, "-o", "r.gadgetrec", "--", "true"]
    done = run(*GADGETOPS, *record, folder=tmp_path)
    assert (can_record, done.returncode) == (True, 0), done.stderr
    way = json.loads((tmp_path / "r.gadgetrec/recording.json").read_text())["attach"]
    assert found["probes"]["detail"] == f"by {way['name']} ({way['how']})"
    assert (found["attach cookies"]["state"] == "works") == way["has_cookies"]


@pytest.mark.parametrize("name", UNABLE)
def test_where_it_says_no_record_fails_for_that_reason(
    name: str, gadget_object: Path, tmp_path: Path
) -> None:
    """And what it calls the one thing to do is the hint of the error."""
    within = [*UNABLE[name].within()]
    can_record, found = diagnosis(*within, folder=tmp_path)
    record = ["record", "--image", gadget_object, "-o", "r.gadgetrec", "--", "true"]
    done = run(*within, *GADGETOPS, *record, folder=tmp_path)
    assert not (tmp_path / "r.gadgetrec").exists()
    culprit = found[UNABLE[name].culprit]
    assert (can_record, culprit["state"], done.returncode) == (False, "missing", 1), done.stderr
    command = ["record", "-q", "-o", "c.gadgetrec", "--", "true"]
    recorded = run(*within, *GADGETOPS, *command, folder=tmp_path).returncode == 0
    assert recorded == found["commands"], "whether commands can be recorded all the same"
    if culprit["name"] != "disk":
        assert f"gadgetops: error: {culprit['detail']}\n{culprit['remedy']}\n" == done.stderr


def test_without_libdw_stacks_are_limited(gadget_object: Path, tmp_path: Path) -> None:
    """`record` works all the same for programs with frame pointers, and says how to have the rest."""
    within = covered(library("libdw.so.1"))
    can_record, found = diagnosis(*within, folder=tmp_path)
    assert (can_record, found["libdw"]["state"]) == (True, "limited")
    assert "--unwind fp" in found["libdw"]["remedy"]
    record = ["record", "--image", gadget_object, "--unwind", "fp", "-o", "r.gadgetrec", "--", "true"]
    assert run(*within, *GADGETOPS, *record, folder=tmp_path).returncode == 0


def test_a_process_is_described(tmp_path: Path) -> None:
    """Its allocator, its interpreter, and how often it calls: some thousand times a second here."""
    program = "import time\nwhile True: bytearray(4000); time.sleep(0.0005)"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        _, found = diagnosis(folder=tmp_path, options=["--pid", process.pid])
        process.kill()
    assert found["process"]["detail"].startswith(f"{process.pid} (python")
    assert found["language"]["detail"].startswith("Python, ")
    assert "C library's in " in found["allocator"]["detail"]
    assert not found["cost"]["detail"].startswith("0 calls")
    assert "calls a second: tracing would slow it by " in found["cost"]["detail"]


def test_a_process_that_cannot_be_recorded_is_said_to_be_so(tmp_path: Path) -> None:
    """With the words of `record`."""
    can_record, found = diagnosis(folder=tmp_path, options=["--pid", 2**22 + 1])
    done = run(*GADGETOPS, "record", "--pid", 2**22 + 1, folder=tmp_path)
    assert (can_record, done.returncode) == (False, 1)
    assert done.stderr == f"gadgetops: error: {found['process']['detail']}\n{found['process']['remedy']}\n"


def test_a_go_program_is_told_apart(tmp_path: Path) -> None:
    """It has no malloc, which is its nature and no fault of the search."""
    (tmp_path / "sleep.go").write_text(
        'package main\n\nimport "time"\n\nfunc main() { time.Sleep(time.Minute) }\n'
    )
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOCACHE": str(tmp_path / "cache")}
    build = ["go", "build", "-ldflags", "-s -w", "-o", "sleep", "sleep.go"]
    subprocess.run(build, cwd=tmp_path, env=environment, check=True)
    with subprocess.Popen([tmp_path / "sleep"]) as process:
        can_record, found = diagnosis(folder=tmp_path, options=["--pid", process.pid])
        done = run(*GADGETOPS, "record", "--pid", process.pid, folder=tmp_path)
        process.kill()
    assert (can_record, found["language"]["state"], done.returncode) == (False, "limited", 1)
    assert "a Go program has no malloc" in done.stderr
    assert done.stderr.startswith(f"gadgetops: error: {found['allocator']['detail']}\n")
