"""Slices are put together from parts, whatever is lost of them; the gadget's tables say what is code."""

import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from gadgetops.stacks.unwinding.frame_pointers import has_frame_pointers
from gadgetops.trace.events.code_pages import code_map
from gadgetops.trace.events.slices import Slice, SliceAssembler, SliceLayout

WORKLOADS = Path(__file__).parents[3] / "workloads"
ARM64 = "aarch64-linux-gnu-gcc"
LAYOUT = SliceLayout(size_bytes=40 + 16 + 8, registers_offset=40, memory_offset=56)
REGISTERS = struct.pack("<QQ", 7, 8)


def part(number: int, offset: int, memory: bytes, total: int, *, tid: int = 5) -> bytes:
    head = struct.pack("<QQIIIIII", number, 1000, 4, tid, offset, len(memory), total, 1)
    return head + REGISTERS + memory.ljust(8, b"\0")


def assembled(*records: bytes) -> list[Slice]:
    return [*SliceAssembler(LAYOUT).take(records)]


def test_parts_make_one_slice() -> None:
    """In their order, the last one shorter."""
    records = [part(9, 0, b"01234567", 20), part(9, 8, b"89abcdef", 20), part(9, 16, b"ghij", 20)]
    assert assembled(*records) == [Slice(9, 4, 5, 1000, REGISTERS, b"0123456789abcdefghij")]


def test_parts_of_threads_do_not_mix() -> None:
    """Two threads may send the same stack at once."""
    first = [part(9, 0, b"AAAAAAAA", 16), part(9, 8, b"BBBBBBBB", 16)]
    second = [part(9, 0, b"aaaaaaaa", 16, tid=6), part(9, 8, b"bbbbbbbb", 16, tid=6)]
    found = assembled(first[0], second[0], second[1], first[1])
    assert [(each.tid, each.memory) for each in found] == [(6, b"aaaaaaaabbbbbbbb"), (5, b"AAAAAAAABBBBBBBB")]


@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_a_slice_of_which_a_part_is_lost_is_none(left_out: int) -> None:
    """And the next one of the same number is whole again."""
    records = [part(9, 0, b"01234567", 20), part(9, 8, b"89abcdef", 20), part(9, 16, b"ghij", 20)]
    cut = [record for number, record in enumerate(records) if number != left_out]
    assert [each.memory for each in assembled(*cut, *records)] == [b"0123456789abcdefghij"]


def test_other_records_are_no_parts() -> None:
    """Whatever else comes beside events."""
    assert assembled(b"", b"x" * 63, b"x" * 65) == []


def test_the_code_of_a_process_is_where_it_may_execute() -> None:
    """As many pages as the kernel counts, but for what it maps for itself."""
    code = code_map(os.getpid())
    assert code is not None
    pages = sum(each.end_address - each.start_address for each in code.ranges) // mmap.PAGESIZE
    assert abs(pages - code.n_pages) <= 4
    assert any("libc" in Path(path).name for path in code.paths)


def test_a_process_that_is_gone_has_no_code() -> None:
    """Nor one that has ended and waits for its parent."""
    assert code_map(2**22 + 1) is None
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert code_map(pid) is None
    os.waitpid(pid, 0)


@pytest.mark.parametrize(
    ("options", "has_them"),
    [
        (["-O1", "-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer"], True),
        (["-O1", "-fomit-frame-pointer"], False),
        (["-O1", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"], False),
    ],
    ids=["kept", "omitted", "no rules"],
)
def test_rules_tell_whether_functions_keep_frame_pointers(
    tmp_path: Path, options: list[str], has_them: bool
) -> None:
    """Where there are no rules, nobody can tell."""
    program = tmp_path / "program"
    subprocess.run(["gcc", *options, WORKLOADS / "unwound.c", "-o", program], check=True)
    assert has_frame_pointers(program, (program.stat().st_ino, *map(ord, str(program)))) is has_them


@pytest.mark.skipif(not shutil.which(ARM64), reason=f"no {ARM64}")
@pytest.mark.parametrize(
    ("options", "has_them"),
    [
        (["-O1"], True),
        (["-O1", "-mbranch-protection=standard"], True),
        (["-O1", "-fomit-frame-pointer"], False),
    ],
    ids=["by default", "signed", "omitted"],
)
def test_on_arm64_by_what_is_saved_beside_the_return_address(
    tmp_path: Path, options: list[str], has_them: bool
) -> None:
    """A function finds its frame by the stack pointer whether it keeps a frame pointer or not."""
    calls = "\n".join(f"int f{n}(int a) {{ return g(a) + g({n}); }}" for n in range(9))
    (tmp_path / "a.c").write_text(f"int g(int);\n{calls}\nint leaf(int a) {{ return a + 1; }}\n")
    library = tmp_path / "library.so"
    command = [ARM64, *options, "-shared", "-fPIC", "-nostdlib", tmp_path / "a.c", "-o", library]
    subprocess.run(command, check=True)
    assert has_frame_pointers(library, (library.stat().st_ino, *map(ord, str(library)))) is has_them


def test_programs_in_go_keep_frame_pointers(tmp_path: Path) -> None:
    """And have no rules that say so."""
    (tmp_path / "main.go").write_text("package main\nfunc main() { println(1) }\n")
    command = ["go", "build", "-o", "program", "main.go"]
    subprocess.run(command, check=True, cwd=tmp_path, env=os.environ | {"CGO_ENABLED": "0"})
    assert has_frame_pointers(tmp_path / "program", (0,))


def test_a_file_that_cannot_be_read_has_no_frame_pointers(tmp_path: Path) -> None:
    """To copy its stacks is the safe way."""
    (tmp_path / "text").write_text("no ELF")
    assert not has_frame_pointers(tmp_path / "text", (1,))
    assert not has_frame_pointers(tmp_path / "missing", (2,))
