"""What surrounds the compiler: which tools, which headers, which files count as input."""

from pathlib import Path

import pytest

from gadgetops.errors import ToolError
from gadgetops.gadget.building.compile import parse_dependencies, shadowing
from gadgetops.gadget.building.toolchain import Toolchain, compiler_options, include_folders


def install(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)


def test_the_tools_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLANG", "ccache clang-14")
    monkeypatch.setenv("LLVM_STRIP", "/opt/llvm-strip")
    assert Toolchain.find() == Toolchain(("ccache", "clang-14"), ("/opt/llvm-strip",))


def test_unversioned_tools_are_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "clang", "clang-99", "llvm-strip")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Toolchain.find() == Toolchain(("clang",), ("llvm-strip",))


def test_else_the_newest_version_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "a", "clang-9", "clang-14", "clang-cpp-22", "clang-format-15", "llvm-strip-14")
    install(tmp_path / "b", "clang-16", "llvm-strip-9")
    monkeypatch.setenv("PATH", f"{tmp_path / 'a'}:{tmp_path / 'b'}:{tmp_path / 'missing'}")
    assert Toolchain.find() == Toolchain(("clang-16",), ("llvm-strip-14",))


@pytest.mark.parametrize(("present", "missing"), [((), "clang"), (("clang",), "llvm-strip")])
def test_a_missing_tool_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: tuple[str, ...], missing: str
) -> None:
    install(tmp_path / "bin", *present)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ToolError) as caught:
        Toolchain.find()
    assert (caught.value.argv, caught.value.status) == ((missing,), None)
    assert "apt-get install clang llvm libbpf-dev" in str(caught.value)


def test_headers_are_looked_up_beside_the_source_and_by_architecture(tmp_path: Path) -> None:
    for name in ("include/gadget/amd64", "src/include"):
        (tmp_path / name).mkdir(parents=True)
    found = include_folders(tmp_path, Path("src/program.bpf.c"), "amd64")
    own = [name for name in found if not name.startswith("/usr")]
    assert own == ["include", "include/gadget/amd64", "src/include"]
    assert "include/gadget/amd64" not in include_folders(tmp_path, Path("src/program.bpf.c"), "arm64")


def test_the_options_are_those_of_ig_and_depend_on_no_folder() -> None:
    options = compiler_options("amd64", ["include"], ("-DX=@ARCH@", "-O1"))
    assert options[:5] == ["-target", "bpf", "-Wall", "-g", "-O2"]
    assert options[5:] == [
        "-DX=amd64",
        "-O1",
        "-D__TARGET_ARCH_x86",
        "-Iinclude",
        "-fdebug-compilation-dir=.",
    ]
    assert "-D__TARGET_ARCH_arm64" in compiler_options("arm64", [], ())


@pytest.mark.parametrize(
    ("rule", "files"),
    [
        ("object: a.c\n", ["a.c"]),
        (
            "object: a.c \\\n  include/b.h \\\n  /usr/include/c.h\n",
            ["a.c", "include/b.h", "/usr/include/c.h"],
        ),
        ("object: my\\ file.c a\\#b.h c$$d.h e:f.h\n", ["my file.c", "a#b.h", "c$d.h", "e:f.h"]),
        ("object:\n", []),
    ],
)
def test_the_files_that_clang_names_are_read_back(rule: str, files: list[str]) -> None:
    assert list(parse_dependencies(rule)) == files


def test_a_header_could_be_shadowed_in_every_folder_searched_before_its_own() -> None:
    searched = ["src", "include", "/usr/include"]
    assert shadowing(["src/program.c"], searched) == set()
    assert shadowing(["include/a.h"], searched) == {"src/a.h"}
    assert shadowing(["/usr/include/bpf/b.h"], searched) == {"src/bpf/b.h", "include/bpf/b.h"}
    assert shadowing(["elsewhere/c.h"], searched) == set()
