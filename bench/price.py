"""
What `record --pid` says beforehand, beside what it then costs: foretold and measured slowdowns of one run.

Servers at several rates, with threads, deep stacks, with and without frame pointers. The slowdown is in
requests for a second of the server's own CPU time, before and while it is recorded.
Then the budget: the same server under `--max-slowdown 20%`, over the whole recording.
"""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb
import side_by_side as bench

FACTOR = 1.5
"""Between foretold and measured, at most."""
KEPT = 1.2
WARM_UP_S = 2
RECORDED_S = 4
BUDGET_S = 12
OPTIONS = ["--symbols", "late", "--no-pairs"]
FOREGOING = re.compile(r"slow it by (?:about ([0-9.]+) times|about ([0-9.]+) %|less than 1 %)")


class Server(NamedTuple):
    """Arguments of tests/workloads/paced.c, and how it is recorded."""

    name: str
    threads: int
    spin: int
    depth: int
    options: tuple[str, ...] = ()
    has_frame_pointers: bool = True


SERVERS = [
    Server("1.4 M calls a second, frame pointers", 1, 6000, 8),
    Server("1.4 M calls a second, slices", 1, 6000, 8, has_frame_pointers=False),
    Server("1.4 M calls a second, no stacks", 1, 6000, 8, ("--no-stacks",)),
    Server("1.4 M calls a second, 40 frames", 1, 6000, 40),
    Server("1.4 M calls a second, 40 frames, slices", 1, 6000, 40, has_frame_pointers=False),
    Server("150 k calls a second", 1, 60_000, 8),
    Server("150 k calls a second, slices", 1, 60_000, 8, has_frame_pointers=False),
    Server("15 k calls a second", 1, 600_000, 8),
    Server("15 M calls a second", 1, 400, 8),
    Server("two threads", 2, 6000, 8),
    Server("four threads, slices", 4, 60_000, 8, has_frame_pointers=False),
]


class Line(NamedTuple):
    """What the server says every tenth of a second."""

    requests: int
    cpu_ns: int
    at_ns: int


def main() -> None:
    """Foretell and measure each server, then record one within a budget."""
    with bench.working_folder() as folder:
        gadget = bench.built_gadget(folder)
        (without := folder / "without").mkdir()
        programs = {
            True: bench.compiled("paced", folder),
            False: bench.compiled("paced", without, "-fomit-frame-pointer"),
        }
        worst = max(_foretold_beside_measured(folder, gadget, programs, server) for server in SERVERS)
        print(f"worst factor between foretold and measured: {worst:.2f} ({FACTOR} wanted)")
        kept = max(_budget(folder, gadget, programs[True], server) for server in SERVERS[:1])
        print(f"--max-slowdown 20%: slowed by {kept:.3f} ({KEPT} wanted)")


def _foretold_beside_measured(folder: Path, gadget: Path, programs: dict[bool, str], server: Server) -> float:
    program = programs[server.has_frame_pointers]
    with _running(program, server, folder) as (pid, lines):
        said = _record(folder, gadget, pid, [*server.options, "--force", "--duration", str(RECORDED_S)])
    began_ns, events = _span(folder / "recording")
    bare = _rate([line for line in lines() if line.at_ns < began_ns[0]])
    during = _rate([line for line in lines() if events[0] + 3e8 < line.at_ns < events[1]])
    found = FOREGOING.search(said)
    assert found is not None, said
    foretold = float(found[1]) if found[1] else 1 + float(found[2] or 0) / 100
    measured = bare / during
    factor = max(foretold / measured, measured / foretold)
    print(f"{server.name:<42} foretold {foretold:>6.2f}  measured {measured:>6.2f}  factor {factor:.2f}")
    return factor


def _budget(folder: Path, gadget: Path, program: str, server: Server) -> float:
    """Return how much slower the server was over a whole recording within 20 %."""
    with _running(program, server, folder) as (pid, lines):
        said = _record(folder, gadget, pid, ["--max-slowdown", "20%", "--duration", str(BUDGET_S)])
    header = json.loads((folder / "recording/recording.json").read_text())
    windows = header["windows"]
    began_ns, _ = _span(folder / "recording")
    bare = _rate([line for line in lines() if line.at_ns < began_ns[0]])
    during = _rate(
        [line for line in lines() if windows[0][0] <= line.at_ns <= windows[0][0] + BUDGET_S * 1e9]
    )
    on_s = sum(end - start for start, end in windows) / 1e9
    print(said.strip())
    print(f"{server.name}: {len(windows)} windows, {on_s:.1f} s of {BUDGET_S} s; {bare / during:.3f} times")
    return bare / during


@contextmanager
def _running(program: str, server: Server, folder: Path) -> Iterator[tuple[int, Callable[[], list[Line]]]]:
    """Run the server, warm; yield its process and what it said so far."""
    output = folder / "said"
    arguments = [str(server.threads), str(server.spin), str(server.depth)]
    with output.open("w") as file:
        process = subprocess.Popen([program, *arguments], stdout=file)
    try:
        time.sleep(WARM_UP_S)
        yield process.pid, lambda: _lines(output)
    finally:
        process.kill()
        process.wait()


def _lines(path: Path) -> list[Line]:
    rows = (line.split() for line in path.read_text().splitlines())
    return [Line(*map(int, row)) for row in rows if len(row) == 3]


def _record(folder: Path, gadget: Path, pid: int, options: Sequence[str]) -> str:
    recording = folder / "recording"
    shutil.rmtree(recording, ignore_errors=True)
    arguments = ["record", "-o", recording, "--image", gadget, "--pid", pid, *OPTIONS, *options]
    command = [*bench.GADGETOPS, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stderr


def _span(recording: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return when the recorder had been started, at the latest, and between which events it recorded."""
    clock = json.loads((recording / "recording.json").read_text())["clock"]
    query = f"SELECT min(timestamp_ns), max(timestamp_ns) FROM read_parquet('{recording}/events-*.parquet')"
    [(first, last)] = duckdb.sql(query).fetchall()
    # Counting begins a little after the clock was read.
    return (clock["boottime_ns"], first), (first, last)


def _rate(lines: Sequence[Line]) -> float:
    first, last = lines[0], lines[-1]
    return (last.requests - first.requests) / ((last.cpu_ns - first.cpu_ns) / 1e9)


if __name__ == "__main__":
    main()
