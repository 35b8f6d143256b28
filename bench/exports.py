"""Time and memory of every export of ten million events, beside the answer that reads as much."""

import sys

import side_by_side as bench
from questions import MEMORY_LIMIT_MB, N_CYCLES, N_VARIANTS, cost

sys.path.insert(0, str(bench.ROOT / "tests"))

from services.synthetic import write_synthetic

FORMATS = ["folded", "pprof", "speedscope", "perfetto", "csv", "parquet", "ndjson"]


def main() -> None:
    """Convert a synthetic recording into every format, each in a process; fail if one takes over 2 GiB."""
    with bench.working_folder() as folder:
        recording = str(write_synthetic(folder / "ten_million", N_CYCLES, N_VARIANTS))
        cost([*bench.GADGETOPS, "leaks", recording])
        reading_s, worst_mb = cost([*bench.GADGETOPS, "top", recording, "--min-size", "1"])
        print(f"{'top, of every allocation':<26} {reading_s:>8.2f} s {worst_mb:>8,.0f} MB")
        for to in FORMATS:
            output = folder / to
            taken_s, used_mb = cost(
                [*bench.GADGETOPS, "convert", recording, "--quiet", "--to", to, "-o", str(output)]
            )
            worst_mb = max(worst_mb, used_mb)
            size_mb = output.stat().st_size / 1e6
            output.unlink()
            ratio = f"ratio {taken_s / reading_s:.2f}"
            print(
                f"{to:<26} {taken_s:>8.2f} s {used_mb:>8,.0f} MB  {ratio}, file {size_mb:,.1f} MB", flush=True
            )
    if worst_mb > MEMORY_LIMIT_MB:
        raise SystemExit(f"{worst_mb:,.0f} MB is more than {MEMORY_LIMIT_MB:,} MB")


if __name__ == "__main__":
    main()
