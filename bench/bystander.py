"""The time of a program on the same C library, while another is recorded and while nothing is."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import side_by_side as bench

N_BLOCKS = 200_000
TIMES = 5
READY_S = 2


def main() -> None:
    """Time the bystander alone, then beside a program that is recorded and idle."""
    with bench.working_folder() as folder:
        bystander = [bench.compiled("blocks", folder), str(folder / "truth"), str(N_BLOCKS)]
        untraced_s = bench.seconds(bystander, TIMES)
        with _recorded_sleep(folder):
            beside_s = bench.seconds(bystander, TIMES)
    bench.show(
        "bystander", "s", ("beside a recorded program", beside_s), ("with nothing recorded", untraced_s)
    )


@contextmanager
def _recorded_sleep(folder: Path) -> Iterator[None]:
    """A program under `record` that does nothing: what is measured is the probes' cost to others."""
    command = bench.record_command(folder / "sleep.gadgetrec", bench.built_gadget(folder), "sleep", 1000)
    recorder = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        time.sleep(READY_S)
        if recorder.poll() is not None:
            raise SystemExit("`record` ended early")
        yield
    finally:
        # The whole session: a command outlives its recording.
        os.killpg(recorder.pid, signal.SIGTERM)
        recorder.wait()


if __name__ == "__main__":
    main()
