"""WebAssembly modules that are compiled from their source."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gadgetops.gadget.building.wasm_source import compile_module, sources_beside
from gadgetops.gadget.reading.wasm import Module

Gadgetops = Callable[..., Any]

PROGRAM = """package main

//go:wasmexport gadgetInit
func gadgetInit() int32 { return 0 }

func main() {}
"""


@pytest.fixture
def gadget(tmp_path: Path) -> Path:
    """A gadget without programs, whose module is source in Go."""
    if shutil.which("go") is None:
        pytest.skip("no `go` on PATH")
    folder = tmp_path / "gadget"
    (folder / "go").mkdir(parents=True)
    (folder / "go/program.go").write_text(PROGRAM)
    (folder / "go/go.mod").write_text("module example.org/gadget\n\ngo 1.24\n")
    (folder / "gadget.yaml").write_text("name: x\n")
    (folder / "build.yaml").write_text("wasm: go/program.go\n")
    return folder


def test_a_module_in_go_is_compiled(gadget: Path, gadgetops: Gadgetops, tmp_path: Path) -> None:
    """To the same image, in whatever folder."""
    first = gadgetops("build", gadget)
    assert first.status == 0, first.err
    module = Module.from_bytes(compile_module(gadget / "go/program.go"))
    assert all(source == "wasi_snapshot_preview1" for source, _ in module.imports)
    elsewhere = shutil.copytree(gadget, tmp_path / "elsewhere")
    assert gadgetops("build", elsewhere).out == first.out


def test_source_that_does_not_compile_is_shown(gadget: Path, gadgetops: Gadgetops) -> None:
    (gadget / "go/program.go").write_text("package main\nfunc main() { undefined_here() }\n")
    result = gadgetops("build", gadget)
    assert result.status == 1 and "undefined: undefined_here" in result.err


def test_a_missing_toolchain_is_named_with_the_way_out(
    gadget: Path, tmp_path: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = gadgetops("build", gadget)
    assert result.status == 1 and "tinygo: not found on PATH" in result.err
    assert "install Go 1.24" in result.err and "*.wasm" in result.err


def test_a_missing_rust_target_is_named_with_the_way_out(
    tmp_path: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/lib.rs").write_text("")
    (tmp_path / "gadget.yaml").write_text("name: x\n")
    (tmp_path / "build.yaml").write_text("wasm: src/lib.rs\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    result = gadgetops("build", tmp_path)
    assert result.status == 1 and "cargo: not found on PATH" in result.err
    assert "rustup target add wasm32-wasip1" in result.err


def test_what_a_module_is_made_from_is_all_of_its_source(gadget: Path) -> None:
    """The files that decide on it, not what is built beside it."""
    (gadget / "go/vendor").mkdir()
    (gadget / "go/vendor/other.go").write_text("")
    (gadget / "go/notes.txt").write_text("")
    found = [str(each) for each in sources_beside(gadget, Path("go/program.go"))]
    assert found == ["go/go.mod", "go/program.go"]
