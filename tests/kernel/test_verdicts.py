"""Verdicts on real servers of known truth: in C, C++, Python and Rust, on a quiet and a starved machine."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from services.patience import PATIENCE

pytestmark = pytest.mark.kernel

GADGETOPS = [sys.executable, "-m", "gadgetops"]
WORKLOADS = Path(__file__).parents[1] / "workloads"
TIMEOUT_S = 120 * PATIENCE
N_RUNS = int(os.environ.get("GADGETOPS_TEST_RUNS", "20"))
N_AT_ONCE = int(os.environ.get("GADGETOPS_TEST_RUNS_AT_ONCE", "1"))
N_REQUESTS = 1000
NO_LEAK = {"plateau", "recent", "unclear", "startup", None}
TRUTH = {
    "leak": {"growing"},
    "rare": {"growing"},
    "doubling": {"growing"},
    "lumps": {"growing"},
    "late": {"growing"},
    "beat": {"growing"},
    "ends": {"growing"},
    "paused": {"growing"},
    "arena": {"growing"},
    "lru": {"plateau"},
    "bounded": {"plateau"},
    "startup": {"startup"},
    "periodic": NO_LEAK,
    "filled": {"plateau"},
    "error": {"growing"},
    "flushed": {"growing"},
    "refill": {"growing"},
    "backlog": {"growing"},
    "pool": NO_LEAK,
    "buffers": {"plateau", "startup"},
    "random": NO_LEAK,
}
"""Shape of tests/workloads/servers.c -> right verdicts on what it keeps."""
OTHERS = {
    ("cpp", "vector"): {"growing"},
    ("cpp", "map"): {"growing"},
    ("cpp", "lru"): {"plateau"},
    ("cpp", "hash"): {"growing"},
    ("cpp", "cycle"): {"growing"},
    ("cpp", "deque"): NO_LEAK,
    ("cpp", "pool"): NO_LEAK,
    ("py", "leak"): {"growing"},
    ("py", "lru"): {"plateau"},
    ("py", "startup"): {"startup", "plateau"},
    ("py", "cycle"): {"growing"},
    ("py", "collected"): NO_LEAK,
    ("py", "list"): {"growing"},
    ("rs", "leak"): {"growing"},
    ("rs", "vec"): {"growing"},
    ("rs", "map"): {"growing"},
    ("rs", "cycle"): {"growing"},
    ("rs", "lru"): {"plateau"},
}
"""The same of servers.cpp, servers.py and servers.rs."""
COMPILERS = {
    "cpp": ("g++", "-g", "-O1", "-fno-omit-frame-pointer"),
    "rs": ("/usr/bin/rustc", "-g", "-Copt-level=1", "-Cforce-frame-pointers=yes"),
}
A_FEW = ("leak", "lru", "doubling", "ends", "beat")
Case = tuple[str, str]


@pytest.fixture(scope="module")
def command(
    compiled: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., list[str]]:
    """Give the command line of a server."""
    folder = tmp_path_factory.mktemp("servers")

    def command_(language: str, shape: str) -> list[str]:
        arguments = [shape, str(N_REQUESTS)]
        if language == "py":
            return [sys.executable, str(WORKLOADS / "servers.py"), *arguments]
        if language == "c":
            return [str(compiled("servers")), *arguments]
        program = folder / f"servers-{language}"
        if not program.exists():
            compiler, *options = COMPILERS[language]
            if shutil.which(compiler) is None:
                pytest.skip(f"{compiler} is not installed")
            source = WORKLOADS / f"servers.{language}"
            subprocess.run([compiler, *options, str(source), "-o", str(program)], check=True)
        return [str(program), *arguments]

    return command_


@contextmanager
def busy_machine() -> Iterator[None]:
    """Keep every core busy, three times over."""
    burners = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3 * (os.cpu_count() or 1))
    ]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def verdicts(recording: Path) -> dict[str, Any]:
    """
    Return what the server kept, of the stack with most bytes of it; empty if nothing was left.

    What a program releases at its normal exit, as C++ and Python do with what is global, counts as left.
    """
    argv = [*GADGETOPS, "leaks", str(recording), "--format", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    answer = json.loads(done.stdout)
    leaks = [
        leak
        for leak in (*answer["leaks"], *answer["before_exit"])
        if any(is_kept(frame["function"] or "") for frame in leak["stack"])
    ]
    return max(leaks, key=lambda leak: leak["bytes"], default={})


def is_kept(function: str) -> bool:
    """Whether a function keeps what it allocates: ours, or those in which Python makes what ours keeps."""
    return function in ("keep", "grow", "servers::keep") or function.startswith(
        ("keep(", "PyByteArray_Resize", "bytearray___init__", "list_resize")
    )


def recorded(folder: Path, gadget: Path, command: list[str]) -> dict[str, Any]:
    """Return the leak that a server has."""
    recording = folder / "r.gadgetrec"
    shutil.rmtree(recording, ignore_errors=True)
    argv = [*GADGETOPS, "record", "-q", "--no-pairs", "-o", str(recording), "--image", str(gadget), "--"]
    environment = {**os.environ, "PYTHONMALLOC": "malloc"}
    subprocess.run([*argv, *command], check=True, capture_output=True, timeout=TIMEOUT_S, env=environment)
    return verdicts(recording)


def kind_of(leak: dict[str, Any]) -> str | None:
    """Return the verdict's kind; None where nothing is left."""
    return str(leak["trend"]["kind"]) if leak else None


def test_a_few_servers(gadget_object: Path, command: Callable[..., list[str]], tmp_path: Path) -> None:
    """All at once, so that each has little of the machine; the one whose traffic ended says that."""
    folders = {shape: tmp_path / shape for shape in A_FEW}
    for folder in folders.values():
        folder.mkdir()
    with ThreadPoolExecutor() as pool:
        found = {
            shape: pool.submit(recorded, folder, gadget_object, command("c", shape))
            for shape, folder in folders.items()
        }
    leaks = {shape: each.result() for shape, each in found.items()}
    wrong = {shape: leaks[shape] for shape in A_FEW if kind_of(leaks[shape]) not in TRUTH[shape]}
    assert not wrong
    assert "nothing for the last" in leaks["ends"]["trend"]["reason"]


@pytest.mark.long
@pytest.mark.parametrize("machine", ["quiet", "starved"])
@pytest.mark.parametrize("case", [*(("c", shape) for shape in TRUTH), *OTHERS], ids="-".join)
def test_twenty_runs(
    case: Case, machine: str, gadget_object: Path, command: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Each is right, whatever else the machine does."""
    right = TRUTH[case[1]] if case[0] == "c" else OTHERS[case]
    argv = command(*case)

    def run(number: int) -> str | None:
        folder = tmp_path / str(number)
        folder.mkdir()
        return kind_of(recorded(folder, gadget_object, argv))

    with busy_machine() if machine == "starved" else nullcontext(), ThreadPoolExecutor(N_AT_ONCE) as pool:
        found = Counter(pool.map(run, range(N_RUNS)))
    assert {*found} <= right, found
