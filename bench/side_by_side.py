"""What the scripts of this folder share: a gadget, a workload, clocks, and two figures beside each other."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
GADGETOPS = [sys.executable, "-m", "gadgetops"]
CFLAGS = ["-g", "-O1", "-fno-builtin", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-pthread"]
# As for everybody who installed it: what is imported was compiled before.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
OBJECT_OF_MACHINE = {"x86_64": "amd64.bpf.o", "aarch64": "arm64.bpf.o"}


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder for what a script makes, gone afterwards."""
    # What pairs recordings beside their recorder may still write.
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def compiled(workload: str, folder: Path, *options: str) -> str:
    """Compile a program of tests/workloads, in place of one that was compiled with other options."""
    program = folder / workload
    source = ROOT / "tests/workloads" / f"{workload}.c"
    subprocess.run([shutil.which("gcc") or "clang", *CFLAGS, *options, source, "-o", program], check=True)
    return str(program)


def built_gadget(folder: Path) -> Path:
    """Compile the gadget of this checkout."""
    run([*GADGETOPS, "build", str(ROOT), "-o", str(folder / "gadget")])
    return folder / "gadget" / OBJECT_OF_MACHINE[os.uname().machine]


def record_command(recording: Path, gadget: Path, *command: object, options: str = "") -> list[str]:
    """Return the arguments that record *command* into the folder *recording*."""
    arguments = ["record", "-o", recording, "--image", gadget, *options.split(), "--", *command]
    return [*GADGETOPS, *map(str, arguments)]


def run(command: Sequence[str]) -> None:
    """Run a command whose output nobody wants to see, unless it fails."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {result.stdout}{result.stderr}")


def seconds(command: Sequence[str], times: int = 1) -> float:
    """Return the median wall-clock time of a command."""
    return statistics.median(_seconds_once(command) for _ in range(times))


def _seconds_once(command: Sequence[str]) -> float:
    start = time.perf_counter()
    run(command)
    return time.perf_counter() - start


def counters(recording: Path) -> dict[str, int]:
    """Return the counters of a recording."""
    header: dict[str, Any] = json.loads((recording / "recording.json").read_text())
    return dict(header["counters"])


def show(title: str, unit: str, ours: tuple[str, float], other: tuple[str, float]) -> None:
    """Print two figures and their ratio."""
    print(title)
    for name, value in (ours, other):
        print(f"  {name:<44} {value:>14,.3f} {unit}")
    print(f"  {'ratio':<44} {ours[1] / other[1]:>14,.3f}")
