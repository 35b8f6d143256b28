"""Time of `leaks` over a million events, beside heaptrack_print on the same program where it is installed."""

import shutil
from pathlib import Path

import side_by_side as bench

N_CALLS = 1_000_000
TIMES = 3


def main() -> None:
    """Record half a million malloc() and free() with both tools, and ask both."""
    with bench.working_folder() as folder:
        command = [bench.compiled("blocks", folder), str(folder / "truth"), str(N_CALLS // 2)]
        ours_s = _leaks_s(folder, command)
        other = _other(folder, command)
    bench.show("leaks at a million calls", "s", ("gadgetops leaks", ours_s), other)


def _leaks_s(folder: Path, command: list[str]) -> float:
    recording = folder / "leaks.gadgetrec"
    bench.run(bench.record_command(recording, bench.built_gadget(folder), *command))
    print(f"{bench.counters(recording)}")
    return bench.seconds([*bench.GADGETOPS, "leaks", str(recording)], TIMES)


def _other(folder: Path, command: list[str]) -> tuple[str, float]:
    if shutil.which("heaptrack") is None:
        print("heaptrack is not installed; beside it stands the start of gadgetops")
        return "gadgetops --help", bench.seconds([*bench.GADGETOPS, "--help"], TIMES)
    bench.run(["heaptrack", "-o", str(folder / "heaptrack"), *command])
    data = next(folder.glob("heaptrack.*"))
    return "heaptrack_print", bench.seconds(["heaptrack_print", str(data)], TIMES)


if __name__ == "__main__":
    main()
