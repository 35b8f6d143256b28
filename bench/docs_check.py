"""Time of `docs --check`, beside the start of Python."""

import sys

import side_by_side as bench

TIMES = 10


def main() -> None:
    """Check this checkout's documents."""
    check_s = bench.seconds([*bench.GADGETOPS, "docs", "--check"], TIMES)
    python_s = bench.seconds([sys.executable, "-c", "pass"], TIMES)
    bench.show("docs --check", "s", ("gadgetops docs --check", check_s), ("python -c pass", python_s))


if __name__ == "__main__":
    main()
