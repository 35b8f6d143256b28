"""
What a traced program pays for the place of the probes.

The same program, 500,000 pairs of malloc() and free(): alone, traced with probes where they cost least,
at the symbols, and by heaptrack; and how long one hit of a probe takes by the instruction that it stands on.
"""

import shutil
import subprocess
import time
from pathlib import Path

from side_by_side import CFLAGS, built_gadget, compiled, record_command, run, show, working_folder

from gadgetops.trace.kernel.libbpf import LoadedObject
from gadgetops.trace.probes.allocator import allocators_of_command
from gadgetops.trace.probes.executable import read_executable

N_CALLS = 500_000
TIMES = 2
N_HITS = 50_000
INSTRUCTIONS = {
    "push %rbp": "push %rbp; pop %rbp",
    "nop": "nop",
    "jmp": "jmp 1f; 1:",
    "je": "je 1f; 1:",
    "call": "call 1f; jmp 2f; 1: ret; 2:",
    "endbr64": "endbr64",
    "test %rdi,%rdi": "test %rdi,%rdi",
    "mov %rdi,%rax": "mov %rdi,%rax",
    "sub $24,%rsp": "sub $24,%rsp; add $24,%rsp",
}


def traced_seconds(command: list[str]) -> float:
    """Return how long the program itself ran inside *command*, which it says on standard output."""
    return min(_took(_output(command)) for _ in range(TIMES))


def _took(output: str) -> float:
    return float(output.rpartition("timed_blocks took ")[2].split()[0])


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def slowdowns(folder: Path, gadget: Path) -> None:
    """Compare the ways to trace one program."""
    program = compiled("timed_blocks", folder)
    calls = str(N_CALLS)
    alone = traced_seconds([program, calls])
    ways = {}
    for stacks in ("--no-stacks", ""):
        for place in ("prologue", "symbol"):
            options = f"{stacks} --symbols late --no-pairs --probe-at {place}"
            ways[place, stacks] = _recorded(folder, gadget, program, options)
    for stacks, title in (("--no-stacks", "stacks off"), ("", "frame pointers")):
        at_prologue, at_symbol = ways["prologue", stacks], ways["symbol", stacks]
        ours, theirs = ("at the prologue", at_prologue), ("at the symbol", at_symbol)
        show(f"time of the program, {title}", "s", ours, theirs)
        show(
            f"time that tracing adds, {title}",
            "s",
            ("at the prologue", at_prologue - alone),
            ("at the symbol", at_symbol - alone),
        )
        if shutil.which("heaptrack"):
            command = ["heaptrack", "-o", str(folder / "heaptrack"), program, calls]
            other = traced_seconds(command)
            show(f"against heaptrack, {title}", "s", ours, ("heaptrack", other))
        else:
            print("heaptrack is not on PATH: not compared")


def _recorded(folder: Path, gadget: Path, program: str, options: str) -> float:
    recording = folder / "recording"
    times = []
    for _ in range(TIMES):
        command = record_command(recording, gadget, program, N_CALLS, options=options)
        times.append(_took(_output(command)))
        shutil.rmtree(recording)
    return min(times)


def instructions(folder: Path, gadget: Path) -> None:
    """Print how long a hit takes, by instruction: what the kernel emulates shows."""
    program = _instruction_program(folder)
    executable = read_executable(program)
    print("time of one hit of a probe, by instruction")
    with LoadedObject(gadget.read_bytes(), "bench") as bpf:
        bpf.load()
        for number in range(len(INSTRUCTIONS)):
            (function,) = executable.functions(f"f{number}", exported_only=False)
            bpf.attach_uprobe("trace_uprobe_free", program, [function.offset_bytes], at_return=False)
        taken_us = {
            name: min(_hit_seconds(program, number) for _ in range(TIMES)) * 1e6 / N_HITS
            for number, name in enumerate(INSTRUCTIONS)
        }
    for name, each_us in taken_us.items():
        print(f"  {name:<44} {each_us:>14,.3f} us")
    prologue, symbol = ((name, taken_us[name]) for name in ("push %rbp", "test %rdi,%rdi"))
    show("time of one hit of glibc's free(), at its prologue and its symbol", "us", prologue, symbol)


def _instruction_program(folder: Path) -> Path:
    functions = "".join(
        f".globl f{n}\n.type f{n},@function\nf{n}: {body}\nret\n.size f{n},.-f{n}\n"
        for n, body in enumerate(INSTRUCTIONS.values())
    )
    (folder / "i.s").write_text(functions + '.section .note.GNU-stack,"",@progbits\n')
    names = [f"f{n}" for n in range(len(INSTRUCTIONS))]
    source = "#include <stdlib.h>\n" + "".join(f"void {name}(long);\n" for name in names)
    source += f"void (*all[])(long) = {{ {', '.join(names)} }};\n"
    source += "int main(int c, char **v) { for (long n = atol(v[2]); n > 0; n--) all[atoi(v[1])](0); }\n"
    (folder / "i.c").write_text(source)
    run(["gcc", *CFLAGS, str(folder / "i.c"), str(folder / "i.s"), "-o", str(folder / "i")])
    return folder / "i"


def _hit_seconds(program: Path, number: int) -> float:
    start = time.perf_counter()
    run([str(program), str(number), str(N_HITS)])
    return time.perf_counter() - start


def main() -> None:
    """Compare, on this machine's C library."""
    found = allocators_of_command(Path("/bin/true"))
    print(f"allocator: {', '.join(str(allocator.path) for allocator in found)}")
    with working_folder() as folder:
        gadget = built_gadget(folder)
        instructions(folder, gadget)
        slowdowns(folder, gadget)


if __name__ == "__main__":
    main()
