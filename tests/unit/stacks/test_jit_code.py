"""Perf maps and jitdumps are read as they grow, and whatever they hold costs bounded time and memory."""

import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gadgetops.stacks.naming import jit_code
from gadgetops.stacks.naming.jit_code import Definition, DumpReader, MapReader, Places

HEADER = struct.pack("<IIIIIIQQ", 0x4A695444, 1, 40, 62, 0, 7, 0, 0)
Open = Callable[[bytes], int]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Open a file with this content; the same file each time."""
    descriptors: list[int] = []

    def open_(content: bytes) -> int:
        (tmp_path / "file").write_bytes(content)
        descriptors.append(os.open(tmp_path / "file", os.O_RDONLY))
        return descriptors[-1]

    yield open_
    for descriptor in descriptors:
        os.close(descriptor)


def record(kind: int, timestamp_ns: int, body: bytes) -> bytes:
    return struct.pack("<IIQ", kind, 16 + len(body), timestamp_ns) + body


def load(timestamp_ns: int, address: int, name: bytes, number: int = 0, size: int = 8) -> bytes:
    body = struct.pack("<IIQQQQ", 7, 7, address, address, size, number) + name + b"\0" + bytes(size)
    return record(0, timestamp_ns, body)


def move(timestamp_ns: int, old: int, new: int, number: int) -> bytes:
    return record(1, timestamp_ns, struct.pack("<IIQQQQQ", 7, 7, new, old, new, 8, number))


def lines(address: int, *entries: tuple[int, int, bytes]) -> bytes:
    content = b"".join(struct.pack("<QII", at, line, 0) + path + b"\0" for at, line, path in entries)
    return record(2, 1, struct.pack("<QQ", address, len(entries)) + content)


def test_a_map_is_read_as_it_grows_in_whole_lines(opened: Open, tmp_path: Path) -> None:
    """With and without 0x; a name may have spaces; what is no line of a map is passed over."""
    reader = MapReader(opened(b"1000 10 first\n0x2000 0X20 of two words\nnone\n\nzz 1 bad\n3000 8 thi"))
    assert [*reader.read()] == [
        (0, Definition(0, 0x1000, 0x10, "first")),
        (14, Definition(0, 0x2000, 0x20, "of two words")),
    ]
    with (tmp_path / "file").open("ab") as stream:
        stream.write(b"rd\n")
    assert [found.name for _, found in reader.read()] == ["third"]
    assert not [*reader.read()]


def test_a_map_of_a_gigabyte_or_of_one_line_costs_little(opened: Open, tmp_path: Path) -> None:
    """It is read up to a limit; a line longer than any name is passed over."""
    descriptor = opened(b"1000 8 " + b"x" * 200_000 + b" 2000 8 hidden\n3000 8 later\n")
    assert [found.name for _, found in MapReader(descriptor).read()] == ["later"]
    os.truncate(tmp_path / "file", 1 << 30)
    assert [found.name for _, found in MapReader(descriptor).read()] == ["later"]


@pytest.mark.parametrize("content", [b"\n", b"0 \n", b"1000 8 \n", b"\xff", b"f" * 17 + b"\n"])
def test_a_map_of_nothing_costs_no_more_than_it_is_long(content: bytes, opened: Open) -> None:
    """In time: some ten nanoseconds a byte, whatever it is made of."""
    descriptor = opened(content * ((8 << 20) // len(content)))
    started_s = time.process_time()
    assert not [*MapReader(descriptor).read()]
    assert time.process_time() - started_s < 4


def test_a_jitdump_has_times_lines_and_moves(opened: Open) -> None:
    """Lines come before their function, and reach to the next line."""
    entries = lines(0x1000, (0x1000, 3, b"shop.js"), (0x1004, 5, b"\xff"))
    content = (
        HEADER + entries + load(10, 0x1000, b"fill", 4) + move(20, 0x1000, 0x5000, 4) + load(30, 0x9000, b"b")
    )
    assert [*DumpReader(opened(content)).read()] == [
        Definition(10, 0x1000, 8, "fill"),
        Definition(10, 0x1000, 4, "fill", "shop.js", 3),
        Definition(10, 0x1004, 4, "fill", "shop.js", 5),
        Definition(20, 0x5000, 8, "fill"),
        Definition(30, 0x9000, 8, "b"),
    ]


def test_lines_of_v8_are_where_it_means_them(opened: Open) -> None:
    """It adds the size of an ELF header to each address."""
    content = HEADER + lines(0x1000, (0x1042, 3, b"shop.js")) + load(1, 0x1000, b"JS:*fill", size=0x80)
    assert [*DumpReader(opened(content)).read()][1:] == [
        Definition(1, 0x1002, 0x7E, "JS:*fill", "shop.js", 3)
    ]


def test_a_jitdump_is_read_as_it_grows_in_whole_records(opened: Open, tmp_path: Path) -> None:
    whole = HEADER + load(1, 0x1000, b"first") + load(2, 0x2000, b"second")
    reader = DumpReader(opened(b""))
    found = []
    for size in range(len(whole) + 1):
        (tmp_path / "file").write_bytes(whole[:size])
        found += [each.name for each in reader.read()]
    assert found == ["first", "second"]


def test_times_of_a_processor_are_no_times(opened: Open) -> None:
    """They cannot be told from those of a clock otherwise."""
    header = struct.pack("<IIIIIIQQ", 0x4A695444, 1, 40, 62, 0, 7, 0, 1)
    assert [*DumpReader(opened(header + load(12345, 0x1000, b"f"))).read()] == [Definition(0, 0x1000, 8, "f")]


@given(st.binary(max_size=400), st.integers(0, 200))
def test_any_bytes_are_read(noise: bytes, place: int) -> None:
    """As a map, as a jitdump, and inside of a jitdump that is right otherwise."""
    right = HEADER + lines(0x1000, (0x1000, 3, b"a")) + load(1, 0x1000, b"first") + load(2, 0x2000, b"b")
    descriptor = os.memfd_create("file")
    try:
        for content in (noise, HEADER + noise, right[:place] + noise + right[place + len(noise) :]):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, content, 0)
            for found in [
                *DumpReader(descriptor).read(),
                *(each for _, each in MapReader(descriptor).read()),
            ]:
                assert 0 <= found.address + found.size_bytes < 1 << 63
    finally:
        os.close(descriptor)


def test_names_are_cut(opened: Open) -> None:
    found = [each for _, each in MapReader(opened(b"1000 8 " + b"n" * 60_000 + b"\n")).read()]
    assert [len(each.name) for each in found] == [4096]
    [loaded] = DumpReader(opened(HEADER + load(1, 0x1000, b"n" * 60_000))).read()
    assert len(loaded.name) == 4096


def test_code_in_place_of_other_code_is_noticed() -> None:
    """What is said twice is the same code; what covers a part of others takes their place."""
    places = Places()
    said = [
        (0x1000, 16, "a", False),
        (0x1010, 16, "b", False),
        (0x1000, 16, "a", False),
        (0x1000, 16, "c", True),
        (0x1008, 16, "d", True),
        (0x2000, 8, "e", False),
        (0x1000, 64, "f", True),
    ]
    found = [places.takes_place(Definition(0, address, size, name)) for address, size, name, _ in said]
    assert found == [is_replaced for *_, is_replaced in said]


def test_the_number_of_functions_has_a_limit(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit_code, "MOST_DEFINITIONS", 3)
    places = Places()
    for number in range(10):
        places.takes_place(Definition(0, number * 16, 16, "f"))
    assert len(places._starts) == 3
