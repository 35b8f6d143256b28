"""The ELF reader agrees with pyelftools on whole files, and says what is wrong with damaged ones."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from gadgetops.elf import NAME_LIMIT_BYTES, Elf, SectionType
from gadgetops.errors import ObjectError

OBJECTS = sorted((Path(__file__).parents[1] / "data" / "objects").glob("*.bpf.o"))


@pytest.fixture(params=OBJECTS, ids=lambda path: path.name)
def data(request: pytest.FixtureRequest) -> bytes:
    """One object after the other."""
    return request.param.read_bytes()


def test_sections_are_those_pyelftools_finds(data: bytes) -> None:
    """Names, types, sizes and contents agree, in order."""
    expected = [
        (section.name, section["sh_size"], section["sh_flags"], section.data())
        for section in ELFFile(io.BytesIO(data)).iter_sections()
        if section["sh_type"] != "SHT_NOBITS"
    ]
    actual = [
        (section.name, section.size_bytes, section.flags, bytes(section.data))
        for section in Elf.from_bytes(data).sections
        if section.type != SectionType.NOBITS
    ]
    assert expected == actual


def test_symbols_are_those_pyelftools_finds(data: bytes) -> None:
    """Names, values and sizes agree, in order; the empty first one is left out."""
    table = ELFFile(io.BytesIO(data)).get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    expected = [(symbol.name, symbol["st_value"], symbol["st_size"]) for symbol in table.iter_symbols()][1:]
    # pyelftools names the symbol of a section after the section.
    actual = [(symbol.name, symbol.value, symbol.size_bytes) for symbol in Elf.from_bytes(data).symbols]
    assert expected == actual


def test_relocations_are_those_pyelftools_finds(data: bytes) -> None:
    """Offsets and symbols agree, in order."""
    other = ELFFile(io.BytesIO(data))
    table = other.get_section_by_name(".symtab")
    elf = Elf.from_bytes(data)
    for section in elf.sections:
        if section.type == SectionType.REL:
            expected = [
                (entry["r_offset"], table.get_symbol(entry["r_info_sym"])["st_value"])
                for entry in other.get_section(section.index).iter_relocations()
            ]
            assert expected == [
                (entry.offset_bytes, entry.symbol.value) for entry in elf.relocations(section)
            ]


def whole(elf: ModuleType) -> bytes:
    """Return a small file that is right."""
    return elf.make(
        [elf.FakeSection("kprobe/one", elf.EXIT, flags=elf.EXECUTABLE)], [elf.FakeSymbol("one", 1)]
    )


def patched(data: bytes, offset: int, layout: str, value: int) -> bytes:
    """Return *data* with *value* written at *offset*."""
    size = struct.calcsize("<" + layout)
    return data[:offset] + struct.pack("<" + layout, value) + data[offset + size :]


def damaged(elf: ModuleType) -> Iterator[tuple[bytes, str]]:
    """Yield files that are wrong in one place, and what is to be said of them."""
    good = whole(elf)
    table = struct.unpack_from("<Q", good, 40)[0]
    yield b"", "not an ELF file"
    yield b"\x7fELF", "ELF header is cut short: expected 64 bytes, got 4"
    yield patched(good, 4, "B", 1), "offset 4: not a 64-bit ELF file"
    yield patched(good, 5, "B", 3), "offset 5: byte order: expected 1 or 2, got 3"
    yield patched(good, 58, "H", 40), "section headers: expected 64 bytes each, got 40"
    yield patched(good, 60, "H", 60000), f"offset {table}: section table of 60000 reaches outside the file"
    yield patched(good, 62, "H", 99), "section 99 was to hold the names of sections and does not exist"
    yield (
        patched(good, table + 64 + 32, "Q", 1 << 60),
        f"a section of {1 << 60} bytes reaches outside the file",
    )
    yield patched(good, table + 64, "I", 1 << 20), f"offset {1 << 20}: name reaches outside its table"


def test_damage_is_named_with_its_place(elf: ModuleType) -> None:
    """Each kind of damage has its own sentence."""
    for data, sentence in damaged(elf):
        with pytest.raises(ObjectError) as caught:
            Elf.from_bytes(data)
        assert str(caught.value).endswith(sentence)


def test_a_count_in_section_0_is_held_against_the_bytes_there(elf: ModuleType) -> None:
    """A file that claims 2^60 sections is refused before any is read."""
    data = whole(elf)
    table = struct.unpack_from("<Q", data, 40)[0]
    data = patched(patched(data, 60, "H", 0), table + 32, "Q", 1 << 60)
    with pytest.raises(ObjectError, match="reaches outside the file"):
        Elf.from_bytes(data)


def test_sections_may_not_share_bytes(elf: ModuleType) -> None:
    """Or many sections could each claim the whole of a large file."""
    data = elf.make([elf.FakeSection(str(number), bytes(200)) for number in range(20)], [])
    table = struct.unpack_from("<Q", data, 40)[0]
    for number in range(1, 21):
        data = patched(patched(data, table + 64 * number + 24, "Q", 0), table + 64 * number + 32, "Q", 2000)
    with pytest.raises(ObjectError, match="sections overlap"):
        Elf.from_bytes(data)


def test_names_have_a_limit(elf: ModuleType) -> None:
    """A name of more than 4096 bytes is refused; the longest is read."""
    longest = "n" * NAME_LIMIT_BYTES
    assert Elf.from_bytes(elf.make([elf.FakeSection(longest)], [])).sections[1].name == longest
    with pytest.raises(ObjectError, match="name is too long"):
        Elf.from_bytes(elf.make([elf.FakeSection(longest + "n")], []))


def test_a_file_without_symbol_table_has_no_symbols_to_give(elf: ModuleType) -> None:
    """A stripped object says nothing of its functions."""
    data = whole(elf)
    table = struct.unpack_from("<Q", data, 40)[0]
    with pytest.raises(ObjectError, match="no symbol table"):
        _ = Elf.from_bytes(patched(data, table + 2 * 64 + 4, "I", 1)).symbols


@pytest.mark.parametrize(
    ("data", "stride", "sentence"),
    [
        (bytes(16), 8, "section .rel: expected entries of 16 bytes, got 8"),
        (bytes(17), 16, "section .rel: last entry is cut short"),
        (bytes(16), 16, "section .rel: offset 0: symbol 0 does not exist"),
        (struct.pack("<QQ", 0, 9 << 32), 16, "section .rel: offset 0: symbol 9 does not exist"),
    ],
)
def test_damaged_relocations_are_named(elf: ModuleType, data: bytes, stride: int, sentence: str) -> None:
    """Cut short, or of symbols that are not there."""
    read = Elf.from_bytes(elf.make([elf.FakeSection(".rel", data, elf.REL, entry_bytes=stride)], []))
    with pytest.raises(ObjectError) as caught:
        list(read.relocations(read.sections[1]))
    assert sentence == str(caught.value)
