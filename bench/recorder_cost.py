"""What the recorder takes: processor time an event, one process to eight, and memory for long."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import side_by_side as bench

LONG_S = 60
SLOW_S = 40
EARLY_S = 10
SEGMENTS_AN_HOUR = 360
# An hour's segments in SLOW_S: each is closed after a fraction of the ten seconds that it usually has.
HASTY = f"""
import sys
from gadgetops.recording import writer
writer.SEGMENT_SECONDS = {SLOW_S / SEGMENTS_AN_HOUR}
from gadgetops.commands import main
sys.exit(main())
"""
# Some ten thousand calls a second, of always the same lines.
SLOW = "while (1) { my @kept = map { 'x' x (100 * $_) } 1..50; select undef, undef, undef, 0.01 }"
N_BLOCKS = 300_000
POLL_S = 0.2


@dataclass(frozen=True)
class Cost:
    """What one recording took."""

    n_events: int
    n_lost: int
    cpu_s: float
    early_rss_mb: float
    peak_rss_mb: float

    @property
    def us_per_event(self) -> float:
        """Processor time of the recorder, in microseconds an event."""
        return self.cpu_s / max(self.n_events, 1) * 1e6


def main() -> None:
    """
    Record one process, two threads, then two and eight processes at once, all at full speed; then one at full
    speed for a minute, and a slow one for as many segments as an hour has.
    """
    with bench.working_folder() as folder:
        gadget, blocks = bench.built_gadget(folder), bench.compiled("blocks", folder)
        one, two, eight = (_at_once(folder, gadget, blocks, number) for number in (1, 2, 8))
        threads = bench.compiled("threads_at_once", folder)
        both = _cost(folder / "both.gadgetrec", gadget, "", "sh", "-c", f"echo | {threads} {N_BLOCKS} 2")
        slow = _cost(
            folder / "slow.gadgetrec",
            gadget,
            f"--duration {SLOW_S}",
            *("perl", "-e", SLOW),
            recorder=[sys.executable, "-c", HASTY],
        )
        n_segments = len([*(folder / "slow.gadgetrec").glob("events-*.parquet")])
        endless = f"while :; do {blocks} {folder}/truth-long 400000; done"
        long = _cost(folder / "long.gadgetrec", gadget, f"--duration {LONG_S}", "sh", "-c", endless)
    for name, cost in (("two threads", both), ("two processes", two), ("eight processes", eight)):
        bench.show(
            f"recorder's processor time, {name} at once",
            "us an event",
            (f"{name} at once, {cost.n_events:,} events, {cost.n_lost:,} lost", cost.us_per_event),
            (f"one, {one.n_events:,} events, {one.n_lost:,} lost", one.us_per_event),
        )
    _show_memory(f"over {LONG_S} s at full speed", long)
    _show_memory(f"over {n_segments} segments of a slow program (an hour has {SEGMENTS_AN_HOUR})", slow)


def _show_memory(title: str, cost: Cost) -> None:
    bench.show(
        f"recorder's memory {title}, {cost.n_events:,} events, {cost.n_lost:,} lost",
        "MB",
        ("highest", cost.peak_rss_mb),
        (f"highest of the first {EARLY_S} s", cost.early_rss_mb),
    )


def _at_once(folder: Path, gadget: Path, blocks: str, number: int) -> Cost:
    each = N_BLOCKS // number
    commands = " ".join(f"{blocks} {folder}/truth-{number}-{index} {each} &" for index in range(number))
    return _cost(folder / f"{number}.gadgetrec", gadget, "", "sh", "-c", f"{commands} wait")


def _cost(
    recording: Path, gadget: Path, options: str, *command: object, recorder: Sequence[str] = bench.GADGETOPS
) -> Cost:
    # By frame pointers: what copies of stacks cost is another question.
    argv = bench.record_command(recording, gadget, *command, options=f"--unwind fp {options}")
    argv = [*recorder, *argv[len(bench.GADGETOPS) :]]
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL, start_new_session=True)
    cpu_s, early_mb, peak_mb, began = 0.0, 0.0, 0.0, time.monotonic()
    while (seen := _usage(process.pid)) is not None:
        cpu_s, peak_mb = seen
        if time.monotonic() - began < EARLY_S:
            early_mb = peak_mb
        time.sleep(POLL_S)
    process.wait()
    subprocess.run(["pkill", "-KILL", "--session", str(process.pid)], check=False)
    counters = bench.counters(recording)
    return Cost(counters["events"], counters["lost"], cpu_s, early_mb, peak_mb)


def _usage(pid: int) -> tuple[float, float] | None:
    """Return processor time in s and the highest resident size in MB so far; None once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    if fields[0] == "Z":
        return None
    high_kb = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), high_kb / 1024


if __name__ == "__main__":
    sys.exit(main())
