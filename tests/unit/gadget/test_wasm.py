"""A WebAssembly module's imports are read without running it."""

import pytest

from gadgetops.errors import ContentError
from gadgetops.gadget.reading.wasm import Module

MAGIC = b"\0asm\1\0\0\0"


def name(text: str) -> bytes:
    """Return *text* as modules have it."""
    return bytes([len(text)]) + text.encode()


def entry(module: str, text: str, kind: bytes) -> bytes:
    """Return an import."""
    return name(module) + name(text) + kind


def section(identifier: int, content: bytes) -> bytes:
    """Return a section, its size in two bytes."""
    return bytes([identifier, len(content) & 0x7F | 0x80, len(content) >> 7]) + content


IMPORTS = section(
    2,
    b"\7"
    + entry("ig", "gadgetLog", b"\0\3")
    + entry("env", "table", b"\1\x70\1\1\2")
    + entry("env", "memory", b"\2\0\1")
    + entry("ig", "constant", b"\3\x7f\0")
    + entry("env", "tag", b"\4\0\0")
    + entry("wasi_snapshot_preview1", "fd_write", b"\0\4")
    + entry("ig", "newDataSource", b"\0\x85\1"),
)


def test_functions_are_found_among_other_imports() -> None:
    """In order; by the module they come from."""
    module = Module.from_bytes(MAGIC + section(1, b"\0") + IMPORTS)
    assert module.imported_from("ig") == ["gadgetLog", "newDataSource"]
    assert module.imported_from("wasi_snapshot_preview1") == ["fd_write"]


def test_a_module_may_import_nothing() -> None:
    """And hold nothing."""
    assert Module.from_bytes(MAGIC).imported_from("ig") == []


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\x7fELF", "no magic number of version 1"),
        (MAGIC + IMPORTS[:-1], "cut short at offset 11"),
        (MAGIC + b"\2" + b"\x80" * 11, "a number that does not end at offset 19"),
        (MAGIC + section(2, b"\1" + entry("a", "b", b"\x09")), "import of unknown kind 9"),
    ],
)
def test_damage_is_named(data: bytes, sentence: str) -> None:
    """Each kind has its own sentence."""
    with pytest.raises(ContentError, match=sentence):
        Module.from_bytes(data)


def test_any_cut_gives_a_module_or_an_error() -> None:
    """At every byte."""
    data = MAGIC + section(1, b"\0") + IMPORTS
    for size in range(len(data)):
        try:
            Module.from_bytes(data[:size])
        except ContentError:
            continue
