"""By which way the return of a function is seen."""

import shutil
import subprocess
from pathlib import Path

import pytest

from gadgetops.trace.probes.code_map import CodeMap
from gadgetops.trace.probes.executable import Executable, Function, read_executable
from gadgetops.trace.probes.returns import (
    Witnesses,
    is_return_seen,
    return_addresses,
    why_no_return_probe,
)

ARM64 = "aarch64-linux-gnu-gcc"
SOURCE = """
#include <stddef.h>
#define OUTSIDE __attribute__((noinline, noclone))
extern void *elsewhere(size_t);
extern _Noreturn void abort(void);
extern volatile int state;
extern size_t (*pointer)(size_t);
OUTSIDE static size_t inner(size_t n) { state++; return n * 3; }
OUTSIDE __attribute__((cold)) static size_t rare(size_t n) { state--; return n / 3; }
OUTSIDE size_t plain(size_t n) { return n + 1; }
size_t jumps(size_t n) { return n > 9 ? inner(n) : n; }
size_t jumps_twice(size_t n) { return n > 9 ? jumps(n - 1) : rare(n); }
size_t by_linkage(size_t n) { return plain(n + 5); }
size_t by_pointer(size_t n) { return pointer(n); }
void *to_another_file(size_t n) { return elsewhere(n); }
size_t may_abort(size_t n) { if (n == 77) abort(); return n; }
size_t by_table(size_t n)
{
	switch (n) {
	case 0: state = 4; return inner(1);
	case 1: state = 9; return n;
	case 2: state += 3; return state;
	case 3: state = 2; return 17;
	case 4: state *= 7; return plain(n);
	case 5: state = 1; return rare(n);
	case 6: state ^= 1; return 23;
	}
	return 5;
}
"""
RETURNS = {
    "plain": {"plain"},
    "jumps": {"jumps", "inner"},
    "jumps_twice": {"jumps", "inner", "rare"},
    "by_linkage": {"plain"},
    "may_abort": {"may_abort"},
    "by_table": {"by_table", "inner", "plain", "rare"},
    "by_pointer": None,
    "to_another_file": None,
}
MACHINES = pytest.mark.parametrize("compiler", ["gcc", ARM64])


def built(folder: Path, source: str, *options: str, compiler: str = "gcc", name: str = "a.c") -> Executable:
    """A library."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on PATH")
    (folder / name).write_text(source)
    line = [compiler, "-O2", "-fPIC", "-shared", "-nostdlib", "-fno-ipa-icf", "-fno-plt", *options]
    subprocess.run([*line, folder / name, "-o", folder / "a.so"], check=True)
    return read_executable(folder / "a.so")


def function(executable: Executable, name: str) -> Function:
    """The function of that name."""
    (found,) = executable.functions(name, exported_only=False)
    return found


def function_at(library: Path, address: int) -> str:
    """Which function holds an address; what a compiler moved out of one (`f.cold`) is a part of it."""
    listing = subprocess.check_output(["nm", "--print-size", "--defined-only", library], text=True)
    rows = [line.split() for line in listing.splitlines() if len(line.split()) == 4]
    [name] = {row[3].partition(".")[0] for row in rows if 0 <= address - int(row[0], 16) < int(row[1], 16)}
    return name


@MACHINES
@pytest.mark.parametrize("linkage", ["-fplt", "-fno-plt"])
@pytest.mark.parametrize("name", RETURNS)
def test_jumps_are_followed_to_where_they_end(tmp_path: Path, compiler: str, linkage: str, name: str) -> None:
    executable = built(tmp_path, SOURCE, linkage, compiler=compiler)
    found = return_addresses(executable, function(executable, name))
    places = None if found is None else {function_at(executable.path, address) for address in found}
    assert places == RETURNS[name]


@MACHINES
def test_a_stripped_file_is_read_by_its_unwind_rules(tmp_path: Path, compiler: str) -> None:
    whole = built(tmp_path, SOURCE, compiler=compiler)
    expected = {name: return_addresses(whole, function(whole, name)) for name in RETURNS}
    stripped = built(tmp_path, SOURCE, "-s", compiler=compiler)
    assert {name: return_addresses(stripped, function(stripped, name)) for name in RETURNS} == expected


def test_every_return_instruction_of_a_function_is_found(tmp_path: Path) -> None:
    """As objdump shows them."""
    executable = built(tmp_path, SOURCE)
    listing = subprocess.check_output(
        ["objdump", "-d", "--disassemble=by_table", tmp_path / "a.so"], text=True
    )
    shown = {int(line.partition(":")[0], 16) for line in listing.splitlines() if line.endswith("\tret")}
    found = return_addresses(executable, function(executable, "by_table"))
    own = function(executable, "by_table")
    assert {
        address for address in found or () if own.address <= address < own.address + own.size_bytes
    } == shown
    assert len(shown) > 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_Znwm", "it may throw"),
        ("_ZnamSt11align_val_t", "it may throw"),
        ("_ZnwmRKSt9nothrow_t", None),
        ("_ZnamSt11align_val_tRKSt9nothrow_t", None),
        ("_ZdlPv", None),
        ("mi_new_n", "it may throw"),
        ("mi_new_nothrow", None),
        ("mi_heap_alloc_new", "it may throw"),
        ("tc_newarray", "it may throw"),
        ("tc_new_nothrow", None),
        ("malloc", None),
        ("mi_malloc", None),
    ],
)
def test_no_return_probe_where_an_exception_may_pass(tmp_path: Path, name: str, expected: str | None) -> None:
    executable = built(tmp_path, f"void *{name}(unsigned long n) {{ return (void *)n; }}")
    assert why_no_return_probe(executable, function(executable, name), Witnesses()) == expected


@pytest.mark.parametrize("walker", ["_Unwind_Backtrace", "backtrace", "unw_backtrace", "_ULx86_64_step"])
def test_no_return_probe_in_a_file_that_walks_stacks(tmp_path: Path, walker: str) -> None:
    source = f"extern int {walker}();\nvoid *malloc(unsigned long n) {{ {walker}(n); return 0; }}"
    executable = built(tmp_path, source, "-fno-builtin", "-w")
    malloc = function(executable, "malloc")
    assert why_no_return_probe(executable, malloc, Witnesses()) == "its file walks the stack"
    assert is_return_seen(executable, malloc, Witnesses())


@pytest.mark.parametrize(("has_profiler", "expected"), [(False, None), (True, "its file walks the stack")])
def test_jemalloc_walks_stacks_only_with_its_profiler(
    tmp_path: Path, has_profiler: bool, expected: str | None
) -> None:
    source = "extern int _Unwind_Backtrace();\nint mallctl(void) { return 0; }\n"
    source += "void *malloc(unsigned long n) { return _Unwind_Backtrace(n) ? 0 : &mallctl; }"
    executable = built(tmp_path, source, "-fno-builtin", "-w")
    malloc = function(executable, "malloc")
    assert why_no_return_probe(executable, malloc, Witnesses(profiler=has_profiler)) == expected


def test_a_return_probe_stays_in_a_file_that_defines_a_walker(tmp_path: Path) -> None:
    """As the C library does, whose malloc() does not call it."""
    source = "int backtrace(void **b, int n) { return n; }\nvoid *malloc(unsigned long n) { return 0; }"
    executable = built(tmp_path, source, "-fno-builtin", "-w")
    assert why_no_return_probe(executable, function(executable, "malloc"), Witnesses()) is None


def test_a_return_that_cannot_be_found_is_not_seen_where_a_probe_would_harm(tmp_path: Path) -> None:
    source = "extern void *(*next)(unsigned long);\nvoid *%s(unsigned long n) { return next(n); }"
    throws = built(tmp_path, source % "_Znwm")
    assert not is_return_seen(throws, function(throws, "_Znwm"), Witnesses())
    harmless = built(tmp_path, source % "malloc", "-fno-builtin")
    assert is_return_seen(harmless, function(harmless, "malloc"), Witnesses())


def test_of_a_file_that_is_gone_nothing_is_known(tmp_path: Path) -> None:
    code_map = CodeMap(tmp_path / "gone")
    assert code_map.piece(0x1000) is None
    assert code_map.name_in_slot(0x1000) is None


@pytest.mark.parametrize("debugger", [False, True])
def test_a_debugger_sees_no_return_probe_where_there_is_another_way(tmp_path: Path, debugger: bool) -> None:
    source = "extern void *(*next)(unsigned long);\nvoid *calloc(unsigned long n) { return next(n); }\n"
    source += "void *malloc(unsigned long n) { return (void *)n; }"
    executable = built(tmp_path, source, "-fno-builtin", "-w")
    malloc, calloc = (function(executable, name) for name in ("malloc", "calloc"))
    why = "a debugger may look at it" if debugger else None
    assert why_no_return_probe(executable, malloc, Witnesses(debugger=debugger)) == why
    assert why_no_return_probe(executable, calloc, Witnesses(debugger=debugger)) is None
    assert is_return_seen(executable, calloc, Witnesses(debugger=debugger))


def test_every_function_of_the_c_library_is_seen_to_the_end() -> None:
    """calloc() may end in memset(), which is chosen for the processor."""
    library = subprocess.check_output(["gcc", "-print-file-name=libc.so.6"], text=True).strip()
    executable = read_executable(Path(library).resolve())
    for name in ("malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "mmap"):
        assert return_addresses(executable, function(executable, name)), name
