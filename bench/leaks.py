"""
Time and memory of `leaks` at a million events and at ten, beside heaptrack_print on the same program.

Four figures of ours: as `record` leaves it, once what pairs beside it is done; the first question where
nobody paired; one that finds pairs and no answer; and one that was asked before. The last lines say what ten
times as many events cost, asked as `record` leaves it.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import side_by_side as bench

N_CALLS = (1_000_000, 10_000_000)
TIMES = 3
PATIENCE_S = 120
MEBIBYTE = 1 << 20


def main() -> None:
    """Record so many malloc() and free() with both tools, and ask both."""
    counts = [*map(int, sys.argv[1:])] or N_CALLS
    taken = []
    for n_calls in counts:
        with bench.working_folder() as folder:
            taken.append(_measure(folder, n_calls))
    if len(taken) > 1:
        names = [f"{count:,} calls" for count in counts]
        bench.show("leaks, as recorded", "s", (names[-1], taken[-1]), (names[0], taken[0]))


def _measure(folder: Path, n_calls: int) -> float:
    """Show all figures and return the seconds that `leaks` takes once `record` is done."""
    command = [bench.compiled("timed_blocks", folder), str(n_calls // 2)]
    recording = folder / "leaks.gadgetrec"
    bench.run(bench.record_command(recording, bench.built_gadget(folder), *command))
    ended = time.perf_counter()
    answer = recording / "pairs/leaks.json"
    while not answer.exists():
        if time.perf_counter() > ended + PATIENCE_S:
            raise SystemExit(f"{answer} is not there after {PATIENCE_S} s")
        time.sleep(0.01)
    print(f"{n_calls:,} calls: {bench.counters(recording)}")
    print(f"  {'answered after the end of record':<44} {time.perf_counter() - ended:>14,.3f} s")
    ours = [*bench.GADGETOPS, "leaks", str(recording)]
    other = _other(folder, command)
    as_recorded_s = bench.seconds(ours, TIMES)
    bench.show("leaks, as recorded", "s", ("gadgetops leaks", as_recorded_s), other)
    shutil.rmtree(recording / "pairs")
    first_s, peak_bytes = _first(ours)
    bench.show("leaks, nothing paired", "s", ("gadgetops leaks", first_s), other)
    print(f"  {'memory at most':<44} {peak_bytes / MEBIBYTE:>14,.0f} MiB")
    answer.unlink()
    bench.show("leaks, paired before", "s", ("gadgetops leaks", bench.seconds(ours)), other)
    bench.show("leaks, asked again", "s", ("gadgetops leaks", bench.seconds(ours, TIMES)), other)
    return as_recorded_s


def _first(command: list[str]) -> tuple[float, int]:
    """Return the time and the most memory of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)}: status {status}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def _other(folder: Path, command: list[str]) -> tuple[str, float]:
    if shutil.which("heaptrack") is None:
        print("heaptrack is not installed; beside it stands the start of gadgetops")
        return "gadgetops --help", bench.seconds([*bench.GADGETOPS, "--help"], TIMES)
    # Its own report goes nowhere: heaptrack asks it for a summary at the end.
    subprocess.run(["heaptrack", "-o", str(folder / "heaptrack"), *command], check=True, capture_output=True)
    data = next(folder.glob("heaptrack.*"))
    return "heaptrack_print", bench.seconds(["heaptrack_print", str(data)], TIMES)


if __name__ == "__main__":
    main()
