"""ELF files made to be wrong in one place."""

import struct
from dataclasses import dataclass

REL, SYMTAB, STRTAB, PROGBITS, NOBITS = 9, 2, 3, 1, 8
EXECUTABLE = 4
LOCAL, GLOBAL, WEAK = 0, 1, 2
NOTYPE, OBJECT, FUNC, SECTION = 0, 1, 2, 3


@dataclass
class FakeSection:
    """A section to be; *info* is the index of the section that relocations apply to."""

    name: str
    data: bytes = b""
    type: int = PROGBITS
    flags: int = 0
    info: int = 0
    size: int | None = None
    entry_bytes: int = 0


@dataclass
class FakeSymbol:
    """A symbol to be."""

    name: str
    section: int
    value: int = 0
    type: int = FUNC
    binding: int = GLOBAL
    size: int | None = None
    """None: up to the next symbol of its section, or the section's end."""
    visibility: int = 0


def _size(symbol: FakeSymbol, sections: list[FakeSection], symbols: list[FakeSymbol]) -> int:
    if symbol.size is not None:
        return symbol.size
    end = len(sections[symbol.section - 1].data) if 0 < symbol.section <= len(sections) else symbol.value + 8
    later = (each.value for each in symbols if each.section == symbol.section and each.value > symbol.value)
    return max(0, min(later, default=end) - symbol.value)


def make(sections: list[FakeSection], symbols: list[FakeSymbol], *, machine: int = 247) -> bytes:
    """Return an ELF file with *sections* from index 1 on, then its symbol table and names."""
    strings = bytearray(b"\0")

    def name(text: str) -> int:
        strings.extend(text.encode() + b"\0")
        return len(strings) - len(text.encode()) - 1

    table = bytes(24) + b"".join(
        struct.pack(
            "<IBBHQQ",
            name(each.name) if each.name else 0,
            each.binding << 4 | each.type,
            each.visibility,
            each.section,
            each.value,
            _size(each, sections, symbols),
        )
        for each in symbols
    )
    names_index = len(sections) + 2
    every = [
        FakeSection("", type=0),
        *sections,
        FakeSection(".symtab", table, SYMTAB, entry_bytes=24),
        FakeSection(".strtab", type=STRTAB),
    ]
    offsets = [name(each.name) if each.name else 0 for each in every]
    every[names_index].data = bytes(strings)
    body, headers = bytearray(64), bytearray()
    for each, offset in zip(every, offsets, strict=True):
        link = names_index if each.type == SYMTAB else 0
        size = len(each.data) if each.size is None else each.size
        headers += struct.pack(
            "<IIQQQQIIQQ",
            offset,
            each.type,
            each.flags,
            0,
            len(body),
            size,
            link,
            each.info,
            8,
            each.entry_bytes,
        )
        body += each.data
    body[:64] = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        1, machine, 1, 0, 0, len(body), 0, 64, 0, 0, 64, len(every), names_index,
    )  # fmt: skip
    return bytes(body + headers)


def code(*instructions: tuple[int, int, int, int, int]) -> bytes:
    """Return the bytes of (opcode, destination, source, offset, immediate), one slot each."""
    return b"".join(
        struct.pack("<BBhi", op, dst | src << 4, off, imm) for op, dst, src, off, imm in instructions
    )


EXIT = code((0x95, 0, 0, 0, 0))
