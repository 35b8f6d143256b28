"""
What a file's tables say about its code: where each piece begins and ends, and which function a stub calls.

The pieces come from the table of unwind rules (`.eh_frame_hdr`, Linux Standard Base), which also stripped
files have, with the parts that compilers move out of a function. Stubs are those of the linkage table (PLT).
"""

import bisect
import functools
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gadgetops.elf import MACHINE_AARCH64, MACHINE_X86_64, SYMBOL_BYTES, Elf
from gadgetops.errors import ObjectError

_TABLE_HEAD: Final = struct.Struct("<4BiI")
_TABLE_ENCODINGS: Final = (1, 0x1B, 0x03, 0x3B)
"""Version; relative to their place, unsigned, and relative to the table, 4 bytes each: what linkers write."""
_RULE_HEAD: Final = struct.Struct("<IIiI")
"""Length, distance to what rules share, distance to the code, and its size (`FDE`)."""
_ENTRY: Final = struct.Struct("<QQq")
_SLOT_TYPES: Final = {MACHINE_X86_64: (6, 7), MACHINE_AARCH64: (1025, 1026)}
"""R_*_GLOB_DAT and R_*_JUMP_SLOT: places that hold the address of a function by its name."""
_CHOSEN_SLOT_TYPE: Final = {MACHINE_X86_64: 37, MACHINE_AARCH64: 1032}
"""R_*_IRELATIVE: a place that holds the address of a function which is chosen for the processor."""


class CodeMap:
    """
    The tables of one file, each read when it is first asked for.

    Args:
        path: The file; where it cannot be read any more, nothing is known.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def piece(self, address: int) -> range | None:
        """Return the addresses of the piece of code around *address*; None where the file does not say."""
        starts, rules = self._pieces
        index = bisect.bisect_right(starts, address) - 1
        if index < 0:
            return None
        found = range(starts[index], starts[index] + self._size_bytes(rules[index]))
        return found if address in found else None

    def name_in_slot(self, address: int) -> str | None:
        """Return the name of the function whose address lies at *address* once the file is linked."""
        return self._slots.get(address)

    def is_chosen_slot(self, address: int) -> bool:
        """Return whether *address* will hold that of a function which is chosen for the processor."""
        return address in self._chosen_slots

    def _size_bytes(self, rule: int) -> int:
        address, data = self._rules
        if not 0 <= rule - address <= len(data) - _RULE_HEAD.size:
            return 0
        size_bytes: int = _RULE_HEAD.unpack_from(data, rule - address)[3]
        return size_bytes

    @functools.cached_property
    def _elf(self) -> Elf | None:
        try:
            return Elf.from_file(self._path)
        except (OSError, ObjectError):
            return None

    @functools.cached_property
    def _rules(self) -> tuple[int, bytes]:
        section = self._elf.section(".eh_frame") if self._elf else None
        return (section.address, bytes(section.data)) if section else (0, b"")

    @functools.cached_property
    def _pieces(self) -> tuple[list[int], list[int]]:
        """Where pieces begin, in order, and where their rules lie."""
        table = self._elf.section(".eh_frame_hdr") if self._elf else None
        if table is None or len(table.data) < _TABLE_HEAD.size:
            return [], []
        *encodings, _rules, count = _TABLE_HEAD.unpack_from(table.data)
        numbers = bytes(table.data[_TABLE_HEAD.size : _TABLE_HEAD.size + 8 * count])
        if tuple(encodings) != _TABLE_ENCODINGS or len(numbers) < 8 * count:
            return [], []
        values = [table.address + value for value in memoryview(numbers).cast("i")]
        return values[::2], values[1::2]

    @functools.cached_property
    def _slots(self) -> Mapping[int, str]:
        try:
            return dict(_named_slots(self._elf)) if self._elf else {}
        except (ObjectError, struct.error, ValueError):
            return {}

    @functools.cached_property
    def _chosen_slots(self) -> frozenset[int]:
        if self._elf is None:
            return frozenset()
        wanted = _CHOSEN_SLOT_TYPE.get(self._elf.machine)
        return frozenset(slot for slot, info in _slots(self._elf) if info == wanted)


def _slots(elf: Elf) -> Iterator[tuple[int, int]]:
    """Yield each place that the dynamic linker fills in, with the type and symbol of what goes there."""
    for section in (elf.section(".rela.plt"), elf.section(".rela.dyn")):
        whole = len(section.data) // _ENTRY.size * _ENTRY.size if section else 0
        for slot, info, _ in _ENTRY.iter_unpack(section.data[:whole]) if section else ():
            yield slot, info


def _named_slots(elf: Elf) -> Iterator[tuple[int, str]]:
    symbols = elf.section(".dynsym")
    if symbols is None:
        return
    names = bytes(elf.linked_strings(symbols))
    types = _SLOT_TYPES.get(elf.machine, ())
    for slot, info in _slots(elf):
        if info & 0xFFFFFFFF in types:
            (name,) = struct.unpack_from("<I", symbols.data, (info >> 32) * SYMBOL_BYTES)
            yield slot, names[name : names.index(b"\0", name)].decode(errors="replace")
