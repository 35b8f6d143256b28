"""Where the allocator of a program is."""

import subprocess
from pathlib import Path

import pytest

from gadgetops.errors import StorageError, TraceError
from gadgetops.trace import allocator, target


def test_functions_lie_where_readelf_says(tmp_path: Path) -> None:
    library = allocator.library_of_command(target.find_program("true"))
    listing = subprocess.run(
        ["readelf", "-W", "--dyn-syms", library], check=True, capture_output=True, text=True
    )
    rows = [line.split() for line in listing.stdout.splitlines() if line.split()[3:4] == ["FUNC"]]
    known = {row[7].split("@")[0]: int(row[1], 16) for row in rows if row[6] != "UND"}
    offsets = allocator.function_offsets(library)
    # Debian's libc has its code where its addresses say: file offset and address are equal.
    assert {name: offsets[name] for name in ("malloc", "free", "mmap")} == {
        name: known[name] for name in ("malloc", "free", "mmap")
    }


def test_a_script_is_followed_to_its_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/env sh\ntrue\n")
    script.chmod(0o755)
    assert allocator.library_of_command(script).name.startswith("libc")


def test_a_static_program_is_its_own_library(tmp_path: Path) -> None:
    source = tmp_path / "a.c"
    source.write_text("#include <stdlib.h>\nint main(void) { return malloc(1) == 0; }\n")
    program = tmp_path / "a"
    subprocess.run(["gcc", "-static", source, "-o", program], check=True)
    assert allocator.library_of_command(program) == program
    assert "malloc" in allocator.function_offsets(program)


@pytest.mark.parametrize("content", [b"", b"text", b"\x7fELF", b"\x7fELF\x02\x01\x01" + b"\xff" * 100])
def test_what_is_no_program_is_a_typed_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(TraceError, match="file: not an ELF file"):
        allocator.function_offsets(file)


def test_a_missing_file_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        allocator.function_offsets(tmp_path / "gone")


def test_a_missing_process_says_so() -> None:
    with pytest.raises(TraceError, match="no process"):
        allocator.allocator_of_process(2**22 + 1)
