"""Bytes stored per event, beside those of the same events as rows of the eight columns."""

import side_by_side as bench

N_BLOCKS = 250_000
ROW_BYTES = 8 + 8 + 4 + 4 + 1 + 8 + 8 + 4 + 8


def main() -> None:
    """Record a program that fits into no ring buffer."""
    with bench.working_folder() as folder:
        recording, gadget = folder / "bytes.gadgetrec", bench.built_gadget(folder)
        command = [bench.compiled("blocks", folder), folder / "truth", N_BLOCKS]
        bench.run(bench.record_command(recording, gadget, *command))
        n_events = bench.counters(recording)["events"]
        n_bytes = sum(file.stat().st_size for file in recording.iterdir())
    bench.show("stored", "bytes/event", ("recording", n_bytes / n_events), ("plain rows", ROW_BYTES))


if __name__ == "__main__":
    main()
