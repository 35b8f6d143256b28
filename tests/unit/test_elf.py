"""The ELF reader agrees with pyelftools on whole files, and says what is wrong with damaged ones."""

import io
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from gadgetops.elf import NAME_LIMIT_BYTES, NOTE_GNU_BUILD_ID, Elf, SectionType, SegmentType
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


PROGRAMS = [Path("/bin/ls"), Path("/lib/x86_64-linux-gnu/libc.so.6"), Path(sys.executable).resolve()]


@pytest.fixture(params=PROGRAMS, ids=lambda path: path.name)
def program(request: pytest.FixtureRequest) -> Path:
    """One file of this machine after the other."""
    if not request.param.exists():
        pytest.skip(f"no {request.param}")
    return Path(request.param)


def test_segments_are_those_pyelftools_finds(program: Path) -> None:
    """Places and contents agree, in order."""
    with program.open("rb") as stream:
        expected = [
            (each["p_offset"], each["p_vaddr"], bool(each["p_flags"] & 1), each.data())
            for each in ELFFile(stream).iter_segments()
        ]
    actual = [
        (each.offset_bytes, each.address, each.is_executable, bytes(each.data))
        for each in Elf.from_file(program).segments
    ]
    assert expected == actual


def test_sections_of_a_program_have_an_address(program: Path) -> None:
    with program.open("rb") as stream:
        expected = [(each.name, each["sh_addr"]) for each in ELFFile(stream).iter_sections()]
    assert [(each.name, each.address) for each in Elf.from_file(program).sections] == expected


def test_a_build_id_is_the_one_pyelftools_finds(program: Path) -> None:
    with program.open("rb") as stream:
        expected = [
            note["n_desc"]
            for segment in ELFFile(stream).iter_segments("PT_NOTE")
            for note in segment.iter_notes()
            if note["n_type"] == "NT_GNU_BUILD_ID"
        ]
    assert [each.hex() for each in Elf.from_file(program).notes(b"GNU", NOTE_GNU_BUILD_ID)] == expected


def test_a_damaged_note_ends_its_segment(program: Path) -> None:
    """Its sizes are the file's own, and may be anything."""
    data = program.read_bytes()
    for segment in Elf.from_bytes(data).segments:
        if segment.type == SegmentType.NOTE:
            damaged = bytearray(data)
            struct.pack_into("<I", damaged, segment.offset_bytes + 4, 0xFFFFFFF0)
            assert len([*Elf.from_bytes(bytes(damaged)).notes(b"GNU", NOTE_GNU_BUILD_ID)]) <= 1


def test_program_headers_outside_the_file_are_named(tmp_path: Path) -> None:
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0, 64, 0, 0, 64, 56, 3, 64, 0, 0
    )
    (tmp_path / "program").write_bytes(header)
    with pytest.raises(ObjectError, match="offset 64: program header table of 3 reaches outside the file"):
        Elf.from_file(tmp_path / "program")


def test_an_empty_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ObjectError, match="not an ELF file"):
        Elf.from_file(tmp_path / "empty")


def test_code_is_found_by_where_its_mapping_begins() -> None:
    """Its segment begins at 0x1230 of the file, its mapping at the beginning of that page."""
    fields = b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0
    data = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, 0x1230, 0x1230, 0x1000)
    code = struct.pack("<IIQQQQQQ", 1, 5, 0x1230, 0x2230, 0, 0x100, 0x100, 0x1000)
    file = (struct.pack("<16sHHIQQQIHHHHHH", *fields) + data + code).ljust(0x1330, b"\0")
    elf = Elf.from_bytes(file)
    for file_offset in (0x1000, 0x1230, 0x132F):
        found = elf.code_mapped_from(file_offset)
        assert found is not None
        assert found.address == 0x2230
    assert elf.code_mapped_from(0x1330) is None
