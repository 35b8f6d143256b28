"""
What it costs to see returns at return instructions, where a return probe could break a program.

The same program, pairs of malloc() and free() of jemalloc: alone, recorded with return instructions, as
`record` does it where one may harm, and with return probes.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from side_by_side import GADGETOPS, built_gadget, compiled, record_command, show, working_folder

N_CALLS = 200_000
TIMES = 3
OPTIONS = "--symbols late --no-pairs"
PROFILER = "prof:true,prof_active:false"
"""It could be switched on while the program runs: return probes might break it."""
WITH_RETURN_PROBES = """
import sys
from gadgetops import commands
from gadgetops.trace.probes import allocator, attach
attach.why_no_return_probe = lambda executable, function, witnesses: None
allocator.is_return_seen = lambda executable, function, witnesses: True
sys.exit(commands.main(sys.argv[1:]))
"""


def program_seconds(command: list[str], library: str, recording: Path) -> float:
    """Return how long the program itself ran inside *command*, which it says on standard output."""
    environment = os.environ | {"LD_PRELOAD": library, "MALLOC_CONF": PROFILER}
    times = []
    for _ in range(TIMES):
        shutil.rmtree(recording, ignore_errors=True)
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        times.append(float(done.stdout.rpartition("timed_blocks took ")[2].split()[0]))
    return min(times)


def main() -> None:
    """Measure and show."""
    library = subprocess.check_output(["gcc", "-print-file-name=libjemalloc.so.2"], text=True).strip()
    with working_folder() as folder:
        program, gadget = compiled("timed_blocks", folder), built_gadget(folder)
        recording = folder / "recording"
        alone = program_seconds([program, str(N_CALLS)], library, recording)
        for stacks, title in (("--no-stacks", "stacks off"), ("", "stacks")):
            command = record_command(recording, gadget, program, N_CALLS, options=f"{OPTIONS} {stacks}")
            other = [sys.executable, "-c", WITH_RETURN_PROBES, *command[len(GADGETOPS) :]]
            ways = {"return instructions": command, "return probes": other}
            us = {
                way: (program_seconds(line, library, recording) - alone) / N_CALLS * 1e6
                for way, line in ways.items()
            }
            show(f"what a pair of malloc() and free() pays, {title}", "us", *us.items())


if __name__ == "__main__":
    main()
