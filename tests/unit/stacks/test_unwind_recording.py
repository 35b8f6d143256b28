"""Memory is bounded, however many slices there are, and what fails costs no stack but its own."""

import os
import platform
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gadgetops.elf import Elf
from gadgetops.recording.reader import open_recording
from gadgetops.recording.schema import ModuleRow, SliceRow
from gadgetops.recording.writer import RecordingWriter, StackAppender
from gadgetops.stacks.naming.symbolize import Finder
from gadgetops.stacks.unwinding import recorded_slices, unwind_pool, unwind_recording
from gadgetops.stacks.unwinding.batch_unwinder import Lockstep
from gadgetops.stacks.unwinding.unwind_recording import Unwinding

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the program is one of x86-64")

SOURCE = """
.text
.globl _start, leaf
_start: .cfi_startproc
.cfi_undefined rip
nop; nop
.cfi_endproc
leaf: .cfi_startproc
nop; nop
.cfi_endproc
.section .note.GNU-stack,"",@progbits
"""
START = 0x7FFC00000000
N_SLICES = 60
N_LARGE, LARGE_BYTES = 2500, 256 << 10
MOST_RESIDENT_KIB = 600 << 10


class Program:
    """A file, and an address in each of its functions."""

    def __init__(self, folder: Path) -> None:
        (folder / "a.s").write_text(SOURCE)
        self.path = folder / "program"
        command = ["gcc", "-nostdlib", "-static", "-Wl,--eh-frame-hdr", folder / "a.s", "-o", self.path]
        subprocess.run(command, check=True)
        elf = Elf.from_file(self.path)
        places = {symbol.name: symbol.value for symbol in elf.symbols}
        self.start, self.leaf = places["_start"] + 1, places["leaf"] + 1
        self.code = next(each for each in elf.segments if each.is_executable)

    def stack(self, depth: int) -> list[int]:
        """One that is `depth` calls deep."""
        return [self.leaf] * depth + [self.start]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture
def recording(program: Program, tmp_path: Path) -> Path:
    """Slices of different depths, a few to a file."""
    path = tmp_path / "r.gadgetrec"
    writer = RecordingWriter.create(path, {"host": {"machine": "x86_64"}})
    code = program.code
    end = code.address + 4096
    writer.write_modules([ModuleRow(0, 1, str(program.path), None, code.address, end, code.offset_bytes, 0)])
    for number in range(N_SLICES):
        writer.write_slices([slice_row(number, program.stack(number + 1))])
        if number % 7 == 6:
            writer.close_segment()
    writer.close(counters={}, end="complete")
    return path


def slice_row(number: int, addresses: list[int]) -> SliceRow:
    registers = [0] * 17
    registers[7], registers[16] = START, addresses[0]
    memory = struct.pack(f"<{len(addresses) - 1}Q", *addresses[1:])
    return SliceRow(number, 1, number, struct.pack("<17Q", *registers), memory, [0])


def stacks(path: Path) -> dict[int, list[int]]:
    """The stacks of a recording, by their numbers."""
    query = """
        select stack_id, list(address order by position)
        from (
            select stack_id, unnest(frame_ids) as frame_id, generate_subscripts(frame_ids, 1) as position
            from stacks
        )
        join stored_frames using (frame_id)
        group by stack_id
    """
    with open_recording(path).connect() as connection:
        return dict(connection.execute(query).fetchall())


def expected(program: Program) -> dict[int, list[int]]:
    return {number: program.stack(number + 1) for number in range(N_SLICES)}


def unwind(path: Path, **options: Any) -> Unwinding:
    unwinding = Unwinding(
        open_recording(path), options.pop("finder", Finder()), options.pop("leaves_missing", False)
    )
    with StackAppender(path) as sink:
        unwinding.write(sink, **{"keep_slices": False, **options})
    return unwinding


SYMBOLIZE_AND_TELL = """
import atexit, pathlib, resource, sys
from gadgetops.commands import main

@atexit.register
def tell():
    status = pathlib.Path("/proc/self/status").read_text()
    print(status.partition("VmHWM:")[2].split()[0], resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)

sys.argv = ["gadgetops", "symbolize", "-q", sys.argv[1]]
sys.exit(main())
"""
"""Prints how many KiB it and its children took at most; wait4(2) counts what the parent had, too."""


def test_memory_does_not_grow_with_slices(tmp_path: Path) -> None:
    """640 MB of them, as a program with deep stacks sends in a second, in less memory than that."""
    path = tmp_path / "large.gadgetrec"
    writer = RecordingWriter.create(path, {"host": {"machine": "x86_64"}})
    for number in range(N_LARGE):
        registers = struct.pack("<17Q", *[0] * 7, START, *[0] * 8, 0x1000)
        writer.write_slices([SliceRow(number, 1 + number % 3, number, registers, bytes(LARGE_BYTES), [])])
        writer.tick()
    writer.close(counters={}, end="complete")
    done = subprocess.run(
        [sys.executable, "-c", SYMBOLIZE_AND_TELL, path], stdout=subprocess.PIPE, text=True, check=True
    )
    assert max(map(int, done.stdout.split())) < MOST_RESIDENT_KIB
    assert len(stacks(path)) == N_LARGE
    assert not [*path.glob("slices-*")]


def test_what_was_interrupted_goes_on_where_it_was(
    recording: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In portions that are durable: the same stacks as without interruptions, each made once."""
    monkeypatch.setattr(unwind_recording, "_PORTION_STACKS", 4)
    n_made = 0
    for _ in range(N_SLICES):
        is_asked = iter([False] * 25 + [True] * N_SLICES)
        unwinding = unwind(recording, is_stopped=lambda asked=is_asked: next(asked))
        n_made += sum(unwinding.ends.values())
        if not [*recording.glob("slices-*")]:
            break
        assert stacks(recording).items() <= expected(program).items()
    assert stacks(recording) == expected(program)
    assert n_made <= N_SLICES + 3


def test_who_is_killed_leaves_a_recording_that_goes_on(
    recording: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also between the two files of a portion."""
    monkeypatch.setattr(unwind_recording, "_PORTION_STACKS", 4)
    child = os.fork()
    if child == 0:
        try:
            unwind(recording, on_progress=lambda n_done, _: n_done > 30 and os._exit(9))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    last = max(recording.glob("stacks-*"))
    last.unlink()
    assert 0 < len(stacks(recording)) < N_SLICES
    unwind(recording)
    assert stacks(recording) == expected(program)


def test_a_process_that_ends_over_a_slice_costs_its_stack_alone(
    recording: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a crash of libdw would, or the kernel for want of memory."""
    monkeypatch.setattr(unwind_pool, "_WORTH_A_PROCESS", 1)
    monkeypatch.setattr(recorded_slices, "_SLICES_OF_A_JOB", 8)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(Lockstep, "unwind", ends_over(8 * 40, Lockstep.unwind))
    unwinding = unwind(recording)
    assert stacks(recording) == {**expected(program), 40: [program.leaf]}
    assert unwinding.ends == {"complete": N_SLICES - 1, "cut": 0, "unknown": 1, "joined": 0}


def ends_over(n_bytes: int, original: Callable[..., Any]) -> Callable[..., Any]:
    def unwind_or_end(self: Lockstep, slices: list[tuple[bytes, bytes]]) -> Any:
        if any(len(memory) == n_bytes + 8 for _, memory in slices):
            os._exit(1)
        return original(self, slices)

    return unwind_or_end


def test_a_damaged_file_costs_its_own_stacks(recording: Path, program: Program) -> None:
    """They stay where they are; the others are made."""
    damaged = recording / "slices-00002.parquet"
    content = bytearray(damaged.read_bytes())
    content[4:100] = bytes(96)
    damaged.write_bytes(content)
    unwinding = unwind(recording)
    assert unwinding.problems
    assert "slices-00002.parquet" in unwinding.problems[0]
    assert [*recording.glob("slices-*")] == [damaged]
    lost = range(14, 21)
    made = stacks(recording)
    assert {number: made[number] for number in made if number not in lost} == {
        number: stack for number, stack in expected(program).items() if number not in lost
    }


def test_stacks_that_end_in_a_file_that_is_not_here_wait_for_it(
    recording: Path, program: Program, tmp_path: Path
) -> None:
    """Who asks on the wrong machine destroys nothing."""
    elsewhere = tmp_path / "elsewhere" / str(program.path).lstrip("/")
    elsewhere.parent.mkdir(parents=True)
    program.path.rename(elsewhere)
    unwinding = unwind(recording, leaves_missing=True)
    assert unwinding.missing == {str(program.path): N_SLICES}
    assert stacks(recording) == {}
    assert [*recording.glob("slices-*")]
    unwind(recording, leaves_missing=True, finder=Finder(sysroot=tmp_path / "elsewhere"))
    assert stacks(recording) == expected(program)
    assert not [*recording.glob("slices-*")]


def test_progress_is_told(recording: Path) -> None:
    told: list[tuple[int, int]] = []
    unwind(recording, on_progress=lambda *numbers: told.append(numbers))
    assert told[-1] == (N_SLICES, N_SLICES)
    assert [n_done for n_done, _ in told] == [*range(1, N_SLICES + 1)]
