"""
Names and lines for addresses, after the recording: symbolic does the DWARF work, pydemumble the demangling.

Addresses are looked up relative to their file, each once. What has no symbols keeps module and offset.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import pydemumble
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection
from symbolic.debuginfo import Archive
from symbolic.exceptions import SymbolicError
from symbolic.symcache import SymCache

_DEBUG_FOLDER: Final = Path("/usr/lib/debug")


@dataclass(frozen=True)
class Location:
    """A function and, where known, the line of it; the file as the compiler wrote it."""

    function: str
    file: str | None
    line: int | None


class Module:
    """
    One ELF file as the target mapped it.

    Args:
        path: Where it can be read now.
        build_id: Hex, of the file that was mapped; a file with another one is not asked.
    """

    def __init__(self, path: Path, build_id: str | None = None) -> None:
        self._segments, self.build_id = _read_headers(path)
        is_other = build_id is not None and self.build_id is not None and build_id != self.build_id
        self._cache = None if is_other else _symbols(path, self.build_id)

    def locate(self, file_offset: int) -> Sequence[Location]:
        """
        Return where the call was that returns to *file_offset* bytes into the file.

        Innermost inlined function first; empty if unknown. A function's first instruction stands for itself:
        that is the leaf of a stack taken at its entry.
        """
        address = self._address(file_offset)
        if self._cache is None or address is None:
            return ()
        found = self._cache.lookup(address)
        if not (found and found[-1].sym_addr == address):
            found = self._cache.lookup(address - 1)
        return [_location(each) for each in found]

    def _address(self, file_offset: int) -> int | None:
        """Return the address relative to the file's lowest one, which is what symbolic asks for."""
        base = min((vaddr for _, vaddr, _ in self._segments), default=0)
        for offset, vaddr, size in self._segments:
            if offset <= file_offset < offset + size:
                return file_offset - offset + vaddr - base
        return None


@cache
def open_module(path: str, build_id: str | None) -> Module:
    """Return the module at *path*; it knows nothing if the file is gone."""
    return Module(Path(path), build_id)


def _location(found: Any) -> Location:
    name = pydemumble.demangle(found.symbol) or found.symbol
    return Location(name, found.full_path or None, found.line or None)


def _read_headers(path: Path) -> tuple[list[tuple[int, int, int]], str | None]:
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            loaded = [(s["p_offset"], s["p_vaddr"], s["p_filesz"]) for s in elf.iter_segments("PT_LOAD")]
            note = elf.get_section_by_name(".note.gnu.build-id")
            notes = note.iter_notes() if isinstance(note, NoteSection) else ()
            build_id = next((each["n_desc"] for each in notes), None)
            return loaded, build_id
    except (OSError, ELFError):
        return [], None


def _symbols(path: Path, build_id: str | None) -> SymCache | None:
    for candidate in (_debug_file(build_id), path):
        if candidate is None or not candidate.is_file():
            continue
        try:
            archive = Archive.open(str(candidate))
            return SymCache.from_object(next(iter(archive.iter_objects())))
        except (OSError, SymbolicError, StopIteration):
            continue
    return None


def _debug_file(build_id: str | None) -> Path | None:
    if not build_id:
        return None
    return _DEBUG_FOLDER / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
