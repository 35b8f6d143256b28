"""Time from the start of `record` to the first event, beside the start of Python."""

import statistics
import sys
import time
from pathlib import Path

import duckdb
import side_by_side as bench

TIMES = 5


def main() -> None:
    """Start `record` anew each time; both clocks are boot time."""
    with bench.working_folder() as folder:
        gadget = bench.built_gadget(folder)
        command = [bench.compiled("mappings", folder), str(folder / "truth")]
        python_s = bench.seconds([sys.executable, "-c", "pass"], TIMES)
        for unwind in ("fp", "auto"):
            first_s = statistics.median(
                _first_event_s(folder / f"{unwind}-{number}.gadgetrec", gadget, command, unwind)
                for number in range(TIMES)
            )
            first = ("from `record` to the first event", first_s)
            bench.show(f"first event, --unwind {unwind}", "s", first, ("python -c pass", python_s))


def _first_event_s(recording: Path, gadget: Path, command: list[str], unwind: str) -> float:
    start_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    options = f"--symbols late --unwind {unwind}"
    bench.run(bench.record_command(recording, gadget, *command, options=options))
    [(first_ns,)] = duckdb.sql(
        f"SELECT min(timestamp_ns) FROM read_parquet('{recording}/events-*.parquet')"
    ).fetchall()
    return float(first_ns - start_ns) / 1e9


if __name__ == "__main__":
    main()
