"""Symbols agree with addr2line on every instruction after a call, wherever the file's symbols are."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from gadgetops.stacks.naming.files import build_id_of
from gadgetops.stacks.naming.symbols import Module, demangled

C_SOURCE = """
#include <stdlib.h>
static inline __attribute__((always_inline)) void *inner(int n) { return malloc(n); }
__attribute__((noinline)) void *outer(int n)
{
	void *p = inner(n);
	return p ? p : inner(n + 1);
}
int main(int argc, char **argv)
{
	free(outer(argc));
	return 0;
}
"""
CPP_SOURCE = """
#include <cstdlib>
#include <string>
#include <vector>
namespace shop {
template <typename T> struct Box {
	static inline __attribute__((always_inline)) void *fill(T n) { return std::malloc(n); }
	__attribute__((noinline)) void *open(T n) { return fill(n) ? fill(n + 1) : nullptr; }
};
}
__attribute__((noinline)) int grow(int n)
{
	std::vector<std::string> names;
	for (int i = 0; i < n; i++)
		names.push_back(std::string(i + 20, 'x'));
	return names.size();
}
int main(int argc, char **argv)
{
	shop::Box<int> box;
	std::free(box.open(argc));
	return grow(argc) == 0;
}
"""
RUST_SOURCE = """
use std::collections::HashMap;
mod shop {
    pub struct Cart<T> { pub items: Vec<T> }
    impl<T: Clone> Cart<T> {
        #[inline(never)]
        pub fn fill(&mut self, item: T, n: usize) { for _ in 0..n { self.items.push(item.clone()); } }
    }
}
fn main() {
    let mut cart = shop::Cart { items: Vec::new() };
    cart.fill(String::from("a name"), std::env::args().count());
    let mut prices = HashMap::new();
    prices.insert(cart.items.len(), "price".to_string());
    println!("{:?}", prices);
}
"""


def run(*argv: object) -> str:
    # rustup's `rustc` looks for itself in the real home.
    environment = os.environ | {"HOME": pwd.getpwuid(os.getuid()).pw_dir}
    argv_ = [*map(str, argv)]
    return subprocess.run(argv_, check=True, capture_output=True, text=True, env=environment).stdout


def compiled(folder: Path, name: str, source: str, *options: str) -> Path:
    """Compile with gcc or g++, by the name of the source."""
    path = folder / name
    path.write_text(source)
    program = path.with_suffix("")
    run("g++" if name.endswith("cc") else "gcc", "-g", "-O2", *options, path, "-o", program)
    return program


@pytest.fixture(
    params=[
        ("program.c", C_SOURCE, []),
        ("program.c", C_SOURCE, ["-no-pie"]),
        ("program.c", C_SOURCE, ["-static"]),
        ("program.c", C_SOURCE, ["-shared", "-fPIC"]),
        ("program.c", C_SOURCE, ["-gdwarf-4"]),
        ("program.cc", CPP_SOURCE, []),
        ("program.cc", CPP_SOURCE, ["-no-pie", "-O1"]),
    ],
    ids=["pie", "no-pie", "static", "shared", "dwarf-4", "c++", "c++-no-pie"],
)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name, source, options = request.param
    return compiled(tmp_path, name, source, *options)


def returns(
    program: Path, only: Sequence[str] = ("outer", "main", "grow", "shop", "Cart", "program")
) -> list[int]:
    """Addresses after each call in our own functions."""
    found, function, after_call = [], "", False
    for line in run("objdump", "-d", program).splitlines():
        if line.endswith(">:"):
            function, after_call = line.split("<", 1)[1][:-2], False
        elif ":" in line and any(name in function for name in only):
            if after_call:
                found.append(int(line.split(":")[0], 16))
            after_call = "call" in line
    return found


def segments(program: Path) -> list[tuple[int, int, int]]:
    lines = [line.split() for line in run("readelf", "-Wl", program).splitlines()]
    return [tuple(int(fields[i], 16) for i in (1, 2, 4)) for fields in lines if fields[:1] == ["LOAD"]]  # type: ignore[misc]


def file_offset(program: Path, address: int) -> int:
    return next(
        address - start + offset
        for offset, start, size in segments(program)
        if start <= address < start + size
    )


def addr2line(program: Path, address: int) -> list[tuple[str, int | None]]:
    lines = run("addr2line", "-f", "-i", "-e", program, hex(address - 1)).splitlines()
    places = [place.rsplit(":", 1)[1].split()[0] for place in lines[1::2]]
    return [
        (demangled(name), int(line) if line.isdigit() and line != "0" else None)
        for name, line in zip(lines[::2], places, strict=True)
    ]


def located(module: Module, program: Path, address: int) -> list[tuple[str, int | None]]:
    found = module.locate(file_offset(program, address))
    return [(each.function, each.line) for each in found]


def test_calls_lie_where_addr2line_says_inlined_functions_included(program: Path) -> None:
    module = Module(program)
    addresses = returns(program)
    assert len(addresses) >= 3
    for address in addresses:
        assert located(module, program, address) == addr2line(program, address), hex(address)


@pytest.mark.skipif(shutil.which("rustc") is None, reason="no `rustc` on PATH")
def test_rust_lies_where_addr2line_says(tmp_path: Path) -> None:
    """Functions of the program and those of the standard library that were inlined into it."""
    (tmp_path / "program.rs").write_text(RUST_SOURCE)
    program = tmp_path / "program"
    run("rustc", "-g", "-C", "opt-level=2", tmp_path / "program.rs", "-o", program)
    module, addresses = Module(program), returns(program, only=["shop", "program4main"])
    assert len(addresses) >= 3
    for address in addresses:
        lines = [line for _, line in located(module, program, address)]
        assert lines == [line for _, line in addr2line(program, address)], hex(address)
    names = {name for address in addresses for name, _ in located(module, program, address)}
    assert any("Cart" in name and "fill" in name for name in names), names


@pytest.mark.parametrize(
    ("mangled", "name"),
    [
        ("_ZN4shop3BoxIiE4openEi", "shop::Box<int>::open(int)"),
        ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"),
        ("_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"),
        ("malloc", "malloc"),
        ("main.cold", "main"),
        ("grow.part.0.constprop.1", "grow"),
        ("name.with.dots", "name.with.dots"),
    ],
)
def test_names_are_shown_as_their_authors_wrote_them(mangled: str, name: str) -> None:
    """C++, and both kinds of Rust."""
    assert demangled(mangled) == name


def test_the_first_instruction_of_a_function_is_that_function_at_a_leaf_only(tmp_path: Path) -> None:
    """Elsewhere it is where a call returns to that was the last instruction of the function before."""
    program = compiled(tmp_path, "program.c", C_SOURCE)
    symbols = (
        line.split() for line in run("nm", "-n", program).splitlines() if " T " in line or " t " in line
    )
    address = next(int(fields[0], 16) for fields in symbols if fields[2] == "outer")
    module, offset = Module(program), file_offset(program, address)
    assert [each.function for each in module.locate(offset, is_leaf=True)] == ["outer"]
    assert [each.function for each in module.locate(offset)] != ["outer"]


def stripped(program: Path, *, link: bool) -> tuple[Path, Path]:
    """Return a copy of *program* without symbols, in a folder of its own, and its debug file."""
    folder = program.parent / "stripped"
    folder.mkdir()
    debug, bare = folder / "program.debug", folder / "program"
    run("objcopy", "--only-keep-debug", program, debug)
    options = [f"--add-gnu-debuglink={debug}"] if link else []
    run("objcopy", "--strip-all", *options, program, bare)
    return bare, debug


def agrees(module: Module, program: Path) -> bool:
    addresses = returns(program)
    return bool(addresses) and all(
        located(module, program, address) == addr2line(program, address) for address in addresses
    )


@pytest.mark.parametrize("place", [".", ".debug", "global"])
def test_a_stripped_files_debug_file_is_found_by_its_link(tmp_path: Path, place: str) -> None:
    """Beside the file, in `.debug`, and in the global folder under the file's own path."""
    program = compiled(tmp_path, "program.c", C_SOURCE)
    bare, debug = stripped(program, link=True)
    globally = tmp_path / "global"
    folder = globally / str(bare.parent).lstrip("/") if place == "global" else bare.parent / place
    folder.mkdir(parents=True, exist_ok=True)
    debug.rename(folder / debug.name)
    assert agrees(Module(bare, debug_folders=[globally]), program)


def test_a_debug_file_with_another_checksum_is_not_believed(tmp_path: Path) -> None:
    """It belongs to another build."""
    program = compiled(tmp_path, "program.c", C_SOURCE)
    bare, debug = stripped(program, link=True)
    debug.write_bytes(debug.read_bytes() + b"\0")
    assert not agrees(Module(bare, debug_folders=[]), program)


@pytest.mark.parametrize("keeps_file", [True, False], ids=["with-file", "file-gone"])
@pytest.mark.parametrize("option", ["-pie", "-no-pie"])
def test_a_debug_file_is_found_by_build_id(tmp_path: Path, option: str, *, keeps_file: bool) -> None:
    """Also when nothing is left of the file itself, as on another machine."""
    program = compiled(tmp_path, "program.c", C_SOURCE, option)
    bare, debug = stripped(program, link=False)
    build_id = build_id_of(bare) or ""
    tree = tmp_path / "tree" / ".build-id" / build_id[:2]
    tree.mkdir(parents=True)
    debug.rename(tree / f"{build_id[2:]}.debug")
    flags = (line.split() for line in run("readelf", "-Wl", program).splitlines())
    mapped = next(int(fields[1], 16) for fields in flags if fields[:1] == ["LOAD"] and "E" in fields)
    if not keeps_file:
        bare.unlink()
    module = Module(bare, build_id, mapped_offset=mapped, debug_folders=[tmp_path / "tree"])
    assert agrees(module, program)


def test_another_build_of_the_file_is_not_asked(tmp_path: Path) -> None:
    program = compiled(tmp_path, "program.c", C_SOURCE)
    module = Module(program, build_id="00" * 20)
    assert not module.locate(file_offset(program, returns(program)[0]))


def test_a_file_that_is_gone_or_no_elf_knows_nothing(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no elf")
    assert Module(tmp_path / "gone").locate(1) == ()
    assert Module(tmp_path / "text").locate(1) == ()


def test_a_file_cut_anywhere_is_read_or_knows_nothing(tmp_path: Path) -> None:
    """Nothing is raised."""
    program = compiled(tmp_path, "program.c", C_SOURCE)
    content, cut = program.read_bytes(), tmp_path / "cut"
    for length in range(0, len(content), 499):
        cut.write_bytes(content[:length])
        Module(cut, debug_folders=[]).locate(0x1140)
