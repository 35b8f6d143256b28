"""Events kept of a million calls in a tight loop, with stacks of either kind, beside the calls made."""

from pathlib import Path

import side_by_side as bench

N_CALLS = 1_000_000
WAYS = ("fp", "dwarf")


def main() -> None:
    """Record half a million malloc() and free() by frame pointers, and then by slices."""
    with bench.working_folder() as folder:
        gadget = bench.built_gadget(folder)
        command = [bench.compiled("blocks", folder), str(folder / "truth"), str(N_CALLS // 2)]
        untraced_s = bench.seconds(command)
        for unwind in WAYS:
            _show(unwind, folder / f"{unwind}.gadgetrec", gadget, command, untraced_s)


def _show(unwind: str, recording: Path, gadget: Path, command: list[str], untraced_s: float) -> None:
    traced_s = bench.seconds(bench.record_command(recording, gadget, *command, options=f"--unwind {unwind}"))
    counters = bench.counters(recording)
    kept, lost = counters["events"], counters["lost"]
    bench.show(f"events kept, --unwind {unwind}", "events", ("kept", kept), ("made", N_CALLS))
    print(f"  lost, and counted: {lost:,}; unaccounted for: {N_CALLS - kept - lost:,}")
    print(f"  stacks that failed: {counters['failed_stacks']:,}")
    bench.show("time of the whole", "s", ("recorded", traced_s), ("untraced", untraced_s))


if __name__ == "__main__":
    main()
