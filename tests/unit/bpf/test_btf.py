"""The BTF reader agrees with bpftool, keeps to its limits, and says what is wrong."""

import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gadgetops.bpf.btf import (
    Array,
    Btf,
    Composite,
    DataSection,
    Encoding,
    Enum,
    Forward,
    Int,
    Kind,
    Linkage,
    Prototype,
    Reference,
    Type,
    Variable,
)
from gadgetops.bpf.object import Object
from gadgetops.errors import ObjectError

STRINGS = b"\0one\0two\0"
ONE, TWO = 1, 5

FOLDER = Path(__file__).parents[2] / "data" / "objects"
# One has no BTF, and bpftool reads none of the other byte order.
OBJECTS = sorted({*FOLDER.glob("*.bpf.o")} - {FOLDER / "no_btf.bpf.o", FOLDER / "big_endian.bpf.o"})


def info(kind: Kind, count: int = 0, *, flag: bool = False) -> int:
    """Return the second word of a type."""
    return flag << 31 | kind << 24 | count


def make_btf(*words: int, strings: bytes = STRINGS, order: str = "<") -> bytes:
    """Return BTF whose types are *words* of 32 bits."""
    types = struct.pack(f"{order}{len(words)}I", *words)
    header = struct.pack(f"{order}HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    return header + types + strings


def read(*words: int) -> Btf:
    """Return the types that *words* stand for."""
    return Btf.from_bytes(make_btf(*words), "little")


INT = (ONE, info(Kind.INT), 4, Encoding.SIGNED << 24 | 32)


def test_every_kind_is_read() -> None:
    """Type 1 is an int, the others refer to it or stand alone."""
    btf = read(
        *INT,
        *(0, info(Kind.POINTER), 1),
        *(0, info(Kind.ARRAY), 0, 1, 1, 7),
        *(TWO, info(Kind.STRUCT, 1), 8, ONE, 1, 32),
        *(TWO, info(Kind.UNION, 1, flag=True), 4, ONE, 1, 3 << 24 | 5),
        *(TWO, info(Kind.ENUM, 1), 4, ONE, 0xFFFFFFFF),
        *(TWO, info(Kind.ENUM, 1, flag=True), 4, ONE, 0xFFFFFFFF),
        *(TWO, info(Kind.ENUM64, 1, flag=True), 8, ONE, 1, 0xFFFFFFFF),
        *(TWO, info(Kind.FORWARD, flag=True), 0),
        *(TWO, info(Kind.TYPEDEF), 1),
        *(0, info(Kind.PROTOTYPE, 1), 1, ONE, 1),
        *(TWO, info(Kind.FUNCTION, Linkage.GLOBAL), 11),
        *(TWO, info(Kind.VARIABLE), 1, Linkage.STATIC),
        *(TWO, info(Kind.DATA_SECTION, 1), 4, 13, 0, 4),
        *(TWO, info(Kind.DECLARATION_TAG), 13, 0xFFFFFFFF),
    )
    expected: list[Type] = [
        Int("one", 4, Encoding.SIGNED),
        Reference("", 1, Kind.POINTER),
        Array(1, 1, 7),
        Composite("two", 8, (("one", 1, 32, 0),), Kind.STRUCT),  # type: ignore[arg-type]
        Composite("two", 4, (("one", 1, 5, 3),), Kind.UNION),  # type: ignore[arg-type]
        Enum("two", 4, False, (("one", 0xFFFFFFFF),)),
        Enum("two", 4, True, (("one", -1),)),
        Enum("two", 8, True, (("one", (-1 << 32) | 1),), Kind.ENUM64),
        Forward("two", True),
        Reference("two", 1, Kind.TYPEDEF),
        Prototype(1, (("one", 1),)),
        Reference("two", 11, Kind.FUNCTION, Linkage.GLOBAL),
        Variable("two", 1, Linkage.STATIC),
        DataSection("two", 4, ((13, 0, 4),)),  # type: ignore[arg-type]
        Reference("two", 13, Kind.DECLARATION_TAG),
    ]
    assert expected == list(btf.types[1:])


def test_both_byte_orders_are_read() -> None:
    """As the ELF file says."""
    assert Btf.from_bytes(make_btf(*INT, order=">"), "big").types == read(*INT).types


def test_types_are_found_by_name_and_class() -> None:
    """Several may share a name."""
    btf = read(*INT, *(ONE, info(Kind.TYPEDEF), 1))
    assert [btf.types[1]] == list(btf.named("one", Int))
    assert [btf.types[2]] == list(btf.named("one", Reference))
    assert list(btf.named("two", Int)) == []


def test_sizes_multiply_through_arrays_and_typedefs() -> None:
    """Seven times three ints behind a typedef and a const."""
    btf = read(
        *INT,
        *(0, info(Kind.ARRAY), 0, 1, 1, 3),
        *(ONE, info(Kind.TYPEDEF), 2),
        *(0, info(Kind.CONST), 3),
        *(0, info(Kind.ARRAY), 0, 4, 1, 7),
    )
    assert btf.size_bytes(5) == 84


def test_a_circle_of_types_ends() -> None:
    """A typedef of itself, and an array of itself."""
    btf = read(*(ONE, info(Kind.TYPEDEF), 1), *(0, info(Kind.ARRAY), 0, 2, 2, 2))
    for ask in (btf.resolve, btf.size_bytes):
        with pytest.raises(ObjectError, match="nested more than 32 deep"):
            ask(1)
    with pytest.raises(ObjectError, match="nested more than 32 deep"):
        btf.size_bytes(2)


def test_void_has_no_size() -> None:
    """Nor has a function."""
    with pytest.raises(ObjectError, match=r"type 0 \(void\) has no size"):
        read(*INT).size_bytes(0)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "header is cut short: expected 24 bytes, got 0"),
        (b"\0" * 24, "offset 0: magic: expected 0xeb9f, got 0x0"),
        (make_btf()[:2] + b"\2" + make_btf()[3:], "offset 2: version 2 with flags 0 is unknown"),
        (make_btf()[:4] + b"\1" + make_btf()[5:], "offset 4: header of 1 bytes"),
        (make_btf(*INT)[:-1], "9 bytes of strings reach outside the section"),
        (make_btf(1, 2), "offset 0: last type is cut short"),
        (make_btf(0, info(Kind.STRUCT, 65535), 4), "offset 12: type is cut short"),
        (make_btf(0, 31 << 24, 0), "offset 0: kind 31 is unknown"),
        (make_btf(2, info(Kind.FLOAT), 4), "no string begins at 2 of the string table"),
        (make_btf(99, info(Kind.FLOAT), 4), "no string begins at 99 of the string table"),
        (make_btf(0, info(Kind.POINTER), 2), "type 1 refers to type 2, which does not exist"),
        (make_btf(strings=b"\0one"), "string table does not begin and end with NUL"),
    ],
)
def test_damage_is_named_with_its_place(data: bytes, sentence: str) -> None:
    """Each kind of damage has its own sentence."""
    with pytest.raises(ObjectError) as caught:
        Btf.from_bytes(data, "little")
    assert caught.value.section == ".BTF"
    assert sentence in str(caught.value)


def described(found: Type) -> tuple[Any, ...]:
    """Return what bpftool shows of *found*."""
    kinds = {
        Kind.POINTER: "PTR",
        Kind.FORWARD: "FWD",
        Kind.FUNCTION: "FUNC",
        Kind.PROTOTYPE: "FUNC_PROTO",
        Kind.VARIABLE: "VAR",
        Kind.DATA_SECTION: "DATASEC",
        Kind.DECLARATION_TAG: "DECL_TAG",
    }
    shown = kinds.get(found.kind, found.kind.name)
    match found:
        case Int() | Composite() | Enum() | DataSection():
            size: int | None = found.size_bytes
        case _:
            size = None
    match found:
        case Composite():
            parts: Any = [(part.name, part.type_id, part.offset_bits) for part in found.members]
        case Enum():
            parts = [tuple(value) for value in found.values]
        case Reference() | Variable() | Array():
            parts = found.type_id
        case _:
            parts = None
    return shown, found.name or "(anon)", size, parts


def shown_by_bpftool(each: dict[str, Any]) -> tuple[Any, ...]:
    """Return the same of an entry of bpftool's JSON."""
    size = each["size"] if each["kind"] in ("INT", "STRUCT", "UNION", "ENUM", "ENUM64", "DATASEC") else None
    parts: Any = each.get("type_id")
    if each["kind"] in ("STRUCT", "UNION"):
        parts = [(part["name"], part["type_id"], part["bits_offset"]) for part in each["members"]]
    elif each["kind"] in ("ENUM", "ENUM64"):
        parts = [(value["name"], value["val"]) for value in each["values"]]
    elif each["kind"] in ("FUNC_PROTO", "DATASEC"):
        parts = None
    return each["kind"], each["name"].replace("(anon)", "") or "(anon)", size, parts


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: path.name)
def test_types_are_those_bpftool_finds(path: Path) -> None:
    """Kinds, names, sizes, members and enumerators agree, in order of id."""
    if shutil.which("bpftool") is None:
        pytest.skip("no `bpftool` on PATH")
    btf = Object.from_bytes(path.read_bytes()).btf
    assert btf is not None
    dumped = subprocess.run(["bpftool", "btf", "dump", "-j", "file", path], capture_output=True, check=True)
    expected = [shown_by_bpftool(each) for each in json.loads(dumped.stdout)["types"]]
    assert expected == [described(found) for found in btf.types[1:]]


def test_64_bit_enums_have_all_their_bits(read_object: Callable[[str], Object]) -> None:
    """Signed ones below zero, too."""
    btf = read_object("types").btf
    assert btf is not None
    (wide,), (signed,) = btf.named("wide", Enum), btf.named("wide_signed", Enum)
    assert dict(wide.values) == {"NARROW": 1, "WIDE": 0x123456789A}
    assert dict(signed.values) == {"FAR_BELOW": -0x123456789A}
