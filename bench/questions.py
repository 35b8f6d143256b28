"""
Time and memory of every question over ten million events, beside reading the events once with DuckDB.

Another number of events may be given: `python bench/questions.py 100_000_000` shows what is spilled to disk.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import side_by_side as bench

sys.path.insert(0, str(bench.ROOT / "tests"))

from services.synthetic import write_synthetic

N_CYCLES = 1_000_000
"""Of ten events each."""
EVENTS_A_CYCLE = 10
N_VARIANTS = 1000
MEMORY_LIMIT_MB = 2048
VERBS = ["leaks", "summary", "top", "temporary", "peak", "timeline", "sizes", "lifetimes", "faults"]
GROUPED = [["top", "--by", "peak", "--group-by", "thread"], ["timeline", "--group-by", "stack"]]
FILTERED = [["top", "--function", "kind_4", "--min-size", "100"], ["peak", "--thread", "2"]]


def main() -> None:
    """Ask a synthetic recording everything, in a process each; fail if one takes more than 2 GiB."""
    n_cycles = int(sys.argv[1]) // EVENTS_A_CYCLE if sys.argv[1:] else N_CYCLES
    with bench.working_folder() as folder:
        recording = str(write_synthetic(folder / "synthetic", n_cycles, N_VARIANTS))
        count = [*bench.GADGETOPS, "sql", recording, "select count(distinct address) from events"]
        pairing_s, pairing_mb = cost([*bench.GADGETOPS, "leaks", recording])
        reading_s, reading_mb = cost(count)
        print(f"{'first question, which pairs':<44} {pairing_s:>8.2f} s {pairing_mb:>8,.0f} MB")
        print(f"{'sql: distinct addresses of the events':<44} {reading_s:>8.2f} s {reading_mb:>8,.0f} MB")
        worst_mb = pairing_mb
        for question in [*([verb] for verb in VERBS), *GROUPED, *FILTERED]:
            verb, *options = question
            taken_s, used_mb = cost([*bench.GADGETOPS, verb, recording, *options, "--format", "json"])
            worst_mb = max(worst_mb, used_mb)
            ratio = f"ratio {taken_s / reading_s:.2f}"
            print(f"{' '.join(question):<44} {taken_s:>8.2f} s {used_mb:>8,.0f} MB  {ratio}")
    if worst_mb > MEMORY_LIMIT_MB:
        raise SystemExit(f"{worst_mb:,.0f} MB is more than {MEMORY_LIMIT_MB:,} MB")


def cost(command: list[str]) -> tuple[float, float]:
    """Return the seconds that *command* takes, and the most memory it has, in MB."""
    start = time.perf_counter()
    with Path(os.devnull).open("w") as nowhere:
        process = subprocess.Popen(command, stdout=nowhere)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: status {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
