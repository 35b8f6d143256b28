"""Lines and CO-RE relocations are given to instructions by section and position."""

import struct
from collections.abc import Callable

import pytest

from gadgetops.bpf.btf import Btf
from gadgetops.bpf.btf_ext import Extension
from gadgetops.bpf.object import Object
from gadgetops.errors import ObjectError

STRINGS = b"\0kprobe/one\0file.c\0  a line;\0000:1\0"
SECTION, FILE, LINE, ACCESS = 1, 12, 19, 29


def make_btf() -> Btf:
    """Return BTF of one type, with the strings above."""
    types = struct.pack("<IIII", 0, 1 << 24, 4, 32)
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(STRINGS))
    return Btf.from_bytes(header + types + STRINGS, "little")


def part(*records: tuple[int, int, int, int], section: int = SECTION, stride: int = 16) -> bytes:
    """Return *records* of one section, with their headers."""
    head = struct.pack("<III", stride, section, len(records))
    return head + b"".join(struct.pack("<IIII", *record) for record in records)


def make(lines: bytes, core: bytes = b"") -> bytes:
    """Return a whole `.BTF.ext`."""
    places = struct.pack("<IIIIII", 0, 0, 0, len(lines), len(lines), len(core))
    return struct.pack("<HBBI", 0xEB9F, 1, 0, 32) + places + lines + core


def test_lines_and_relocations_are_sorted_by_position() -> None:
    """As the loader sorts them; indentation stays."""
    data = make(
        part((8, FILE, 0, 0), (0, FILE, LINE, 0)),
        part((16, 1, ACCESS, 5), (8, 1, ACCESS, 0)),
    )
    extension = Extension.from_bytes(data, make_btf(), "little")
    lines = [(line.position_bytes, line.text) for line in extension.lines["kprobe/one"]]
    assert lines == [(0, "  a line;"), (8, "")]
    relocations = extension.core_relocations["kprobe/one"]
    assert [(each.position_bytes, each.type_id, each.access, each.kind) for each in relocations] == [
        (8, 1, "0:1", 0),
        (16, 1, "0:1", 5),
    ]


def test_a_header_without_core_relocations_is_enough() -> None:
    """As clang before 8 wrote it."""
    lines = part((0, FILE, LINE, 0))
    data = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, len(lines)) + lines
    extension = Extension.from_bytes(data, make_btf(), "little")
    assert list(extension.lines) == ["kprobe/one"]
    assert extension.core_relocations == {}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "offset 0: cut short"),
        (bytes(32), "offset 0: header is damaged"),
        (struct.pack("<HBBI", 0xEB9F, 1, 0, 8) + bytes(24), "offset 4: header of 8 bytes"),
        (make(part((0, 0, 0, 0), stride=12)), "offset 32: records: expected 16 bytes each, got 12"),
        (make(part()), "offset 36: 0 records"),
        (make(part((0, 0, 0, 0)))[:-1], "offset 36: 1 records"),
        (make(part((3, 0, 0, 0))), "position 3 is inside an instruction"),
        (make(part((0, 0, 2, 0))), "no string begins at 2"),
        (make(part((0, 0, 0, 0), section=2)), "no string begins at 2"),
        (make(b"", part((0, 9, ACCESS, 0))), "type 9 does not exist"),
    ],
)
def test_damage_is_named_with_its_place(data: bytes, sentence: str) -> None:
    """Each kind of damage has its own sentence."""
    with pytest.raises(ObjectError) as caught:
        Extension.from_bytes(data, make_btf(), "little")
    assert sentence in str(caught.value)


def test_an_object_has_both(read_object: Callable[[str], Object]) -> None:
    """Of each program."""
    extension = read_object("core").extension
    assert sorted(extension.lines) == ["kprobe/one", "kprobe/two"]
    kinds = {each.kind for relocations in extension.core_relocations.values() for each in relocations}
    assert kinds >= {0, 1, 2, 6, 7, 8, 9, 10, 11}
