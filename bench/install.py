"""What an installation takes: bytes of the wheel and on the disk, seconds of `--help` and `doctor`."""

import subprocess
import sys
from pathlib import Path

import side_by_side as bench

ROOT = Path(__file__).parents[1]
MOST_WHEEL_BYTES = 3_000_000
MOST_INSTALLED_BYTES = 200_000_000
SHOWN = 8


def main() -> None:
    """Install the wheel into a fresh environment and weigh it; exit 1 where it is too heavy."""
    with bench.working_folder() as folder:
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        wheel = next(folder.glob("*.whl"))
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        packages = next((folder / "venv").glob("lib/python*/site-packages"))
        before = {place.name for place in packages.iterdir()}
        pip = [str(folder / "venv/bin/pip"), "install", "-q", "--disable-pip-version-check", str(wheel)]
        subprocess.run(pip, check=True)
        sizes = {place.name: disk_bytes(place) for place in packages.iterdir() if place.name not in before}
        for name, size_bytes in sorted(sizes.items(), key=lambda each: -each[1])[:SHOWN]:
            print(f"  {name[:38]:38} {size_bytes / 1e6:11.1f} MB")
        gadgetops = str(folder / "venv/bin/gadgetops")
        subprocess.run([gadgetops, "--help"], check=True, capture_output=True)
        seconds = {verb: bench.seconds([gadgetops, verb], times=5) for verb in ("--help", "doctor")}
        wheel_bytes, installed_bytes = wheel.stat().st_size, sum(sizes.values())
    allowed = ("at most", MOST_INSTALLED_BYTES / 1e6)
    bench.show("wheel", "MB", ("gadgetops", wheel_bytes / 1e6), ("at most", MOST_WHEEL_BYTES / 1e6))
    bench.show("installed", "MB", ("gadgetops", installed_bytes / 1e6), allowed)
    for verb, most in (("--help", 0.1), ("doctor", 1.0)):
        bench.show(f"gadgetops {verb}", "s", ("gadgetops", seconds[verb]), ("at most", most))
    if wheel_bytes > MOST_WHEEL_BYTES or installed_bytes > MOST_INSTALLED_BYTES:
        sys.exit("too large")


def disk_bytes(place: Path) -> int:
    """Return what a file or folder takes on the disk."""
    return sum(file.lstat().st_blocks * 512 for file in [place, *place.rglob("*")])


if __name__ == "__main__":
    main()
