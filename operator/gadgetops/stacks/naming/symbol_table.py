"""The functions that an ELF file names in its table of symbols, looked up by address."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section
from numpy.typing import NDArray

from gadgetops.elf import SymbolType
from gadgetops.stacks.naming.files import DAMAGED

_TABLES: Final = (".symtab", ".dynsym")
"""The second is what is left in a stripped file; where the first is, it has those, too."""
_IS_CODE: Final = 0x4
_FIRST_SPECIAL_SECTION: Final = 0xFF00
_FIELDS_64: Final = [
    ("name", "u4"),
    ("info", "u1"),
    ("other", "u1"),
    ("section", "u2"),
    ("value", "u8"),
    ("size", "u8"),
]
_FIELDS_32: Final = [
    ("name", "u4"),
    ("value", "u4"),
    ("size", "u4"),
    ("info", "u1"),
    ("other", "u1"),
    ("section", "u2"),
]


@dataclass(frozen=True)
class SymbolTable:
    """
    Functions in order of their addresses, as the file has those.

    Attributes:
        starts: First address of each, sorted, without repetition.
        ends: First address behind each.
        name_offsets: Where in *names* each name is.
        names: Text, each ended by a zero.
    """

    starts: NDArray[np.uint64]
    ends: NDArray[np.uint64]
    name_offsets: NDArray[np.uint32]
    names: bytes

    def lookup(self, address: int) -> tuple[int, str] | None:
        """Return where the function at *address* begins, and its name; None if unknown."""
        index = int(np.searchsorted(self.starts, np.uint64(address), side="right")) - 1
        if index < 0 or address >= self.ends[index]:
            return None
        offset = int(self.name_offsets[index])
        name = self.names[offset : self.names.find(b"\0", offset)]
        return int(self.starts[index]), name.decode(errors="replace")


def read_symbol_table(path: Path) -> SymbolTable | None:
    """Return the functions that the file at *path* names; None if it cannot be read or names none."""
    try:
        with path.open("rb") as stream:
            return symbol_table_of(stream)
    except DAMAGED:
        return None


def symbol_table_of(stream: BinaryIO) -> SymbolTable | None:
    """
    Return the functions that an ELF file names; None if it names none.

    Raises:
        OSError, ELFError, ValueError and others of `DAMAGED`: It is no ELF file, or a damaged one.
    """
    elf = ELFFile(stream)
    for table in filter(None, map(elf.get_section_by_name, _TABLES)):
        found = _functions(elf, table)
        if found is not None:
            return found
    return None


def _functions(elf: ELFFile, table: Section) -> SymbolTable | None:
    order = "<" if elf.little_endian else ">"
    fields = _FIELDS_64 if elf.elfclass == 64 else _FIELDS_32
    entries = np.frombuffer(table.data(), np.dtype([(name, order + kind) for name, kind in fields]))
    entries = entries[_are_functions(elf, entries)]
    if not len(entries):
        return None
    # Of several names of one address the first one stays, and one with a size goes before one without.
    entries = entries[np.lexsort((np.arange(len(entries)), entries["size"] == 0, entries["value"]))]
    starts = entries["value"].astype(np.uint64)
    is_first = np.concatenate(([True], starts[1:] != starts[:-1]))
    entries, starts = entries[is_first], starts[is_first]
    following = np.append(starts[1:], np.uint64(2**64 - 1))
    sizes = entries["size"].astype(np.uint64)
    ends = np.where(sizes == 0, following, starts + sizes)
    names = elf.get_section(table["sh_link"]).data()
    return SymbolTable(starts, ends, entries["name"].astype(np.uint32), names)


def _are_functions(elf: ELFFile, entries: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return which symbols stand for code of the file: those of other files have no section."""
    is_code = np.array([_is_code(section) for section in elf.iter_sections()], dtype=bool)
    is_local = (entries["section"] < min(len(is_code), _FIRST_SPECIAL_SECTION)) & (entries["value"] > 0)
    in_code = np.zeros(len(entries), dtype=bool)
    in_code[is_local] = is_code[entries["section"][is_local]]
    kinds = (SymbolType.NOTYPE, SymbolType.FUNC)
    return in_code & np.isin(entries["info"] & 15, kinds) & (entries["name"] > 0)


def _is_code(section: Section) -> bool:
    return bool(section["sh_flags"] & _IS_CODE)
