"""The time of a program on the same C library, while another is recorded and while nothing is."""

import subprocess
from pathlib import Path

import side_by_side as bench

N_BLOCKS = 200_000
TIMES = 5
READY_S = 2


def main() -> None:
    """Time the bystander in turns beside a program that is recorded and idle."""
    with bench.working_folder() as folder:
        bystander = [bench.compiled("blocks", folder), str(folder / "truth"), str(N_BLOCKS)]
        untraced_s = bench.seconds(bystander, TIMES)
        with _recorded_sleep(folder):
            beside_s = bench.seconds(bystander, TIMES)
    bench.show(
        "bystander", "s", ("beside a recorded program", beside_s), ("with nothing recorded", untraced_s)
    )


class _recorded_sleep:  # noqa: N801 - reads as the context it is
    """A program under `record` that does nothing: what is measured is the probes' cost to others."""

    def __init__(self, folder: Path) -> None:
        command = bench.record_command(folder / "sleep.gadgetrec", bench.built_gadget(folder), "sleep", 1000)
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def __enter__(self) -> None:
        """Wait until the probes are surely in place."""
        try:
            self._process.wait(READY_S)
        except subprocess.TimeoutExpired:
            return
        raise SystemExit("`record` ended early")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


if __name__ == "__main__":
    main()
