"""Time of `--help`, beside the start of Python."""

import sys

import side_by_side as bench

TIMES = 10


def main() -> None:
    """Ask for help, of the whole and of a verb."""
    python = ("python -c pass", bench.seconds([sys.executable, "-c", "pass"], TIMES))
    for arguments in (["--help"], ["record", "--help"]):
        command = [*bench.GADGETOPS, *arguments]
        bench.show("help", "s", (f"gadgetops {' '.join(arguments)}", bench.seconds(command, TIMES)), python)


if __name__ == "__main__":
    main()
