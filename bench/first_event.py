"""Time from the start of `record` to the first event, beside the start of Python."""

import os
import statistics
import sys
import time
from pathlib import Path

import duckdb
import side_by_side as bench

from gadgetops.oci.layout.store_choice import STORE_VARIABLE

TIMES = 9
LIMIT_S = 0.5
PAIRED_S = 1.5
"""What is left of pairing goes on when a recording is complete; the next one is not to compete with it."""


def main() -> None:
    """Start `record` anew each time, with the gadget of the store; both clocks are boot time."""
    with bench.working_folder() as folder:
        os.environ[STORE_VARIABLE] = str(folder / "store")
        bench.run([*bench.GADGETOPS, "build", str(bench.ROOT), "-t", "trace_malloc"])
        command = [bench.compiled("mappings", folder), str(folder / "truth")]
        python_s = bench.seconds([sys.executable, "-c", "pass"], TIMES)
        for unwind in ("fp", "auto"):
            times = [
                _first_event_s(folder / f"{unwind}-{n}.gadgetrec", command, unwind) for n in range(TIMES)
            ]
            first = ("from `record` to the first event", statistics.median(times))
            title = f"first event, --unwind {unwind}, {LIMIT_S} wanted; {min(times):.3f} to {max(times):.3f}"
            bench.show(title, "s", first, ("python -c pass", python_s))


def _first_event_s(recording: Path, command: list[str], unwind: str) -> float:
    arguments = ["record", "-o", str(recording), "--unwind", unwind, "--", *command]
    start_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    bench.run([*bench.GADGETOPS, *arguments])
    time.sleep(PAIRED_S)
    [(first_ns,)] = duckdb.sql(
        f"SELECT min(timestamp_ns) FROM read_parquet('{recording}/events-*.parquet')"
    ).fetchall()
    return float(first_ns - start_ns) / 1e9


if __name__ == "__main__":
    main()
