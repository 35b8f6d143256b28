"""
What a command pays that preloads the library, beside heaptrack: loops, perl, Python, git; and what it counts.

Each program says itself how long it took, by the clock and, but for git, of the processor: other work that a
machine has shows in the first alone. All are run in turns, and the least of each counts. The loop is compiled
with and without frame pointers; distributions compile without.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import duckdb
import side_by_side as bench
from slowdown import PERL, PYTHON, TOOK

TIMES = 3
N_CALLS = 2_000_000
WANTED_WITH_FRAME_POINTERS, WANTED_WITHOUT = 0.5, 1.0
"""Times as long as under heaptrack, at most."""
CPU = re.compile(r"cpu ([0-9.]+) s")
LOOP = """
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static double now(int clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}
int main(int count, char **arguments) {
    double start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    for (long n = 0; n < atol(arguments[1]); n++) free(malloc(64 + n % 64));
    printf("took %.6f s\\n", now(CLOCK_MONOTONIC) - start);
    printf("cpu %.6f s\\n", now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}
"""
PERL_CPU = 'my ($user, $system) = times; printf "cpu %.6f s\\n", $user + $system;\n'
PYTHON_CPU = 'print(f"cpu {time.process_time():.6f} s")\n'
COUNTED = re.compile(r"allocations:\s+(\d+)")
ALLOCATIONS = (
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "valloc",
    "pvalloc",
)


def main() -> None:
    """Run every program bare, under heaptrack, and recorded."""
    os.environ["GIT_TRACE_PERFORMANCE"] = "1"
    with bench.working_folder() as folder:
        with_pointers, without = (
            _loop(folder, "-fno-omit-frame-pointer"),
            _loop(folder, "-fomit-frame-pointer"),
        )
        _compare(folder, "loop, frame pointers", [with_pointers, str(N_CALLS)], WANTED_WITH_FRAME_POINTERS)
        _compare(folder, "loop, none", [without, str(N_CALLS)], WANTED_WITHOUT)
        (folder / "lines.pl").write_text(PERL + PERL_CPU)
        _compare(folder, "perl", ["/usr/bin/perl", str(folder / "lines.pl")], WANTED_WITHOUT)
        os.environ["PYTHONMALLOC"] = "malloc"
        _compare(folder, "python3", ["/usr/bin/python3", "-c", PYTHON + PYTHON_CPU], WANTED_WITHOUT)
        del os.environ["PYTHONMALLOC"]
        history = ["git", "-C", str(bench.ROOT), "log", "-p", "--output=/dev/null"]
        _compare(folder, "git log -p", history, WANTED_WITHOUT)


def _loop(folder: Path, option: str) -> str:
    source, program = folder / "loop.c", folder / f"loop{option}"
    source.write_text(LOOP)
    subprocess.run(["gcc", "-O2", "-fno-builtin", option, str(source), "-o", str(program)], check=True)
    return str(program)


def _compare(folder: Path, name: str, command: list[str], wanted: float) -> None:
    heaptrack = ["heaptrack", "-o", str(folder / "heaptrack"), *command]
    recording = folder / "recording"
    options = ["--engine", "preload", "--symbols", "late", "--no-pairs", "-q", "-o", str(recording)]
    record = [*bench.GADGETOPS, "record", *options, "--", *command]
    runs: dict[str, list[tuple[float, float]]] = {"bare": [], "heaptrack": [], "ours": []}
    counted = 0
    for _ in range(TIMES):
        runs["bare"].append(_times(_run(command)))
        said = _run(heaptrack)
        runs["heaptrack"].append(_times(said))
        counted = int(COUNTED.search(said)[1])  # type: ignore[index]
        shutil.rmtree(recording, ignore_errors=True)
        runs["ours"].append(_times(_run(record)))
    counters = bench.counters(recording)
    print(f"{name}: {_allocations(recording):,} allocations, heaptrack {counted:,}; {counters['lost']} lost")
    for index, what in enumerate(("clock", "processor")):
        bare, other, ours = (min(each[index] for each in runs[who]) for who in runs)
        if other:
            print(
                f"  {what:<10} bare {bare:.3f} s, heaptrack {other:.3f} s, ours {ours:.3f} s:"
                f"  ratio {ours / other:.2f} ({wanted} wanted)",
                flush=True,
            )


def _run(command: list[str]) -> str:
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def _times(said: str) -> tuple[float, float]:
    """What a program says it took, by the clock and of the processor; 0 where it does not say."""
    took, cpu = TOOK.search(said), CPU.search(said)
    if took is None:
        raise SystemExit(said)
    return float(took[1] or took[2]), float(cpu[1]) if cpu else 0.0


def _allocations(recording: Path) -> int:
    query = (
        f"SELECT count(*) FROM '{recording}/events-*.parquet'"
        " WHERE list_contains(?, operation) AND address <> 0"
    )
    return int(duckdb.sql(query, params=[[*ALLOCATIONS]]).fetchall()[0][0])


if __name__ == "__main__":
    main()
