"""
What a traced program pays, beside heaptrack: three as people run them, and two that do little but allocate.

Each program says itself how long it took. The less time a program spends between two calls, the more it is
slowed down: below, the calls of a second say how much that is. Last, what the probes alone take of the loop,
with programs that do nothing: less is not to be had.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import side_by_side as bench

from gadgetops.trace.kernel.libbpf import LoadedObject
from gadgetops.trace.probes.allocator import allocators_of_command
from gadgetops.trace.probes.attach import Attached, Probes

TIMES = 3
N_CALLS = 500_000
PERL = """
use Time::HiRes qw(time);
my ($start, %seen, @lines) = time;
for my $n (1 .. 100_000) {
    my $word = "word " . $n * 7919 % 5003;
    $seen{$word}++;
    push @lines, "$word: $seen{$word}";
}
my @sorted = split /\n/, join "\n", sort @lines;
printf "took %.6f s\n", time - $start;
"""
PYTHON = """
import json, time
start = time.perf_counter()
for n in range(60):
    rows = [{"name": f"row {i}", "values": [i, str(i) * 3]} for i in range(400)]
    json.loads(json.dumps(rows, indent=1))
print(f"took {time.perf_counter() - start:.6f} s")
"""
TOOK = re.compile(r"took ([0-9.]+) s|performance: ([0-9.]+) s: git command")
WAYS = {"stacks off": "--no-stacks", "frame pointers": "--unwind fp", "unwinding": "--unwind dwarf"}
LIMITS = {"stacks off": 1.5, "frame pointers": 2.5, "unwinding": 4}
"""Times as long as under heaptrack, at most: what is wanted."""
PROBES = {"at_malloc": ("malloc", False), "at_return": ("malloc", True), "at_free": ("free", False)}
EMPTY = """
#define PROBE(name, kind) __attribute__((section(kind "/x"), used)) int name(void *ctx) { return 0; }
PROBE(at_malloc, "uprobe")
PROBE(at_return, "uretprobe")
PROBE(at_free, "uprobe")
char terms[] __attribute__((section("license"), used)) = "GPL";
"""


def main() -> None:
    """Run every program alone, under heaptrack, and recorded in every way."""
    os.environ["GIT_TRACE_PERFORMANCE"] = "1"
    with bench.working_folder() as folder:
        gadget = bench.built_gadget(folder)
        history = ["git", "-C", str(bench.ROOT), "log", "-p", "--output=/dev/null"]
        _compare(folder, gadget, "git log -p", history)
        _compare(folder, gadget, "python3", ["/usr/bin/python3", "-c", PYTHON])
        (folder / "lines.pl").write_text(PERL)
        _compare(folder, gadget, "perl", ["/usr/bin/perl", str(folder / "lines.pl")])
        # Else Python takes its memory in large pieces, and there is little to see.
        os.environ["PYTHONMALLOC"] = "malloc"
        _compare(folder, gadget, "python3 with PYTHONMALLOC=malloc", ["/usr/bin/python3", "-c", PYTHON])
        loop = [bench.compiled("timed_blocks", folder), str(N_CALLS)]
        heaptrack_s = _compare(folder, gadget, "malloc() and free() in a loop", loop)
        _show_probes_alone(folder, heaptrack_s)


def _compare(folder: Path, gadget: Path, name: str, command: list[str]) -> float:
    """Print how long *command* takes in every way, and return how long under heaptrack, in seconds."""
    alone_s = _took_s(command)
    heaptrack_s = _took_s(["heaptrack", "-o", str(folder / "heaptrack"), *command])
    print(f"{name}: alone {alone_s:.3f} s, under heaptrack {heaptrack_s:.3f} s")
    for way, option in WAYS.items():
        recording = folder / "recording"
        options = f"{option} --symbols late --no-pairs"
        recorded_s = _took_s(bench.record_command(recording, gadget, *command, options=options), recording)
        counters = bench.counters(recording)
        each_us = (recorded_s - alone_s) / counters["events"] * 1e6
        print(
            f"  {way:<16} {recorded_s:>8.3f} s  ratio {recorded_s / heaptrack_s:>6.2f} ({LIMITS[way]} wanted)"
            f"  {counters['events']:,} events, {counters['lost']} lost, {each_us:.2f} us each"
        )
    print(f"  alone, {counters['events'] / alone_s:,.0f} calls a second")
    return heaptrack_s


def _took_s(command: list[str], recording: Path | None = None) -> float:
    times = []
    for _ in range(TIMES):
        if recording is not None:
            shutil.rmtree(recording, ignore_errors=True)
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = TOOK.search(done.stdout + done.stderr)
        if found is None:
            raise SystemExit(f"{command}: {done.stdout}{done.stderr}")
        times.append(float(found[1] or found[2]))
    return min(times)


def _show_probes_alone(folder: Path, heaptrack_s: float) -> None:
    """Print what probes cost whose programs do nothing, of a program that has its allocator in itself."""
    program, empty = bench.compiled("timed_blocks", folder, "-static"), folder / "empty.o"
    (folder / "empty.c").write_text(EMPTY)
    bench.run(["clang", "-target", "bpf", "-O2", "-c", str(folder / "empty.c"), "-o", str(empty)])
    (allocator,) = allocators_of_command(Path(program))
    with LoadedObject(empty.read_bytes(), "bench") as bpf:
        bpf.load()
        probes = Probes(bpf, Attached(), "prologue")
        for name, (function, at_return) in PROBES.items():
            probes.attach(name, function, allocator, at_return=at_return)
        took_s = _took_s([program, str(N_CALLS)])
    print(f"  probes alone     {took_s:>8.3f} s  ratio {took_s / heaptrack_s:>6.2f}")


if __name__ == "__main__":
    main()
