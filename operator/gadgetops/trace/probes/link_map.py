"""The objects of a running process, in the order in which its dynamic linker looks names up."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from gadgetops.errors import TraceError
from gadgetops.trace.processes import memory_holder, ranges_of, way_into, way_to

_AT_PHDR, _AT_PHNUM = 3, 5
_PT_DYNAMIC, _PT_PHDR = 2, 6
_DT_DEBUG: Final = 21
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")
_MOST_OBJECTS: Final = 4096
_MOST_DYNAMIC_ENTRIES: Final = 1024


@dataclass(frozen=True)
class Mapped:
    """
    A file that a process maps.

    Attributes:
        path: As the process sees it.
        probed: The way to the very file, whatever lies at that path now, as long as it is mapped.
    """

    path: Path
    probed: Path


@dataclass(frozen=True)
class _Range:
    start: int
    end: int
    is_code: bool
    file: tuple[str, str]
    object: Mapped


def mapped_objects(pid: int) -> list[Mapped]:
    """
    Return the executable and the libraries of process *pid*, each once, in the order of lookup.

    Those that the dynamic linker does not know (yet) come last: the lowest address, the executable's, and
    then downwards, as libraries are mapped. What is loaded later with dlopen(3) comes after what the program
    was linked with, as its names do.

    Raises:
        TraceError: No such process.
    """
    holder = memory_holder(pid)
    try:
        ranges = [*_ranges(holder)]
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TraceError(f"no process {pid}", hint="`ps` shows the running ones") from error
    except OSError as error:
        raise not_allowed(pid, error) from error
    code = {each.file: each.object for each in ranges if each.is_code}
    in_order = [
        each.file for address in _addresses(holder) for each in ranges if each.start <= address < each.end
    ]
    return [code[file] for file in dict.fromkeys([*in_order, *_downwards([*code])]) if file in code]


def not_allowed(pid: int, error: OSError) -> TraceError:
    """Return the error for a process that may not be looked into; the hint has the reason."""
    return TraceError(f"process {pid} cannot be looked into: {error.strerror}", hint=way_into(pid))


def _downwards(files: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return files[:1] + files[:0:-1]


def _ranges(pid: int) -> Iterator[_Range]:
    for each in ranges_of(pid):
        if each.path is not None and each.path.startswith("/"):
            mapped = Mapped(Path(each.path), way_to(pid, each))
            yield _Range(each.start_address, each.end_address, each.is_code, each.file, mapped)


def _addresses(pid: int) -> list[int]:
    """Return an address in each object, in the dynamic linker's order; none if it keeps no list."""
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            return [*_linked(memory, _auxiliary(pid))]
    except (OSError, KeyError, ValueError, OverflowError, struct.error):
        # Static, not yet linked, or not of this kind: the mappings remain.
        return []


def _auxiliary(pid: int) -> dict[int, int]:
    data = Path(f"/proc/{pid}/auxv").read_bytes()
    return dict(struct.iter_unpack("<QQ", data[: len(data) // 16 * 16]))


def _linked(memory: BinaryIO, auxiliary: dict[int, int]) -> Iterator[int]:
    """Yield the dynamic section's address of each `struct link_map` of <link.h>, the executable's first."""
    (link,) = struct.unpack("<Q", _read(memory, _debug_address(memory, auxiliary) + 8, 8))
    for _ in range(_MOST_OBJECTS):
        if link == 0:
            return
        _base, _name, dynamic, link = struct.unpack("<QQQQ", _read(memory, link, 32))
        yield dynamic


def _debug_address(memory: BinaryIO, auxiliary: dict[int, int]) -> int:
    """Return the address of `struct r_debug`, to which the executable's dynamic section points."""
    size = _PROGRAM_HEADER.size
    headers = _read(memory, auxiliary[_AT_PHDR], size * auxiliary[_AT_PHNUM])
    places = {kind: address for kind, _, _, address, *_ in _PROGRAM_HEADER.iter_unpack(headers)}
    base = auxiliary[_AT_PHDR] - places[_PT_PHDR]
    address = base + places[_PT_DYNAMIC]
    for index in range(_MOST_DYNAMIC_ENTRIES):
        tag, value = struct.unpack("<QQ", _read(memory, address + 16 * index, 16))
        if tag == _DT_DEBUG:
            return int(value)
        if tag == 0:
            break
    raise KeyError(_DT_DEBUG)


def _read(memory: BinaryIO, address: int, size_bytes: int) -> bytes:
    memory.seek(address)
    return memory.read(size_bytes)
