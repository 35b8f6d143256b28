"""Runs of loaded programs, as the kernel counts them, against a program that knows its calls."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from elftools.elf.elffile import ELFFile
from services.recordings import Compiler

from gadgetops.bpf.object import Object
from gadgetops.errors import TraceError
from gadgetops.trace.kernel import run_counts
from gadgetops.trace.kernel.libbpf import LoadedObject

pytestmark = [pytest.mark.kernel, pytest.mark.clang]
N_CALLS = 211


def _offset(program: Path, function: str) -> int:
    with program.open("rb") as file:
        elf = ELFFile(file)
        (symbol,) = elf.get_section_by_name(".symtab").get_symbol_by_name(function)
        section = elf.get_section(symbol["st_shndx"])
        return symbol["st_value"] - section["sh_addr"] + section["sh_offset"]


def test_every_run_is_counted_under_its_full_name(
    gadget_object: Path, compiled: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel keeps 15 characters of a name, which several share; other programs count for none."""
    data = gadget_object.read_bytes()
    obj = Object.from_bytes(data)
    programs = {program.name for program in obj.programs}
    maps = {found.name for found in obj.maps}
    program = compiled("called")
    with (
        LoadedObject(data, "counted") as loaded,
        subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process,
    ):
        loaded.load()
        for name, at_return in (("trace_uprobe_valloc", False), ("trace_uretprobe_valloc", True)):
            place = [_offset(program, "probed")]
            loaded.attach_uprobe(name, program, place, at_return=at_return, pid=process.pid)

        def call_meanwhile(_seconds: float) -> None:
            process.stdin.write(bytes([N_CALLS]))
            assert process.stdout.read(1)

        meanwhile = SimpleNamespace(sleep=call_meanwhile, monotonic=lambda: 0.0)
        monkeypatch.setattr(run_counts, "time", meanwhile)
        found = run_counts.count_runs(programs, maps, 1.0)
        process.stdin.close()
    # Others may be recording on this machine; nobody calls valloc() but this program.
    assert (found.runs["trace_uprobe_valloc"], found.runs["trace_uretprobe_valloc"]) == (N_CALLS, N_CALLS)
    assert found.runs["trace_uretprobe_pvalloc"] == 0 and found.n_loaded >= 1
    assert found.maps["sizes"].n_entries is not None and found.maps["sizes"].written_bytes is None
    assert found.maps["events"].written_bytes is not None and found.maps["events"].n_entries is None


def test_a_gadget_that_is_not_loaded_is_said_to_be_so() -> None:
    with pytest.raises(TraceError, match="no program of this gadget is loaded"):
        run_counts.count_runs({"a_program_of_nobody"}, set(), 0.0)
