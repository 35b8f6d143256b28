"""Programs that know their calls, and recordings of them by whatever engine."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import duckdb
from services.patience import PATIENCE

ROOT = Path(__file__).parents[2]
WORKLOADS = ROOT / "tests/workloads"
# No call is optimised away or inlined: the source says what is called.
CFLAGS = ["-Wall", "-Werror", "-g", "-O1", "-fno-builtin", "-pthread"]
CFLAGS += ["-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]
LARGEST_SIZE = 2**63 - 1
START_TIMEOUT_S = 20 * PATIENCE
RUN_TIMEOUT_S = 120 * PATIENCE


Process = subprocess.Popen[str]
T = TypeVar("T")


class Call(NamedTuple):
    """One operation: as the program made it, or as the recording has it."""

    operation: str
    address: int
    size: int


class Known(NamedTuple):
    """A call with what the program knows about it besides."""

    call: Call
    began_ns: int
    ended_ns: int
    pid: int
    tid: int


class Event(NamedTuple):
    """An event of a recording."""

    call: Call
    timestamp_ns: int
    pid: int
    tid: int
    stack_id: int
    lost: int


class Recording:
    """What was recorded beside what the program says it did."""

    def __init__(self, folder: Path, truth: Path) -> None:
        self.header: dict[str, Any] = json.loads((folder / "recording.json").read_text())
        self.events = _read_events(folder)
        self.truth = _read_truth(truth) if truth.exists() else []

    @property
    def calls(self) -> list[Call]:
        """What was recorded."""
        return [event.call for event in self.events]

    @property
    def known_calls(self) -> list[Call]:
        """What the program did."""
        return [known.call for known in self.truth]


def _read_events(folder: Path) -> list[Event]:
    if not list(folder.glob("events-*.parquet")):
        return []
    rows = duckdb.sql(
        "SELECT operation, address, size_bytes, timestamp_ns, pid, tid, stack_id, lost"
        f" FROM read_parquet('{folder}/events-*.parquet') ORDER BY seq"
    ).fetchall()
    return [Event(Call(*row[:3]), *row[3:]) for row in rows]


def _read_truth(path: Path) -> list[Known]:
    rows = [line.split() for line in path.read_text().splitlines()]
    return [
        Known(Call(operation, int(address), min(int(size), LARGEST_SIZE)), *map(int, rest))
        for operation, address, size, *rest in rows
    ]


class Compiler:
    """Compiles programs of tests/workloads, each once: `compiled("nested", "musl-gcc")`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._usual = shutil.which("gcc") or "clang"

    def __call__(self, name: str, compiler: str = "") -> Path:
        """The program."""
        compiler = compiler or self._usual
        program = self._folder / compiler.replace("/", "-") / name
        if not program.exists():
            program.parent.mkdir(exist_ok=True)
            source = WORKLOADS / f"{name}.c"
            subprocess.run([*compiler.split(), *CFLAGS, str(source), "-o", str(program)], check=True)
        return program


class Recorder:
    """Calls `gadgetops record` in one way; what was recorded once is not again."""

    def __init__(self, way: Sequence[object], compiled: Callable[..., Path], folder: Path) -> None:
        self._way = way
        self._compiled = compiled
        self._folder = folder
        self._n_recordings = 0
        self._whole_runs: dict[tuple[object, ...], Recording] = {}

    def __call__(
        self, workload: str, *arguments: object, options: str = "", compiler: str = "", preload: str = ""
    ) -> Recording:
        """Record a whole run of a workload: `record("blocks", 1000, options="--buffer-size 4096")`."""
        key = (workload, *arguments, options, compiler, preload)
        if key not in self._whole_runs:
            program = self._compiled(workload, compiler)
            self._whole_runs[key] = self._whole_run(program, *arguments, options=options, preload=preload)
        return self._whole_runs[key]

    def _whole_run(self, program: Path, *arguments: object, options: str, preload: str) -> Recording:
        folder, truth = self._new_paths()
        environment = os.environ | ({"LD_PRELOAD": preload} if preload else {})
        with self._recording(folder, options, "--", program, truth, *arguments, environment=environment):
            pass
        return Recording(folder, truth)

    @contextmanager
    def held_at_end(self, workload: str, *, options: str = "") -> Iterator[Process]:
        """Record a workload that has made its calls and, inside this context, has not ended.

        The context is the recorder's process.
        """
        folder, truth = self._new_paths()
        fifo = _new_fifo(folder)
        with (
            self._recording(folder, options, "--", self._compiled(workload), truth, fifo) as process,
            _holding(fifo, process),
        ):
            yield process

    def running(self, workload: str, *, options: Callable[[int, int], str]) -> Recording:
        """Attach to a workload that runs already; `options` from its pid and its second thread's tid."""
        folder, truth = self._new_paths()
        fifo = _new_fifo(folder)
        with _started([self._compiled(workload), truth, fifo]) as program, ExitStack() as recording:
            with _holding(fifo, program):
                pid, tid = map(int, Path(f"{truth}.pid").read_text().split())
                recorder = recording.enter_context(self._recording(folder, options(pid, tid), "--pid", pid))
                _until(lambda: _is_attached(folder), recorder)
            program.wait(RUN_TIMEOUT_S)
        return Recording(folder, truth)

    def _recording(
        self, folder: Path, options: str, *rest: object, environment: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Process]:
        arguments = ["record", "-o", folder, *self._way, *options.split(), *rest]
        return _started([sys.executable, "-m", "gadgetops", *arguments], environment)

    def _new_paths(self) -> tuple[Path, Path]:
        self._n_recordings += 1
        folder = self._folder / f"{self._n_recordings}.gadgetrec"
        return folder, folder.with_suffix(".truth")


@contextmanager
def _started(command: list[object], environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """A process that must end well; its stderr is kept for the message if it does not."""
    arguments = [*map(str, command)]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
        _, errors = process.communicate(timeout=RUN_TIMEOUT_S)
    except BaseException as error:
        process.kill()
        error.add_note(process.communicate()[1])
        raise
    assert process.returncode == 0, f"{command}: {errors}"


def _new_fifo(folder: Path) -> Path:
    fifo = folder.with_suffix(".fifo")
    os.mkfifo(fifo)
    return fifo


@contextmanager
def _holding(fifo: Path, process: Process) -> Iterator[None]:
    """Wait until the program of `process` waits at the FIFO, and let it go on afterwards."""
    writer = _until(lambda: _open_writer(fifo), process)
    try:
        yield
    finally:
        os.close(writer)


def _open_writer(fifo: Path) -> int | None:
    """None while nobody reads."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


def _until(ask: Callable[[], T | None], process: Process) -> T:
    """What `ask` says as soon as it says something, while `process` lives."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        answer = ask()
        if answer is not None:
            return answer
        assert process.poll() is None, f"{process.args} ended early"
        time.sleep(0.01)
    raise TimeoutError(process.args)


def _is_attached(folder: Path) -> bool | None:
    """None until the recording is there: it is made as soon as every program is attached."""
    return (folder / "recording.json").exists() or None
