"""
The functions of an executable or library: where they begin, their code, and where jumps lead into them.

Only the tables are read, not debugging information; of a file as large as a browser that takes a second, and
what was read once is kept.
"""

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section
from numpy.typing import NDArray

from gadgetops.errors import StorageError, TraceError

_SYMBOL: Final = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_FUNCTION: Final = 2
_LOCAL: Final = 0
_EXECUTABLE: Final = 1
_KEPT_FILES: Final = 64


@dataclass(frozen=True)
class Function:
    """
    A function in a file.

    Attributes:
        name: In the file; another one than was asked for if it does the same.
        address: As the file numbers its memory.
        offset_bytes: In the file.
        size_bytes: Of its code; 0 if the file does not say.
    """

    name: str
    address: int
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True)
class _Segment:
    address: int
    offset_bytes: int
    data: NDArray[np.uint8]


@dataclass(frozen=True)
class _Symbols:
    table: NDArray[Any]
    names: bytes

    def find(self, name: str, *, exported_only: bool) -> Iterator[tuple[int, int]]:
        """Yield address and size of each function of that name."""
        places = np.fromiter(_positions(self.names, name.encode() + b"\0"), np.uint32)
        table = self.table[np.isin(self.table["name"], places)]
        if exported_only:
            table = table[table["info"] >> 4 != _LOCAL]
        for row in table:
            yield int(row["value"]), int(row["size"])


def _positions(names: bytes, name: bytes) -> Iterator[int]:
    position = names.find(name)
    while position >= 0:
        yield position
        position = names.find(name, position + 1)


class Executable:
    """
    A 64-bit ELF file.

    Attributes:
        path: Where it was read.
        machine: Its processor, as ELF names it (`EM_X86_64`).
        is_dynamic: Whether it says what it exports; else all of its functions count.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            if elf.elfclass != 64 or not elf.little_endian:
                raise TraceError(f"{path}: only 64-bit programs can be traced")
            self.machine = str(elf["e_machine"])
            self._segments = [*_segments(elf)]
            # Once: each pass makes all sections anew.
            sections = [*elf.iter_sections()]
            self._exported = _symbols(sections, ".dynsym")
            self._all = _symbols(sections, ".symtab")
            self._linkage = [*_linkage(sections)]
        self.is_dynamic = self._exported is not None

    def functions(self, name: str, *, exported_only: bool) -> list[Function]:
        """Return the functions of that name, each address once: several if their versions differ."""
        tables = [self._exported] if exported_only and self.is_dynamic else [self._exported, self._all]
        found = [
            place for table in tables if table for place in table.find(name, exported_only=exported_only)
        ]
        return [self._function(name, address, size) for address, size in dict(found).items()]

    def code(self, function: Function) -> bytes:
        """Return the code of *function*."""
        segment = self._segment(function.address)
        if segment is None:
            return b""
        start = function.address - segment.address
        return segment.data[start : start + function.size_bytes].tobytes()

    def is_in_linkage(self, address: int) -> bool:
        """Return whether *address* is in the table through which functions of other files are called."""
        return any(start <= address < end for start, end in self._linkage)

    def entries(self, start: int, end: int) -> set[int]:
        """
        Return addresses to which code may come otherwise than from the instruction before.

        Other functions' beginnings, and targets of long jumps anywhere in the file. Short jumps come from the
        function itself, and are for its reader.

        Args:
            start: The lowest address that counts.
            end: The lowest that does not any more.
        """
        known = np.concatenate([self._beginnings, self._targets])
        return set(known[(known >= start) & (known < end)].tolist())

    @functools.cached_property
    def _beginnings(self) -> NDArray[np.int64]:
        tables = [symbols.table["value"] for symbols in (self._exported, self._all) if symbols]
        return np.concatenate([np.empty(0, np.uint64), *tables]).astype(np.int64)

    @functools.cached_property
    def _targets(self) -> NDArray[np.int64]:
        read = {"EM_X86_64": _targets_on_x86, "EM_AARCH64": _targets_on_arm64}.get(self.machine)
        targets = [read(segment.data, segment.address) for segment in self._segments] if read else []
        return np.concatenate([np.empty(0, np.int64), *targets])

    def _function(self, name: str, address: int, size_bytes: int) -> Function:
        segment = self._segment(address)
        offset = address if segment is None else address - segment.address + segment.offset_bytes
        return Function(name, address, offset, size_bytes)

    def _segment(self, address: int) -> _Segment | None:
        return next((s for s in self._segments if s.address <= address < s.address + len(s.data)), None)


def read_executable(path: Path) -> Executable:
    """
    Return what is in the file at *path*; a file that was read before is not read again.

    Raises:
        TraceError: It is no ELF file, or not of a 64-bit program.
        StorageError: It cannot be read.
    """
    try:
        status = path.stat()
        return _kept(_Version(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, path))
    except (ELFError, UnicodeDecodeError, ValueError) as error:
        raise TraceError(f"{path}: not an ELF file: {error}") from error
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error


@dataclass(frozen=True)
class _Version:
    """A file as it is now, wherever it is seen."""

    device: int
    inode: int
    changed_ns: int
    size_bytes: int
    path: Path = field(compare=False)


@functools.lru_cache(_KEPT_FILES)
def _kept(version: _Version) -> Executable:
    return Executable(version.path)


def _segments(elf: ELFFile) -> Iterator[_Segment]:
    for segment in elf.iter_segments("PT_LOAD"):
        if segment["p_flags"] & _EXECUTABLE:
            data = os.pread(elf.stream.fileno(), segment["p_filesz"], segment["p_offset"])
            yield _Segment(segment["p_vaddr"], segment["p_offset"], np.frombuffer(data, np.uint8))


def _linkage(sections: Sequence[Section]) -> Iterator[tuple[int, int]]:
    for section in sections:
        if section.name.startswith((".plt", ".iplt")):
            yield section["sh_addr"], section["sh_addr"] + section["sh_size"]


def _symbols(sections: Sequence[Section], section_name: str) -> _Symbols | None:
    section = next((section for section in sections if section.name == section_name), None)
    if section is None or section["sh_type"] == "SHT_NOBITS":
        return None
    table = np.frombuffer(section.data(), _SYMBOL)
    is_defined = (table["info"] & 15 == _FUNCTION) & (table["section"] != 0) & (table["value"] != 0)
    return _Symbols(table[is_defined], sections[section["sh_link"]].data())


def _targets_on_x86(data: NDArray[np.uint8], address: int) -> NDArray[np.int64]:
    """
    Return where jumps and calls with a distance of 32 bits lead.

    Every byte is taken for the beginning of one: that finds all of them, and few places more.
    """
    near = np.flatnonzero((data == 0xE8) | (data == 0xE9)) + 1
    conditional = np.flatnonzero((data[:-1] == 0x0F) & (data[1:] >> 4 == 8)) + 2
    starts = np.concatenate([near, conditional])
    starts = starts[starts + 4 <= len(data)]
    distances = sum(data[starts + byte].astype(np.int64) << 8 * byte for byte in range(4))
    return address + starts + 4 + _signed(np.asarray(distances), 32)


def _targets_on_arm64(data: NDArray[np.uint8], address: int) -> NDArray[np.int64]:
    """Return where all direct branches lead; instructions are words."""
    words = data[: len(data) // 4 * 4].view("<u4").astype(np.int64)
    forms = (
        (0x7C000000, 0x14000000, 0, 26),
        (0xFF000010, 0x54000000, 5, 19),
        (0x7E000000, 0x34000000, 5, 19),
        (0x7E000000, 0x36000000, 5, 14),
    )
    return np.concatenate([_branches(words, address, *form) for form in forms])


def _branches(
    words: NDArray[np.int64], address: int, mask: int, value: int, shift: int, n_bits: int
) -> NDArray[np.int64]:
    indices = np.flatnonzero(words & mask == value)
    distances = _signed(words[indices] >> shift & (1 << n_bits) - 1, n_bits)
    return address + 4 * (indices + distances)


def _signed(values: NDArray[np.int64], n_bits: int) -> NDArray[np.int64]:
    return np.where(values >> n_bits - 1 & 1, values - (1 << n_bits), values)
