"""What stacks without frame pointers cost: at the probe, beside the kernel's walk, and afterwards."""

import subprocess
import time
from pathlib import Path

import side_by_side as bench

from gadgetops.recording.reader import open_recording
from gadgetops.stacks.naming.symbolize import Finder
from gadgetops.stacks.unwinding.unwind_recording import Unwinding

STACK_BYTES = 4096
N_PAIRS = 200_000
N_TIMES = 3
PROGRAMS = {
    "python3.11": [
        "-S",
        "-c",
        "import json; kept = [json.loads(json.dumps({str(j): [j] * 5})) for j in range(3000)]",
    ],
    "perl": ["-e", "my @kept; for my $i (1..3000) { push @kept, { a => [$i, 'x' x 200] }; }"],
    "git": ["--version"],
    "sqlite3": [
        ":memory:",
        "create table t(a); insert into t values (randomblob(9000)); select * from t limit 0",
    ],
}
MANY = 10_000
ENOUGH = 1000


def main() -> None:
    """Compare in one run."""
    with bench.working_folder() as folder:
        gadget = bench.built_gadget(folder)
        at_the_probe(folder, gadget)
        for program, arguments in PROGRAMS.items():
            afterwards(folder, gadget, program, arguments)


def at_the_probe(folder: Path, gadget: Path) -> None:
    """The program itself measures its calls, so that loading and unwinding do not count."""
    program = bench.compiled("deep", folder)
    ways = {"no stacks": "--no-stacks", "frame pointers": "--unwind fp", "slices": "--unwind dwarf"}
    times = {way: event_us(folder, gadget, program, options) for way, options in ways.items()}
    over_walk_us = times["slices"] - times["frame pointers"]
    print(f"an event with {STACK_BYTES:,} bytes of stack:")
    for way, microseconds in times.items():
        print(f"  {way:<15} {microseconds:.2f} us")
    print(f"  slices over frame pointers: {over_walk_us:+.2f} us an event (1.5 at most)")


def event_us(folder: Path, gadget: Path, program: str, options: str) -> float:
    """The best of some runs, in microseconds an event."""
    way = options.replace(" ", "")
    return min(one_run_us(folder / f"{n}{way}", gadget, program, options) for n in range(N_TIMES))


def one_run_us(recording: Path, gadget: Path, program: str, options: str) -> float:
    command = bench.record_command(recording, gadget, program, STACK_BYTES, N_PAIRS, options=options)
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lost = bench.counters(recording)["lost"]
    if lost:
        raise SystemExit(f"{options}: {lost:,} events lost")
    return int(printed) / 1000 / (2 * N_PAIRS)


def afterwards(folder: Path, gadget: Path, program: str, arguments: list[str]) -> None:
    """Unwind the slices of a program of the distribution; its C library's own allocator is not used more."""
    recording = folder / f"{program}.gadgetrec"
    command = bench.record_command(
        recording, gadget, program, *arguments, options="--unwind dwarf --symbols late --buffer-size 256MiB"
    )
    bench.run(["env", "PYTHONMALLOC=malloc", *command])
    counters = bench.counters(recording)
    started_s = time.perf_counter()
    unwinding = Unwinding(open_recording(recording), Finder())
    n_stacks = sum(1 for _ in unwinding.rows())
    seconds = time.perf_counter() - started_s
    complete = unwinding.ends["complete"] / max(1, n_stacks)
    # A few are had in the time that it takes to begin, which says nothing of many.
    for_many = f"{seconds / n_stacks * MANY:.2f} s for {MANY:,} (5 at most), " if n_stacks >= ENOUGH else ""
    print(
        f"{program}: {counters['events']:,} events, {counters['lost']:,} lost; {n_stacks:,} slices unwound "
        f"in {seconds:.2f} s, {for_many}"
        f"{complete:.2%} to their beginning (99 % at least)"
    )


if __name__ == "__main__":
    main()
