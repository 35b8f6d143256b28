"""Functions of executables and libraries."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from gadgetops.errors import StorageError, TraceError
from gadgetops.trace.probes.executable import read_executable


def built(folder: Path, assembly: str, *options: str, compiler: str = "gcc") -> Path:
    """Assemble a library."""
    file = folder / "a.s"
    file.write_text(assembly + '\n.section .note.GNU-stack,"",%progbits\n')
    subprocess.run([compiler, "-nostdlib", *options, file, "-o", folder / "a.so"], check=True)
    return folder / "a.so"


def function(name: str, body: str) -> str:
    """A function in assembly."""
    return f".text\n.globl {name}\n.type {name},%function\n{name}:\n{body}\n.size {name},.-{name}\n"


def test_functions_lie_where_readelf_says() -> None:
    found = subprocess.check_output(["gcc", "-print-file-name=libc.so.6"], text=True)
    library = Path(found.strip()).resolve()
    listing = subprocess.check_output(["readelf", "-W", "--dyn-syms", library], text=True)
    rows = [line.split() for line in listing.splitlines() if line.split()[3:4] == ["FUNC"]]
    known = {row[7].split("@")[0]: (int(row[1], 16), int(row[2])) for row in rows if row[6] != "UND"}
    executable = read_executable(library)
    for name in ("malloc", "free", "mmap", "aligned_alloc"):
        (found,) = executable.functions(name, exported_only=True)
        assert (found.address, found.size_bytes) == known[name]


def test_a_name_that_ends_another_one_is_its_own(tmp_path: Path) -> None:
    library = built(tmp_path, function("je_malloc", "nop\nret") + function("malloc", "ret"), "-shared")
    (found,) = read_executable(library).functions("malloc", exported_only=True)
    assert found.size_bytes == 1


def test_code_is_read_at_its_offset(tmp_path: Path) -> None:
    library = built(tmp_path, function("f", ".byte 0x90,0x90,0xc3"), "-shared")
    executable = read_executable(library)
    (found,) = executable.functions("f", exported_only=True)
    assert executable.code(found) == b"\x90\x90\xc3"
    assert library.read_bytes()[found.offset_bytes :][:3] == b"\x90\x90\xc3"


def test_each_version_of_a_function_counts(tmp_path: Path) -> None:
    script = tmp_path / "versions"
    script.write_text("V1 { global: f; }; V2 { global: f; } V1;\n")
    text = function("f1", "ret") + function("f2", "nop\nret") + ".symver f1,f@V1\n.symver f2,f@@V2\n"
    library = built(tmp_path, text, "-shared", f"-Wl,--version-script={script}")
    sizes = {f.size_bytes for f in read_executable(library).functions("f", exported_only=True)}
    assert sizes == {1, 2}


def test_long_jumps_and_other_functions_are_entries(tmp_path: Path) -> None:
    text = function("f", "nop\ninner: nop\nnop\nret") + function("g", ".zero 200, 0x90\njmp inner")
    executable = read_executable(built(tmp_path, text, "-shared"))
    (f,) = executable.functions("f", exported_only=True)
    (g,) = executable.functions("g", exported_only=True)
    assert executable.entries({*range(f.address + 1, g.address + 1)}) == {f.address + 1, g.address}


@pytest.mark.skipif(not shutil.which("aarch64-linux-gnu-gcc"), reason="no aarch64-linux-gnu-gcc")
def test_all_branches_of_arm64_are_entries(tmp_path: Path) -> None:
    body = "\n".join(f"nop\nl{n}:" for n in range(6)) + "\nret"
    jumps = "b l0\nbl l1\nb.eq l2\ncbz x0, l3\ntbnz x1, #3, l4\nret"
    text = function("f", body) + function("g", jumps)
    executable = read_executable(built(tmp_path, text, "-shared", compiler="aarch64-linux-gnu-gcc"))
    (f,) = executable.functions("f", exported_only=True)
    expected = {f.address + 4 * n for n in range(1, 6)}
    assert executable.entries({*range(f.address + 1, f.address + f.size_bytes)}) == expected


def test_an_unchanged_file_is_read_once(tmp_path: Path) -> None:
    first = built(tmp_path, function("f", "ret"), "-shared")
    second = tmp_path / "second.so"
    second.hardlink_to(first)
    assert read_executable(first) is read_executable(second)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not an ELF file"),
        (b"text", "not an ELF file"),
        (b"\x7fELF", "ELF header is cut short"),
        (b"\x7fELF\x02\x01\x01" + b"\xff" * 100, "program headers: expected 56 bytes each"),
        (b"\x7fELF\x01\x01\x01".ljust(64, b"\0"), "offset 4: not a 64-bit ELF file"),
        (b"\x7fELF\x02\x02\x01".ljust(64, b"\0"), "only little-endian programs"),
    ],
)
def test_what_is_no_program_is_a_typed_error(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(TraceError, match=f"file: {problem}"):
        read_executable(file)


def test_symbols_whose_names_are_in_no_section_are_a_typed_error(tmp_path: Path) -> None:
    """The number of that section is one of the file's own, and may be anything."""
    file = built(tmp_path, function("f", "ret"), "-shared")
    data = bytearray(file.read_bytes())
    with file.open("rb") as stream:
        elf = ELFFile(stream)
        header = elf["e_shoff"] + elf.get_section_index(".dynsym") * elf["e_shentsize"]
    struct.pack_into("<I", data, header + 40, 60000)
    damaged = tmp_path / "damaged.so"
    damaged.write_bytes(data)
    with pytest.raises(TraceError, match=r"damaged\.so: section .dynsym: string table 60000 does not exist"):
        read_executable(damaged)


def test_a_missing_file_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        read_executable(tmp_path / "gone")
