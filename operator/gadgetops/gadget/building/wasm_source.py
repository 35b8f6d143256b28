"""WebAssembly modules from Go or Rust source, by the toolchains that are there, as ig makes them."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gadgetops import process
from gadgetops.errors import ContentError, StorageError, ToolError

SUFFIXES: Final = (".go", ".rs")
"""Sources that can be compiled."""

_GO: Final = {"GOOS": "wasip1", "GOARCH": "wasm", "CGO_ENABLED": "0"}
_RUST_TARGET: Final = "wasm32-wasip1"
_READ: Final = frozenset({".go", ".mod", ".sum", ".rs", ".toml", ".lock"})
_NO_GO: Final = "install Go 1.24 or newer, or TinyGo, or name a compiled module (*.wasm) in build.yaml"
_NO_RUST: Final = f"run `rustup target add {_RUST_TARGET}`, or name a compiled module (*.wasm) in build.yaml"


def compile_module(source: Path) -> bytes:
    """
    Return the module compiled from *source*, the same bytes in whatever folder it lies.

    Args:
        source: The main file of a Go package, or the root of a Rust crate, of a library for WASI.

    Raises:
        ToolError: It does not compile, or no toolchain is there.
        StorageError: There is no room for the module.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="gadgetops-") as name:
            compile_in = _from_go if source.suffix == ".go" else _from_rust
            return compile_in(source.resolve(), Path(name)).read_bytes()
    except OSError as error:
        raise StorageError.from_os_error(error, source) from error


def sources_beside(folder: Path, source: Path) -> Iterator[Path]:
    """Yield what a module is made from, relative to *folder*: *source* and the sources around it, sorted."""
    root = _crate(folder / source) if source.suffix == ".rs" else (folder / source).parent
    ignored = {"target", "vendor", ".git"}
    for path in sorted(root.rglob("*")):
        below = path.relative_to(root)
        if path.is_file() and path.suffix in _READ and ignored.isdisjoint(below.parts):
            yield source.parent / below if source.suffix == ".go" else path.relative_to(folder)


def _from_go(source: Path, scratch: Path) -> Path:
    module = scratch / "program.wasm"
    if process.is_installed("go"):
        options = ["-buildmode=c-shared", "-ldflags=-w -s", "-trimpath", "-buildvcs=false"]
        argv = ["go", "build", *options, "-o", str(module), source.name]
        process.run(argv, cwd=source.parent, env=_GO, hint=_NO_GO)
    else:
        argv = ["tinygo", "build", "-target=wasip1", "-buildmode=c-shared", "-no-debug", "-o", str(module)]
        process.run([*argv, source.name], cwd=source.parent, hint=_NO_GO)
    return module


def _from_rust(source: Path, scratch: Path) -> Path:
    argv = [
        "cargo",
        "build",
        "--release",
        "--target",
        _RUST_TARGET,
        "--message-format=json-render-diagnostics",
    ]
    env = {"CARGO_TARGET_DIR": str(scratch)}
    try:
        answer = process.run(argv, cwd=_crate(source), env=env, hint=_NO_RUST)
    except ToolError as error:
        is_missing = error.status is None or _RUST_TARGET in error.output
        hint = _NO_RUST if is_missing else error.hint
        raise ToolError(error.argv, status=error.status, output=error.output, hint=hint) from error
    for line in reversed(answer.splitlines()):
        for name in json.loads(line).get("filenames") or () if line.startswith("{") else ():
            if name.endswith(".wasm"):
                return Path(name)
    raise ContentError(f"{source}: cargo made no module", hint='its Cargo.toml needs crate-type = ["cdylib"]')


def _crate(source: Path) -> Path:
    """Return the folder of the Cargo.toml that *source* belongs to; its own if there is none."""
    return next((each for each in source.parents if (each / "Cargo.toml").is_file()), source.parent)
