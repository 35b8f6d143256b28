"""Events kept of a million calls in a tight loop, stacks on, beside the calls made."""

import side_by_side as bench

N_CALLS = 1_000_000


def main() -> None:
    """Record half a million malloc() and free()."""
    with bench.working_folder() as folder:
        recording, gadget = folder / "kept.gadgetrec", bench.built_gadget(folder)
        command = [bench.compiled("blocks", folder), str(folder / "truth"), str(N_CALLS // 2)]
        untraced_s = bench.seconds(command)
        traced_s = bench.seconds(bench.record_command(recording, gadget, *command))
        counters = bench.counters(recording)
    bench.show("events kept", "events", ("kept", counters["events"]), ("made", N_CALLS))
    print(f"  lost, and counted: {counters['lost']:,}; unaccounted for: {N_CALLS - sum(_made(counters)):,}")
    bench.show("time of the whole", "s", ("recorded", traced_s), ("untraced", untraced_s))


def _made(counters: dict[str, int]) -> tuple[int, int]:
    return counters["events"], counters["lost"]


if __name__ == "__main__":
    main()
