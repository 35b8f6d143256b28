"""Programs with many stacks: what is lost, how long it takes, and the memory of all processes at the end."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import side_by_side as bench

from gadgetops.recording.reader import open_recording

LIMIT_MIB = 1024
INTERVAL_S = 0.1
HELLO = 'public class Hello { public static void main(String[] a) { System.out.println("hello"); } }'
NUMPY = """
import json
import numpy as np

def rooted(x): return np.sqrt(x) + x

kept = [rooted(np.ones(i % 50 + 1)) for i in range(2000)]
kept.append([json.loads(json.dumps({"a": i, "b": [1, 2, {"x": i}]})) for i in range(200)])
"""
NODE = "let kept = []; for (let i = 0; i < 2e4; i++) kept.push(JSON.parse(JSON.stringify({a: [i, 'x' + i]})))"
PERL = "my @kept; for my $i (1..20000) { push @kept, { a => [$i, 'x' x 200] }; }"
WITHOUT_STACK = """
    select count(*) from events
    where stack_id >= 0 and stack_id not in (select stack_id from stacks where len(frame_ids) > 0)
"""


def main() -> None:
    """Record each program that is here."""
    with bench.working_folder() as folder:
        gadget = bench.built_gadget(folder)
        (folder / "Hello.java").write_text(HELLO)
        (folder / "many.py").write_text(NUMPY)
        (folder / "many.c").write_text("#include <stdio.h>\nint main(void) { return 0; }\n")
        commands = {
            "javac": ["javac", "-d", folder, folder / "Hello.java"],
            "java": ["java", "-cp", folder, "Hello"],
            "numpy": [sys.executable, folder / "many.py"],
            "node": ["node", "-e", NODE],
            "perl": ["perl", "-e", PERL],
            "gcc": ["gcc", "-O2", "-c", folder / "many.c", "-o", folder / "many.o"],
        }
        for name, command in commands.items():
            if shutil.which(str(command[0])) is not None:
                one(name, folder / name, bench.record_command(folder / name, gadget, *command))


def one(name: str, recording: Path, command: list[str]) -> None:
    """Record, and show what came of it."""
    start = time.monotonic()
    environment = os.environ | {"PYTHONMALLOC": "malloc"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        peak_mib = max(ending_mib(process), default=0)
    took_s = time.monotonic() - start
    header = json.loads((recording / "recording.json").read_text())
    counters = header["counters"]
    with open_recording(recording).connect() as connection:
        [(n_without,)] = connection.execute(WITHOUT_STACK).fetchall()
    print(
        f"{name}: {counters['events']:,} events, {counters['lost']:,} lost, {counters['slices']:,} slices, "
        f"{counters['walked_stacks']:,} walked; {n_without:,} events without a stack; {took_s:.1f} s; "
        f"the ending took {peak_mib:,} MiB at most (limit: {LIMIT_MIB:,})"
    )


def ending_mib(process: "subprocess.Popen[bytes]") -> Iterator[int]:
    """Measure the recorder and its helpers, shared memory once, whenever the target is not there any more."""
    while process.poll() is None:
        own = [pid for pid in tree(process.pid) if is_ours(pid)]
        if len(own) == len(tree(process.pid)):
            yield sum(map(resident_kib, own)) >> 10
        time.sleep(INTERVAL_S)


def tree(pid: int) -> list[int]:
    """The process and what it started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in tree(int(child)))]


def is_ours(pid: int) -> bool:
    """Whether it runs this program."""
    try:
        return b"gadgetops" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def resident_kib(pid: int) -> int:
    """What it has in memory; of what several share, its part."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
