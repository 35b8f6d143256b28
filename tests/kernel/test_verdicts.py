"""Verdicts on real servers whose truth is known: in C, C++ and Python, on a quiet and a starved machine."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from services.patience import PATIENCE

pytestmark = pytest.mark.kernel

GADGETOPS = [sys.executable, "-m", "gadgetops"]
WORKLOADS = Path(__file__).parents[1] / "workloads"
TIMEOUT_S = 120 * PATIENCE
N_RUNS = 20
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
}
"""Shape of tests/workloads/servers.c -> right verdicts on what it keeps."""
OTHERS = {
    ("cpp", "vector"): {"growing"},
    ("cpp", "map"): {"growing"},
    ("cpp", "lru"): {"plateau"},
    ("py", "leak"): {"growing"},
    ("py", "lru"): {"plateau"},
    ("py", "startup"): {"startup", "plateau"},
}
"""The same of servers.cpp and servers.py."""
A_FEW = ("leak", "lru", "doubling", "ends", "beat")
Case = tuple[str, str]


@pytest.fixture(scope="module")
def command(
    compiled: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., list[str]]:
    """Give the command line of a server."""
    in_cpp = tmp_path_factory.mktemp("servers") / "servers-cpp"

    def command_(language: str, shape: str) -> list[str]:
        if language == "py":
            return [sys.executable, str(WORKLOADS / "servers.py"), shape, str(N_REQUESTS)]
        if language == "c":
            return [str(compiled("servers")), shape, str(N_REQUESTS)]
        if not in_cpp.exists():
            if shutil.which("g++") is None:
                pytest.skip("g++ is not installed")
            options = ["-g", "-O1", "-fno-omit-frame-pointer"]
            subprocess.run(["g++", *options, str(WORKLOADS / "servers.cpp"), "-o", str(in_cpp)], check=True)
        return [str(in_cpp), shape, str(N_REQUESTS)]

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
    """Return what the server keeps, of the stack with most bytes of it; empty if nothing is left."""
    argv = [*GADGETOPS, "leaks", str(recording), "--format", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    leaks = [
        leak
        for leak in json.loads(done.stdout)["leaks"]
        if any(is_kept(frame["function"] or "") for frame in leak["stack"])
    ]
    return max(leaks, key=lambda leak: leak["bytes"], default={})


def is_kept(function: str) -> bool:
    """Whether a function keeps what it allocates: ours, or the one in which Python makes a bytearray."""
    return function in ("keep", "grow") or function.startswith(
        ("keep(", "PyByteArray_Resize", "bytearray___init__")
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
    found: Counter[str | None] = Counter()
    for _ in range(N_RUNS):
        if machine == "quiet":
            found[kind_of(recorded(tmp_path, gadget_object, command(*case)))] += 1
        else:
            with busy_machine():
                found[kind_of(recorded(tmp_path, gadget_object, command(*case)))] += 1
    assert {*found} <= right, found
