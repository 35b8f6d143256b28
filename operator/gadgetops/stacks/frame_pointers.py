"""
Which files were built with frame pointers, as their unwinding rules tell.

A function that keeps a frame pointer says so in its rules, once: `DW_CFA_def_cfa_register` with the number of
that register (DWARF 5, section 6.4.2.2). It is looked for among the bytes of its rules, not parsed.
"""

import platform
import struct
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final

from gadgetops.elf import Elf
from gadgetops.errors import ObjectError

_BY_FRAME_POINTER: Final = b"\x0d\x06"
"""On x86-64, where the frame pointer is register 6, rbp."""
_BEGINS_A_STACK: Final = b"\x07\x10"
"""`DW_CFA_undefined` of the return address: the function that starts a program or thread."""
_BY_EXPRESSION: Final = b"\x0f\x0b\x77"
"""`DW_CFA_def_cfa_expression` over the stack pointer: stubs that the linker makes."""
_HEAD_BYTES: Final = 17
"""Of an entry: its length, its CIE, first address and size as linkers encode them, and one length more."""
_OF_GO: Final = ".go.buildinfo"
"""Section of programs in Go, whose functions keep frame pointers and have no such rules."""
_SHARE: Final = 0.5
"""So many of the functions that have a frame keep a pointer to it, if they were told to."""
_ENOUGH: Final = 2000
"""Of so many functions the share is that of all; who waits for the answer copies stacks."""
_MACHINES: Final = frozenset({"x86_64"})
"""Elsewhere the C ABI asks for frame pointers."""


def need_no_slices(pid: int, paths: frozenset[str]) -> bool:
    """
    Return whether a walk by frame pointers goes through all code of process *pid*, which maps *paths*.

    The C library is left out: it is where a stack begins, and what it calls back is rarely what allocates.
    """
    if platform.machine() not in _MACHINES:
        return True
    root = Path(f"/proc/{pid}/root")
    return all(
        has_frame_pointers(root / path.lstrip("/"), _identity(root / path.lstrip("/")))
        for path in paths
        if not _is_of_the_c_library(path)
    )


def _is_of_the_c_library(path: str) -> bool:
    return Path(path).name.startswith(("libc.so", "libc-2.", "ld-linux", "ld-musl", "libc.musl"))


def _identity(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _of_identity(identity: tuple[int, ...]) -> dict[None, bool]:
    """Return a place for the answer about one file, whatever process asks."""
    return {}


def has_frame_pointers(path: Path, identity: tuple[int, ...]) -> bool:
    """
    Return whether most functions of the ELF file *path* keep a frame pointer.

    False for a file that cannot be read, or has no rules there, as one whose rules are in `.debug_frame`
    alone: to copy its stacks is the safe way.

    Args:
        path: The file.
        identity: What tells it from other files; it is read once.
    """
    known = _of_identity(identity)
    if None not in known:
        known[None] = _measured(path)
    return known[None]


def _measured(path: Path) -> bool:
    try:
        elf = Elf.from_file(path)
    except (OSError, ObjectError):
        return False
    section = elf.section(".eh_frame")
    rules = [*islice(_rules(bytes(section.data)), _ENOUGH)] if section is not None else []
    if not rules:
        return elf.section(_OF_GO) is not None
    return sum(_BY_FRAME_POINTER in each for each in rules) >= _SHARE * len(rules)


def _rules(data: bytes) -> Iterator[bytes]:
    """Yield what the entries of functions that have a frame say, of the section `.eh_frame`."""
    offset = 0
    while offset + _HEAD_BYTES <= len(data):
        length, cie = struct.unpack_from("<II", data, offset)
        entry = data[offset + _HEAD_BYTES : offset + 4 + length]
        is_function = length and cie and entry.strip(b"\0")
        if is_function and _BEGINS_A_STACK not in entry and _BY_EXPRESSION not in entry:
            yield entry
        offset += 4 + length
