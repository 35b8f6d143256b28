"""
What a traced program pays, beside heaptrack: a loop that does nothing but allocate, and python3.

Each program says itself how long it took.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import side_by_side as bench

TIMES = 3
PYTHON = """
import json, time
start = time.perf_counter()
for n in range(60):
    rows = [{"name": f"row {i}", "values": [i, str(i) * 3]} for i in range(400)]
    json.loads(json.dumps(rows, indent=1))
print(f"took {time.perf_counter() - start:.6f} s")
"""
WAYS = {"stacks off": "--no-stacks", "frame pointers": "--unwind fp", "unwinding": "--unwind dwarf"}
LIMITS = {"stacks off": 1.5, "frame pointers": 2.5, "unwinding": 4}
"""Times as long as under heaptrack, at most: what is wanted."""


def main() -> None:
    """Run every program alone, under heaptrack, and recorded in every way."""
    # Else Python takes its memory in large pieces, and there is nothing to see.
    os.environ["PYTHONMALLOC"] = "malloc"
    with bench.working_folder() as folder:
        gadget = bench.built_gadget(folder)
        programs = {
            "malloc() and free() in a loop": [bench.compiled("timed_blocks", folder), "500000"],
            "python3": ["/usr/bin/python3", "-c", PYTHON],
        }
        for name, command in programs.items():
            _compare(folder, gadget, name, command)


def _compare(folder: Path, gadget: Path, name: str, command: list[str]) -> None:
    alone_s = _took_s(command)
    heaptrack_s = _took_s(["heaptrack", "-o", str(folder / "heaptrack"), *command])
    print(f"{name}: alone {alone_s:.3f} s, under heaptrack {heaptrack_s:.3f} s")
    for way, option in WAYS.items():
        recording = folder / "recording"
        options = f"{option} --symbols late --no-pairs"
        recorded_s = _took_s(bench.record_command(recording, gadget, *command, options=options), recording)
        counters = bench.counters(recording)
        each_us = (recorded_s - alone_s) / counters["events"] * 1e6
        print(
            f"  {way:<16} {recorded_s:>8.3f} s  ratio {recorded_s / heaptrack_s:>6.2f} ({LIMITS[way]} wanted)"
            f"  {counters['events']:,} events, {counters['lost']} lost, {each_us:.2f} us each"
        )


def _took_s(command: list[str], recording: Path | None = None) -> float:
    times = []
    for _ in range(TIMES):
        if recording is not None:
            shutil.rmtree(recording, ignore_errors=True)
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = re.search(r"took ([0-9.]+) s", printed)
        if found is None:
            raise SystemExit(f"{command}: {printed}")
        times.append(float(found[1]))
    return min(times)


if __name__ == "__main__":
    main()
