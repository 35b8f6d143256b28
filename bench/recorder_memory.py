"""
Memory of the recorder: for a program that does nothing, and over time at full speed.

Two figures of all its processes: the sum of their proportional set sizes (PSS, which counts pages that
several processes share once), and the largest resident set that one of them has had (VmHWM). The ring buffer
is memory of the kernel; both count only the window of it that is mapped.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import side_by_side as bench

LIMIT_MB = 150
SOAK_S = 60
SAMPLE_S = 0.01
ROWS = 12
MIB = 1 << 20


class Sample(NamedTuple):
    """
    Memory of all processes of a recorder at one moment, in bytes.

    Attributes:
        seconds: Since it began.
        shared_once: Sum of their proportional set sizes.
        largest: The largest resident set that one of them has had by then.
        n_processes: How many there are.
    """

    seconds: float
    shared_once: int
    largest: int
    n_processes: int


def main() -> None:
    """Record `/bin/true`, and a loop of malloc() and free() without end for a minute."""
    soak_s = float(sys.argv[1]) if len(sys.argv) > 1 else SOAK_S
    with bench.working_folder() as folder:
        gadget = bench.built_gadget(folder)
        loop = bench.compiled("timed_blocks", folder)
        samples = samples_of(bench.record_command(folder / "true", gadget, "/bin/true"))
        peak = max(sample.shared_once for sample in samples)
        largest = max(sample.largest for sample in samples)
        figures = f"{peak / MIB:.0f} MiB ({LIMIT_MB} MB wanted), largest process {largest / MIB:.0f} MiB"
        print(f"/bin/true: {figures}")
        options = f"--no-pairs --symbols late --duration {soak_s}"
        command = bench.record_command(folder / "soak", gadget, loop, str(1 << 62), options=options)
        _show_soak(samples_of(command), json.loads((folder / "soak/recording.json").read_text()))


def _show_soak(samples: list[Sample], header: dict[str, object]) -> None:
    counters = header["counters"]
    assert isinstance(counters, dict)
    print(f"soak: {counters['events']:,} events, {counters['lost']} lost")
    print(f"  {'second':>8} {'MiB':>8} {'largest process, MiB':>22}")
    for sample in samples[:: max(1, len(samples) // ROWS)]:
        print(f"  {sample.seconds:8.1f} {sample.shared_once / MIB:8.0f} {sample.largest / MIB:22.0f}")
    half = len(samples) // 2
    first, second = (max(s.shared_once for s in part) for part in (samples[:half], samples[half:]))
    print(f"  most in the first half {first / MIB:.0f} MiB, in the second {second / MIB:.0f} MiB")


def samples_of(command: list[str]) -> list[Sample]:
    """Run *command* and return what the recorder took meanwhile."""
    began_s = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    samples = []
    while process.poll() is None:
        sample = _sampled(process.pid, time.monotonic() - began_s)
        if sample.n_processes:
            samples.append(sample)
        time.sleep(SAMPLE_S)
    return samples


def _sampled(recorder: int, seconds: float) -> Sample:
    """Return what the processes of *recorder* take now; what it records is left out."""
    sizes = [size for pid in _processes(recorder) if (size := _sizes(pid)) is not None]
    largest = max((high for _, high in sizes), default=0)
    return Sample(seconds, sum(shared for shared, _ in sizes), largest, len(sizes))


def _sizes(pid: int) -> tuple[int, int] | None:
    """Return PSS and VmHWM of process *pid*, in bytes; None if it is gone, or not the recorder's."""
    folder = Path(f"/proc/{pid}")
    try:
        if b"gadgetops" not in (folder / "cmdline").read_bytes():
            return None
        return _field(folder / "smaps_rollup", "Pss:"), _field(folder / "status", "VmHWM:")
    except (OSError, StopIteration):
        return None


def _field(path: Path, name: str) -> int:
    line = next(line for line in path.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def _processes(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = [each for task in Path(f"/proc/{pid}/task").iterdir() for each in _children(task)]
    except OSError:
        return
    for child in children:
        yield from _processes(child)


def _children(task: Path) -> list[int]:
    return [*map(int, (task / "children").read_text().split())]


if __name__ == "__main__":
    main()
