"""Real programs, each run bare and under `record`: the only difference is a recording."""

import json
import re
import shlex
import shutil
import string
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest
from services.births import births

FOLDER = Path(__file__).parent
TIMEOUT_S = 240
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Program:
    """A line of the table: see programs.toml."""

    name: str
    run: str = ""
    script: str = ""
    build: str = ""
    is_in_ci: bool = False
    allocates: bool = True
    preload: bool = True
    count_children: bool = True
    is_certainly_right: bool = True
    patterns: tuple[str, ...] = ()

    @classmethod
    def from_table(cls, name: str, line: dict[str, object]) -> "Program":
        """A program as the table has it."""
        known = {key.replace("-", "_"): value for key, value in line.items()}
        return cls(name, is_in_ci=bool(known.pop("in_ci", False)), **known)  # type: ignore[arg-type]

    def command(self, variables: dict[str, str]) -> list[str]:
        """The words of its command."""
        if self.script:
            return ["bash", "-c", self.script]
        return [string.Template(word).safe_substitute(variables) for word in shlex.split(self.run)]

    def without_patterns(self, text: str) -> str:
        """*text* without what differs from run to run."""
        for pattern in self.patterns:
            text = re.sub(pattern, "*", text)
        return text


PROGRAMS = [
    Program.from_table(name, line)
    for name, line in tomllib.loads((FOLDER / "programs.toml").read_text()).items()
]


class Outcome(NamedTuple):
    """What can be seen of a program that has ended."""

    output: str
    errors: str
    status: int


@dataclass
class Runner:
    """
    Runs a program in an empty folder, always the same one: programs may print its path.

    Attributes:
        folder: Which.
        environment: Of the program.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *command: object) -> tuple[int, Outcome]:
        """The process's number, and how it ended."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.folder.chmod(0o755)
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            [*map(str, command)],
            cwd=self.folder,
            env=self.environment,
            text=True,
            errors="replace",
            **streams,
        )
        try:
            output, errors = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            error.add_note(str(process.communicate()))
            raise
        status = process.returncode if process.returncode >= 0 else 128 - process.returncode
        return process.pid, Outcome(output, errors, status)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    folder = Path(subprocess.check_output(["mktemp", "-d", "/tmp/programs-XXXXXX"], text=True).strip())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def environment_of(folder: Path) -> dict[str, str]:
    """A small environment: that of a service rather than of a person."""
    go = shutil.which("go")
    path = SYSTEM_PATH if go is None else f"{SYSTEM_PATH}:{Path(go).parent}"
    built = folder / "built"
    built.mkdir()
    return {
        "PATH": path,
        "HOME": str(folder / "home"),
        "LC_ALL": "C.UTF-8",
        "BUILT": str(built),
        "SOURCES": str(FOLDER / "sources"),
        "GOFLAGS": "-trimpath",
        "GOTOOLCHAIN": "local",
        "PSQLRC": "/dev/null",
    }


class Comparison(NamedTuple):
    """A program that ran bare and recorded, and did the same."""

    bare_pid: int
    header: dict[str, Any]
    recording: Path
    n_allocations: int


def record_beside_bare(program: Program, folder: Path, way: list[object]) -> Comparison:
    """Run *program* bare and recorded in one *way*, and fail unless it does the same."""
    environment = environment_of(folder)
    if program.build:
        subprocess.run(["sh", "-c", program.build], check=True, env=environment, timeout=TIMEOUT_S)
    run = Runner(folder / "cwd", environment)
    recording = folder / "r.gadgetrec"
    command = program.command(environment)
    options = ["record", "--quiet", "--no-pairs", "-o", recording, *way]
    pid, bare = run(*command)
    _, recorded = run(sys.executable, "-m", "gadgetops", *options, "--", *command)
    assert recording.exists(), recorded.errors
    header = json.loads((recording / "recording.json").read_text())
    assert header["end"] == "complete"
    assert recorded.status == bare.status, recorded.errors
    assert program.without_patterns(recorded.output) == program.without_patterns(bare.output)
    own, errors = split_errors(recorded.errors)
    assert program.without_patterns(errors) == program.without_patterns(bare.errors), own
    return Comparison(pid, header, recording, n_allocations(recording))


@pytest.mark.clang
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(
            each, id=each.name, marks=[pytest.mark.kernel if each.is_in_ci else pytest.mark.programs]
        )
        for each in PROGRAMS
    ],
)
def test_a_program_runs_as_if_it_were_not_recorded(
    gadget_object: Path, public_folder: Path, program: Program
) -> None:
    with births() as seen:
        ran = record_beside_bare(program, public_folder, ["--image", gadget_object])
        seen.read()
    if program.count_children:
        assert seen.n_descendants(ran.header["target"]["pid"]) == seen.n_descendants(ran.bare_pid)
    assert (ran.n_allocations > 0) == program.allocates
    assert not program.is_certainly_right or mistakes(ran.recording) == {}


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(each, id=each.name, marks=[] if each.is_in_ci else [pytest.mark.programs])
        for each in PROGRAMS
    ],
)
def test_a_program_runs_as_if_nothing_were_preloaded(public_folder: Path, program: Program) -> None:
    """And what cannot be recorded, because nothing can be preloaded into it, is named."""
    ran = record_beside_bare(program, public_folder, ["--engine", "preload"])
    assert (ran.n_allocations > 0) == program.preload
    assert not program.is_certainly_right or mistakes(ran.recording) == {}
    target = ran.header["target"]
    assert program.preload or target.get("unseen") or target.get("n_not_covered")


def split_errors(errors: str) -> tuple[list[str], str]:
    """The recorder's warnings, and what the program wrote."""
    lines = errors.splitlines(keepends=True)
    own = [line for line in lines if line.startswith("gadgetops: warning: ")]
    return own, "".join(line for line in lines if line not in own)


def n_allocations(recording: Path) -> int:
    """How many calls of an allocator were recorded."""
    if not [*recording.glob("events-*.parquet")]:
        return 0
    [(count,)] = duckdb.sql(
        f"SELECT count(*) FROM read_parquet('{recording}/events-*.parquet') WHERE operation <> 'munmap'"
    ).fetchall()
    return int(count)


def mistakes(recording: Path) -> dict[str, int]:
    """How many calls of each kind are said to be the program's mistakes: these programs make none."""
    if not n_allocations(recording):
        return {}
    line = [sys.executable, "-m", "gadgetops", "faults", "--format", "json", str(recording)]
    counts = json.loads(subprocess.check_output(line))["counts"]
    target = json.loads((recording / "recording.json").read_text())["target"]
    # An allocation may rightly fail. What a process allocated before it was reached is no mistake.
    silent = {"failed", *(["unknown"] if target.get("n_attached_late") else [])}
    return {kind: count for kind, count in counts.items() if count and kind not in silent}
