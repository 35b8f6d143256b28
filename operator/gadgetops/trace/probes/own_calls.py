"""
Calls that a C library or an allocator makes for itself: which code makes them, and which calls they are.

A program knows nothing of them: the arena that glibc maps inside free(), what jemalloc unmaps when it starts,
the stack of a thread. glibc also calls free() itself when a thread ends, for blocks that it keeps in reserve.
"""

import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from gadgetops.trace.probes.executable import Executable, Function
from gadgetops.trace.probes.prologue import MACHINES

_PAGE: Final = 4096
_WORDS: Final = struct.Struct("<8Q")
_FACTOR: Final = 0xFF51AFD7ED558CCD
_MASK: Final = (1 << 64) - 1
_REACH_BYTES: Final = 1 << 16
"""How far the calls lie from the function: they are compiled together."""
_AT_THREAD_END: Final = ("__malloc_arena_thread_freeres", "arena_thread_freeres", "tcache_thread_shutdown")
"""Functions of glibc that give back what a thread kept."""
_BREAKPOINTS: Final[Mapping[str, bytes]] = {
    "EM_X86_64": b"\xcc",
    "EM_AARCH64": (0xD4200000 | 5 << 5).to_bytes(4, "little"),
}
"""What the kernel puts in the place of an instruction that has a probe."""


def makes_own_calls(executable: Executable) -> bool:
    """
    Return whether what the code of *executable* maps and releases is its own matter.

    So it is with a library under whose names programs allocate. A program that has an allocator of its own
    makes calls of both kinds.
    """
    is_library = executable.is_dynamic and not executable.is_program
    names = ("malloc", "mmap")
    return is_library and any(executable.functions(name, exported_only=True) for name in names)


def page_hashes(executable: Executable, path: Path, probed: Collection[int]) -> Iterator[int]:
    """
    Yield the hash of each page of code, as the gadget knows it.

    Args:
        executable: The file.
        path: To read it.
        probed: Offsets of the instructions in it that have probes: pages are given with and without them.
    """
    data = path.read_bytes()
    for start in _pages(executable):
        words = data[start : start + _WORDS.size].ljust(_WORDS.size, b"\0")
        yield _hash(words)
        inside = [offset - start for offset in probed if start <= offset < start + _WORDS.size]
        if inside:
            yield _hash(_with_breakpoints(words, inside, _BREAKPOINTS.get(executable.machine, b"")))


def _pages(executable: Executable) -> Iterator[int]:
    for offset_bytes, size_bytes in executable.extents():
        yield from range(offset_bytes // _PAGE * _PAGE, offset_bytes + size_bytes, _PAGE)


def _with_breakpoints(words: bytes, places: Collection[int], breakpoint_: bytes) -> bytes:
    changed = bytearray(words)
    for place in places:
        changed[place : place + len(breakpoint_)] = breakpoint_
    return bytes(changed[: len(words)])


def _hash(words: bytes) -> int:
    """Return the hash of a page's first words, as is_own_code() in gadget/own_calls.h."""
    value = 0
    for word in _WORDS.unpack(words):
        value = (value ^ word) * _FACTOR & _MASK
        value ^= value >> 32
    return value


def release_calls(executable: Executable, release: Function) -> list[int]:
    """
    Return the offsets of the instructions by which glibc's allocator calls its own free().

    In the library these are the direct calls: all others go through its linkage table, as a program may have
    another free(). What is released by them was released before, or had no allocation: what a thread keeps in
    reserve is given back when it ends, and so is the table of that. realloc(p, 0) says so itself.

    Args:
        executable: The C library, or a static program; of others none is found.
        release: free() in it.
    """
    places = [*_direct_calls(executable, release.address)]
    if executable.is_program or not executable.is_dynamic:
        # All calls are direct there; but functions have their names.
        within = [f for name in _AT_THREAD_END for f in executable.functions(name, exported_only=False)]
        places = [p for p in places if any(0 <= p - f.address < f.size_bytes for f in within)]
    elif not executable.functions("gnu_get_libc_version", exported_only=True):
        return []
    found = [place for place in places if _is_call(executable, place, release.address)]
    return [executable.offset_bytes(place) for place in found]


def _direct_calls(executable: Executable, target: int) -> Iterator[int]:
    """Yield where there may be a call of *target*: its bytes are there, in an instruction or across two."""
    start = max(target - _REACH_BYTES, executable.code_start(target))
    code = executable.code_at(range(start, target + _REACH_BYTES))
    if executable.machine == "EM_X86_64":
        for position in range(len(code) - 4):
            if code[position] == 0xE8:
                (distance,) = struct.unpack_from("<i", code, position + 1)
                if start + position + 5 + distance == target:
                    yield start + position
    elif executable.machine == "EM_AARCH64":
        for position in range(0, len(code) - 3, 4):
            distance = target - start - position >> 2 & 0x3FFFFFF
            if struct.unpack_from("<I", code, position) == (0x94000000 | distance,):
                yield start + position


def _is_call(executable: Executable, place: int, target: int) -> bool:
    """Return whether an instruction begins at *place*, read from the beginning of a function before it."""
    start = executable.beginning_before(place + 1)
    machine = MACHINES.get(executable.machine)
    if start is None or machine is None:
        return False
    code = executable.code_at(range(start, place + 16))
    for address, _, mnemonic, operands in machine.disassembler.disasm_lite(code, start):
        if address == place:
            return mnemonic in ("call", "bl") and int(operands.lstrip("#"), 16) == target
        if address > place:
            return False
    return False
