"""
Time and memory of `leaks` at a million events, the most that the workload makes, beside heaptrack_print.

Three figures of ours: the first question, which pairs the events; one that finds them paired, as when
`extend` was called while they were recorded; and one that was asked before.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import side_by_side as bench

N_CALLS = (1_000_000,)
TIMES = 3
MEBIBYTE = 1 << 20


def main() -> None:
    """Record so many malloc() and free() with both tools, and ask both."""
    for n_calls in map(int, sys.argv[1:]) if len(sys.argv) > 1 else N_CALLS:
        with bench.working_folder() as folder:
            _measure(folder, n_calls)


def _measure(folder: Path, n_calls: int) -> None:
    command = [bench.compiled("blocks", folder), str(folder / "truth"), str(n_calls // 2)]
    recording = folder / "leaks.gadgetrec"
    bench.run(bench.record_command(recording, bench.built_gadget(folder), *command))
    print(f"{n_calls:,} calls: {bench.counters(recording)}")
    ours = [*bench.GADGETOPS, "leaks", str(recording)]
    other = _other(folder, command)
    first_s, peak_bytes = _first(ours)
    bench.show(f"leaks, first asked, {n_calls:,} calls", "s", ("gadgetops leaks", first_s), other)
    print(f"  {'memory at most':<44} {peak_bytes / MEBIBYTE:>14,.0f} MiB")
    (recording / "pairs/leaks.json").unlink()
    bench.show("leaks, paired before", "s", ("gadgetops leaks", bench.seconds(ours)), other)
    bench.show("leaks, asked again", "s", ("gadgetops leaks", bench.seconds(ours, TIMES)), other)


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
    return "heaptrack_print", bench.seconds(["heaptrack_print", str(data)])


if __name__ == "__main__":
    main()
