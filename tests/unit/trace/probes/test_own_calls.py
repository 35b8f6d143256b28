"""Which code makes calls for itself, found in the files of this machine."""

import ctypes.util
import subprocess
from pathlib import Path

import pytest

from gadgetops.trace.probes.executable import Executable, read_executable
from gadgetops.trace.probes.own_calls import makes_own_calls, page_hashes, release_calls

PAGE = 4096


@pytest.fixture(scope="module")
def libc() -> Executable:
    """The C library of this Python."""
    assert ctypes.util.find_library("c")
    maps = Path("/proc/self/maps").read_text().splitlines()
    return read_executable(Path(next(line.split()[-1] for line in maps if "libc.so" in line)))


def built(folder: Path, *options: str) -> Executable:
    """A program that calls malloc() and free()."""
    (folder / "a.c").write_text(
        "#include <stdlib.h>\nint main(void) { void *volatile p = malloc(1); free(p); return 0; }\n"
    )
    subprocess.run(["gcc", *options, folder / "a.c", "-o", folder / "a"], check=True)
    return read_executable(folder / "a")


def test_a_c_library_makes_calls_of_its_own_although_it_can_be_executed(libc: Executable) -> None:
    assert makes_own_calls(libc)


@pytest.mark.parametrize("options", [[], ["-no-pie"], ["-static"], ["-static-pie"]])
def test_a_program_does_not_even_if_it_holds_the_allocator(tmp_path: Path, options: list[str]) -> None:
    assert not makes_own_calls(built(tmp_path, *options))


def test_few_calls_of_free_are_glibcs_own(libc: Executable) -> None:
    """Hundreds go through the linkage table; two at the end of a thread and one in realloc() do not."""
    (release,) = libc.functions("free", exported_only=True)
    found = release_calls(libc, release)
    assert 1 <= len(found) <= 6
    data = libc.path.read_bytes()
    for offset in found:
        distance = int.from_bytes(data[offset + 1 : offset + 5], "little", signed=True)
        assert data[offset] == 0xE8
        assert offset + 5 + distance == release.offset_bytes


def test_in_a_static_program_they_are_found_by_the_functions_names(tmp_path: Path) -> None:
    program = built(tmp_path, "-static")
    (at_end,) = program.functions("__malloc_arena_thread_freeres", exported_only=False)
    for release in program.functions("free", exported_only=False):
        found = release_calls(program, release)
        assert found
        assert all(0 <= offset - at_end.offset_bytes < at_end.size_bytes for offset in found)


def test_each_page_of_code_has_a_hash_of_its_own(libc: Executable) -> None:
    n_pages = sum(-(-(offset + size) // PAGE) - offset // PAGE for offset, size in libc.extents())
    assert len({*page_hashes(libc, libc.path, [])}) == n_pages


def test_a_page_is_also_known_with_the_probe_at_its_beginning(libc: Executable) -> None:
    (start, _), *_ = libc.extents()
    plain = {*page_hashes(libc, libc.path, [])}
    probed = {*page_hashes(libc, libc.path, [start + 63])}
    assert plain < probed
    assert len(probed) == len(plain) + 1
    assert plain == {*page_hashes(libc, libc.path, [start + 64])}
