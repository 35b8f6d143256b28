"""Where the allocator of a program is."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gadgetops.errors import TraceError
from gadgetops.trace.probes.allocator import Allocator, allocators_of_command, allocators_of_process
from gadgetops.trace.probes.program import find_program

MALLOC_FREE = "#include <stdlib.h>\nint main(void) { free(malloc(1)); return 0; }\n"
DEFINES_SOME = "#include <stddef.h>\nvoid *malloc(size_t n) { return 0; }\nvoid free(void *p) {}\n"


def built(folder: Path, name: str, source: str, *options: str) -> Path:
    """Compile *source*."""
    file = folder / f"{name}.c"
    file.write_text(source)
    subprocess.run(["gcc", "-O1", "-fno-builtin", file, "-o", folder / name, *options], check=True)
    return folder / name


@contextmanager
def running(*command: object, **variables: str) -> Iterator[int]:
    """The process number of a command that runs."""
    process = subprocess.Popen(list(map(str, command)), env=os.environ | variables)
    try:
        name = Path(str(command[0])).resolve()
        while Path(f"/proc/{process.pid}/exe").resolve() != name or len(allocators(process.pid)) == 0:
            time.sleep(0.01)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def allocators(pid: int) -> list[Allocator]:
    """What has been linked so far."""
    try:
        return allocators_of_process(pid)
    except TraceError:
        return []


def by_name(found: list[Allocator]) -> dict[str, set[str]]:
    """Functions by the name of their file."""
    return {allocator.path.name: set(allocator.functions) for allocator in found}


@pytest.fixture
def some(tmp_path: Path) -> Path:
    """A library with a malloc and a free of its own."""
    return built(tmp_path, "libsome.so", DEFINES_SOME, "-shared", "-fPIC")


def test_the_c_library_has_it(tmp_path: Path) -> None:
    (found,) = allocators_of_command(["true"]).found
    assert found.path.name == "libc.so.6"
    assert {"malloc", "free", "mmap", "munmap", "posix_memalign"} <= set(found.functions)


def test_a_preloaded_library_comes_first_for_what_it_defines(
    some: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", str(some))
    found = by_name(allocators_of_command(["true"]).found)
    assert found["libsome.so"] == {"malloc", "free"}
    assert found["libc.so.6"] >= {"calloc", "realloc", "mmap", "munmap"}
    assert not found["libc.so.6"] & {"malloc", "free"}


def test_a_linked_library_comes_before_the_c_library(some: Path, tmp_path: Path) -> None:
    program = built(tmp_path, "linked", MALLOC_FREE, str(some))
    assert by_name(allocators_of_command([str(program)]).found)["libsome.so"] == {"malloc", "free"}


def test_the_executables_own_functions_come_before_all_libraries(tmp_path: Path) -> None:
    program = built(tmp_path, "own", DEFINES_SOME + "int main(void) { free(malloc(1)); }\n", "-rdynamic")
    assert by_name(allocators_of_command([str(program)]).found)["own"] == {"malloc", "free"}


def test_names_of_its_own_are_probed_beside_the_plain_ones(tmp_path: Path) -> None:
    source = DEFINES_SOME.replace("*malloc", "*je_malloc").replace(" free", " je_free")
    program = built(tmp_path, "prefixed", source + "int main(void) { je_free(je_malloc(1)); }\n")
    found = {
        allocator.path.name: allocator.functions for allocator in allocators_of_command([str(program)]).found
    }
    assert {f.name for places in found["prefixed"].values() for f in places} == {"je_malloc", "je_free"}
    assert {"malloc", "free"} <= set(found["libc.so.6"])


def test_a_named_library_is_asked_first(some: Path) -> None:
    found = by_name(allocators_of_command(["true"], some).found)
    assert found["libsome.so"] == {"malloc", "free"}
    assert "malloc" not in found["libc.so.6"]


def test_a_named_library_without_an_allocator_is_refused(tmp_path: Path) -> None:
    library = built(tmp_path, "libnone.so", "int nothing;\n", "-shared")
    with pytest.raises(TraceError, match=r"libnone\.so: defines no allocating function"):
        allocators_of_command(["true"], library)


def test_a_script_is_followed_to_its_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/env sh\ntrue\n")
    script.chmod(0o755)
    (found,) = allocators_of_command([str(script)]).found
    assert found.path.name == "libc.so.6"


def test_a_static_program_has_its_own(tmp_path: Path) -> None:
    program = built(tmp_path, "static", MALLOC_FREE, "-static")
    (found,) = allocators_of_command([str(program)]).found
    assert (found.path, found.probed) == (program, program)
    assert {"malloc", "free", "mmap"} <= set(found.functions)


def test_a_static_program_without_symbols_has_none_that_can_be_seen(tmp_path: Path) -> None:
    """The command is recorded all the same."""
    program = built(tmp_path, "stripped", MALLOC_FREE, "-static", "-s")
    found, unseen = allocators_of_command([str(program)])
    assert (found, unseen) == ([], f"{program}: no malloc in {program}")


def test_a_process_has_what_its_dynamic_linker_found(some: Path, tmp_path: Path) -> None:
    with running(find_program("sleep"), "60", LD_PRELOAD=str(some)) as pid:
        found = by_name(allocators_of_process(pid))
    assert found["libsome.so"] == {"malloc", "free"}
    assert "malloc" not in found["libc.so.6"]


def test_a_library_that_was_loaded_later_comes_last(some: Path, tmp_path: Path) -> None:
    source = "#include <dlfcn.h>\n#include <unistd.h>\n"
    source += f'int main(void) {{ dlopen("{some}", RTLD_NOW); pause(); }}\n'
    with running(built(tmp_path, "loader", source)) as pid:
        while str(some) not in Path(f"/proc/{pid}/maps").read_text():
            time.sleep(0.01)
        assert set(by_name(allocators_of_process(pid))) == {"libc.so.6"}


def test_a_deleted_library_is_still_found(some: Path) -> None:
    with running(find_program("sleep"), "60", LD_PRELOAD=str(some)) as pid:
        some.unlink()
        found = {allocator.path.name: allocator for allocator in allocators_of_process(pid)}
        assert found["libsome.so"].probed.stat().st_nlink == 0


def test_a_missing_process_says_so() -> None:
    with pytest.raises(TraceError, match="no process"):
        allocators_of_process(2**22 + 1)


JEMALLOC = subprocess.check_output(["gcc", "-print-file-name=libjemalloc.so.2"], text=True).strip()
SETS_IT_UP = 'const char *malloc_conf = "lg_prof_sample:9";\n' + MALLOC_FREE


@pytest.mark.parametrize(
    ("source", "settings", "expected"),
    [
        (MALLOC_FREE, "narenas:2", False),
        (MALLOC_FREE, "narenas:2,prof:true", True),
        (SETS_IT_UP, "narenas:2", True),
    ],
)
def test_a_profiler_of_jemalloc_is_noticed(
    tmp_path: Path, source: str, settings: str, expected: bool
) -> None:
    """By the environment, or because the program sets jemalloc up itself."""
    program = built(tmp_path, "program", source, "-rdynamic", JEMALLOC)
    code = (
        "import sys\n"
        "from gadgetops.trace.probes.allocator import allocators_of_command as ask\n"
        "print([each.witnesses.profiler for each in ask([sys.argv[1]]).found][0])"
    )
    environment = os.environ | {"MALLOC_CONF": settings}
    answer = subprocess.check_output([sys.executable, "-c", code, program], env=environment, text=True)
    assert answer.strip() == str(expected)
