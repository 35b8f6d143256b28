"""Programs whose allocators throw, or are looked into while they allocate: they run as without a recorder."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.clang]

WORKLOADS = Path(__file__).parents[1] / "workloads"
ROUNDS = 50
ONE_ROUND = [(name, size) for size in (3011, 3019, 3023, 3037, 3136) for name in ("allocated", "released")]
PRELOADED = {
    "jemalloc": "libjemalloc.so.2",
    "tcmalloc": "libtcmalloc_minimal.so.4",
    "tcmalloc with a heap profiler": "libtcmalloc.so.4",
    "mimalloc": "libmimalloc.so.2",
    "TBB": "libtbbmalloc_proxy.so.2",
}
STATIC = {"glibc": [], "static glibc": ["-static"]}
MUSL = {"musl": [], "static musl": ["-static"]}
MODES = ("plain", "handler", "walker")


def gcc_file(name: str) -> str:
    """The path of a file that comes with the compiler, or of a library."""
    found = subprocess.check_output(["g++", f"-print-file-name={name}"], text=True).strip()
    assert Path(found).is_absolute(), f"{name} is not installed"
    return found


@pytest.fixture(scope="session")
def throwing(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The program, linked with a C library, compiled once."""
    folder = tmp_path_factory.mktemp("throwing")
    flags = ["-O1", "-g", "-fno-builtin", "-fno-stack-protector"]
    source = WORKLOADS / "throwing.cpp"

    def compile_(library: str) -> Path:
        program = folder / library
        if program.exists():
            return program
        if library in STATIC:
            subprocess.run(["g++", *flags, source, "-o", program, *STATIC[library]], check=True)
            return program
        parts = [folder / "musl.o", gcc_file("libsupc++.a"), gcc_file("libgcc_eh.a")]
        subprocess.run(["g++", *flags, "-DMUSL", "-c", source, "-o", parts[0]], check=True)
        line = ["musl-gcc", "-Wl,--eh-frame-hdr", *MUSL[library], *parts, "-o", program]
        subprocess.run(line, check=True)
        return program

    return compile_


def outcome(command: list[object], **variables: str) -> tuple[int, str]:
    """Exit status and output."""
    line = [*map(str, command)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=os.environ | variables)
    return done.returncode, done.stdout


def in_every_mode(program: Path) -> list[object]:
    """A shell that runs *program* once in each mode and says how it ended."""
    runs = "; ".join(f"{shlex.quote(str(program))} {ROUNDS} {mode}; echo status $?" for mode in MODES)
    return ["sh", "-c", runs]


def recorded(gadget: Path, folder: Path, command: list[object], **variables: str) -> tuple[int, str]:
    """The same under `record`."""
    options = ["--quiet", "-o", folder, "--image", gadget, "--symbols", "late"]
    return outcome([sys.executable, "-m", "gadgetops", "record", *options, "--", *command], **variables)


def known_calls(folder: Path) -> list[tuple[str, int]]:
    """The calls with the workload's sizes, in their order."""
    rows = duckdb.sql(
        f"SELECT operation, address, size_bytes FROM read_parquet('{folder}/events-*.parquet') ORDER BY seq"
    ).fetchall()
    sizes = {size for _, size in ONE_ROUND}
    live: dict[int, int] = {}
    calls = []
    for operation, address, size in rows:
        if operation == "free" and address in live:
            calls.append(("released", live.pop(address)))
        elif size in sizes:
            calls.append(("allocated", size))
            live[address] = size
    return calls


@pytest.mark.parametrize("library", [*STATIC, *MUSL])
def test_exceptions_pass_a_c_librarys_allocator(
    gadget_object: Path, throwing: Callable[[str], Path], tmp_path: Path, library: str
) -> None:
    command = [throwing(library), ROUNDS, "walker"]
    bare = outcome(command)
    assert bare[0] == 7
    assert recorded(gadget_object, tmp_path / "r", command) == bare
    assert known_calls(tmp_path / "r") == ONE_ROUND * ROUNDS


@pytest.mark.parametrize("name", PRELOADED)
def test_exceptions_pass_a_preloaded_allocator(
    gadget_object: Path, throwing: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    """mimalloc's operator new does not throw, but ends the program: as it does without a recorder."""
    command, preloaded = in_every_mode(throwing("glibc")), gcc_file(PRELOADED[name])
    bare = outcome(command, LD_PRELOAD=preloaded)
    ending, n_rounds = ("status 134", 1) if name == "mimalloc" else ("status 7", ROUNDS)
    assert bare[1].count(ending) == len(MODES)
    assert recorded(gadget_object, tmp_path / "r", command, LD_PRELOAD=preloaded) == bare
    assert known_calls(tmp_path / "r") == ONE_ROUND * n_rounds * len(MODES)


@pytest.mark.parametrize("unwind", ["fp", "dwarf"])
def test_the_caller_is_known_where_a_return_is_seen_at_its_instruction(
    gadget_object: Path, tmp_path: Path, unwind: str
) -> None:
    """The allocator's own function, which has no frame any more, is left out as at return addresses."""
    program = tmp_path / "operators"
    flags = ["-O1", "-g", "-fno-builtin", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]
    subprocess.run(["g++", *flags, WORKLOADS / "operators.cpp", "-o", program], check=True)
    options = ["--quiet", "-o", tmp_path / "r", "--image", gadget_object, "--unwind", unwind]
    line = [sys.executable, "-m", "gadgetops", "record", *options, "--", program, 20]
    environment = os.environ | {"LD_PRELOAD": gcc_file(PRELOADED["tcmalloc"])}
    subprocess.run([*map(str, line)], check=True, env=environment)
    question = ["top", "--min-size", "3011", "--max-size", "3011", "--format", "json", tmp_path / "r"]
    answer = subprocess.check_output([sys.executable, "-m", "gadgetops", *map(str, question)])
    # The allocator's fast and slow way return at instructions of their own: they are one stack all the same.
    [group] = json.loads(answer)["groups"]
    assert group["group"]["stack"][0]["function"] == "main"
