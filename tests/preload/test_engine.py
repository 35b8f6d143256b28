"""`record --engine preload` as people use it: without root, in children, killed, and where it cannot see."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from services.patience import PATIENCE

TIMEOUT_S = 60 * PATIENCE
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
LEAK = "import ctypes; m = ctypes.CDLL(None).malloc; m.restype = ctypes.c_void_p; [m(7001) for _ in range(9)]"


class Recorded:
    """A recording, and how its command went."""

    def __init__(self, folder: Path, done: "subprocess.CompletedProcess[str]") -> None:
        self.done = done
        self.header: dict[str, Any] = json.loads((folder / "recording.json").read_text())
        self.folder = folder

    def sizes(self, operation: str = "malloc") -> list[int]:
        """Of the calls of one kind, in order."""
        if not list(self.folder.glob("events-*.parquet")):
            return []
        query = f"SELECT size_bytes FROM '{self.folder}/events-*.parquet' WHERE operation = ? ORDER BY seq"
        return [size for (size,) in duckdb.sql(query, params=[operation]).fetchall()]


def record(
    folder: Path, *command: object, engine: str = "preload", around: tuple[str, ...] = (), **environment: str
) -> Recorded:
    """Record *command* to its end."""
    output = folder / "r.gadgetrec"
    recorder = [*around, sys.executable, "-m", "gadgetops", "record", "--no-pairs", "--engine", engine]
    done = subprocess.run(
        [*map(str, [*recorder, "-o", output, "--", *command])],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=os.environ | environment,
        check=False,
    )
    assert (output / "recording.json").exists(), done.stderr
    return Recorded(output, done)


def compiled(folder: Path, text: str, *options: str) -> Path:
    """A program of this C text."""
    source, program = folder / "program.c", folder / "program"
    source.write_text(text)
    subprocess.run(["gcc", "-O1", "-fno-builtin", str(source), "-o", str(program), *options], check=True)
    return program


def test_no_right_is_needed(tmp_path: Path) -> None:
    """Without any capability a command and what it starts are recorded, and it says which engine and why."""
    recorded = record(
        tmp_path, "sh", "-c", f'python3 -S -c "{LEAK}"', engine="auto", around=(*WITHOUT_RIGHTS,)
    )
    assert recorded.sizes().count(7001) == 9
    assert recorded.header["engine"] == "preload"
    assert recorded.done.stderr.startswith("engine preload: eBPF is not allowed here: ")


def test_what_it_executes_is_recorded_in_whatever_environment(tmp_path: Path) -> None:
    """An empty one, and one with another library to preload, which is preloaded, too."""
    library = compiled(tmp_path, "int one_more = 1;", "-shared", "-fPIC")
    nested = f'import os; os.execve("/usr/bin/python3", ["python3", "-S", "-c", {LEAK!r}], {{}})'
    again = "import subprocess, sys; print(open('/proc/self/maps').read().count('/program'))"
    program = f"import os\nif os.fork() == 0: {nested}\nos.wait()\n{again}"
    recorded = record(tmp_path, "/usr/bin/python3", "-S", "-c", program, LD_PRELOAD=str(library))
    assert recorded.sizes().count(7001) == 9
    assert int(recorded.done.stdout) > 0


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("int main(void) { return 0; }", ["-static"], "is static"),
        (
            "void *malloc(unsigned long n) { return 0; } void free(void *p) {} int main(void) { return 0; }",
            ["-rdynamic"],
            "brings its own malloc()",
        ),
        ("int main(void) { return 0; }", ["-fsanitize=address"], "runs under a sanitizer"),
    ],
)
def test_what_cannot_be_seen_is_named(tmp_path: Path, text: str, options: list[str], reason: str) -> None:
    """As the command itself, and as what a shell starts."""
    program = compiled(tmp_path, text, *options)
    recorded = record(tmp_path, program)
    assert recorded.done.returncode == 0, recorded.done.stderr
    assert reason in recorded.header["target"]["unseen"]
    (tmp_path / "below").mkdir()
    below = record(tmp_path / "below", "sh", "-c", f"{program}; true")
    target = below.header["target"]
    assert target.get("unseen") or str(program) in target["not_covered"][0]["why"]


def test_a_killed_recorder_leaves_the_command_and_a_recording(tmp_path: Path) -> None:
    """The command goes on as if nothing had been; what was closed can be read."""
    output = tmp_path / "r.gadgetrec"
    loop = "import ctypes, time\nc = ctypes.CDLL(None)\nend = time.time() + 6\n"
    loop += f"while time.time() < end: c.free(c.malloc(77))\nopen({str(tmp_path / 'done')!r}, 'w')"
    command = [
        sys.executable,
        "-m",
        "gadgetops",
        "record",
        "--no-pairs",
        "--engine",
        "preload",
        "-o",
        str(output),
    ]
    recorder = subprocess.Popen(
        [*command, "--", "/usr/bin/python3", "-S", "-c", loop], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + TIMEOUT_S
    while not list(output.glob("events-*.parquet")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    recorder.send_signal(signal.SIGKILL)
    recorder.wait()
    while not (tmp_path / "done").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    info = subprocess.run(
        [sys.executable, "-m", "gadgetops", "info", str(output)], capture_output=True, text=True, check=True
    )
    assert "the recorder did not end it" in info.stdout
    assert Recorded(output, info).sizes().count(77) > 0


def test_processes_that_are_forked_all_the_time(tmp_path: Path) -> None:
    """Two hundred children, half of which are killed: all is read to its end, and each is one process."""
    storm = (
        "import os, signal, ctypes\nm = ctypes.CDLL(None).malloc\n"
        "for n in range(200):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        m(5005)\n"
        "        os.kill(os.getpid(), signal.SIGKILL) if n % 2 else os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
    )
    recorded = record(tmp_path, "/usr/bin/python3", "-S", "-c", storm)
    assert recorded.header["end"] == "complete"
    assert recorded.sizes().count(5005) == 200
    pids = duckdb.sql(
        f"SELECT count(DISTINCT pid) FROM '{recorded.folder}/events-*.parquet' WHERE size_bytes = 5005"
    ).fetchall()
    assert pids == [(200,)]


def test_a_program_that_closes_all_descriptors(tmp_path: Path) -> None:
    """The library has none to lose."""
    recorded = record(tmp_path, "/usr/bin/python3", "-S", "-c", f"import os; os.closerange(0, 1000); {LEAK}")
    assert recorded.sizes().count(7001) == 9


def test_a_running_process_is_not_for_this_engine(tmp_path: Path) -> None:
    """And that is said."""
    command = [sys.executable, "-m", "gadgetops", "record", "--engine", "preload", "--pid", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "the engine preload records a command that it starts" in done.stderr


def test_moved_mappings_are_released_once(tmp_path: Path) -> None:
    """By threads that take each other's addresses; what fails is a failure, and what is left is left."""
    program = tmp_path / "remappings"
    source = Path(__file__).parents[1] / "workloads" / "remappings.c"
    subprocess.run(["gcc", "-O1", "-pthread", str(source), "-o", str(program)], check=True)
    recorded = record(tmp_path, program)
    asked = [sys.executable, "-m", "gadgetops", "faults", recorded.folder, "--format", "json"]
    faults = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)
    found = [(each["kind"], each["operation"], each["count"]) for each in faults["faults"]]
    assert found == [("failed", "mmap", 1)]
    assert recorded.sizes("mmap").count(7 * 4096) >= 1
