"""A server under load that runs until it is killed: tests/workloads/paced.c."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STARTS_S = 0.5


@contextmanager
def running_paced(program: Path, spin: int) -> Iterator[int]:
    """Give the process id of *program*, compiled; one thread counts to *spin* between requests."""
    with subprocess.Popen([program, "1", str(spin)], stdout=subprocess.DEVNULL) as process:
        time.sleep(STARTS_S)
        yield process.pid
        process.kill()
