"""
Which files were built with frame pointers, as their unwinding rules tell.

A function that keeps a frame pointer says so in its rules: on x86-64 it finds its frame by that register, on
arm64 it saves it beside the return address (DWARF 5, section 6.4.2). That is looked for among the bytes of
the rules, not parsed.
"""

import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from gadgetops.elf import MACHINE_AARCH64, MACHINE_X86_64, Elf
from gadgetops.errors import ObjectError


class _Signs(NamedTuple):
    """
    What to look for among the rules of a function.

    Attributes:
        has_frame: It has a frame, to which it may or may not keep a pointer.
        keeps_pointer: It keeps one.
        is_no_function: It starts a program or thread, or is a stub of the linker.
    """

    has_frame: re.Pattern[bytes]
    keeps_pointer: re.Pattern[bytes]
    is_no_function: re.Pattern[bytes]


_SIGNS: Final = {
    # DW_CFA_def_cfa_register of register 6, rbp. DW_CFA_undefined of the return address is 07 10;
    # DW_CFA_def_cfa_expression over the stack pointer is 0f 0b 77.
    MACHINE_X86_64: _Signs(
        has_frame=re.compile(rb""),
        keeps_pointer=re.compile(rb"\x0d\x06"),
        is_no_function=re.compile(rb"\x07\x10|\x0f\x0b\x77"),
    ),
    # DW_CFA_offset of register 30, the return address, beside that of 29, the frame pointer: the pair is what
    # frame pointers lead to. Most functions find their frame by the stack pointer all the same.
    MACHINE_AARCH64: _Signs(
        has_frame=re.compile(rb"\x9e"),
        keeps_pointer=re.compile(rb"\x9d.\x9e|\x9e.\x9d", re.DOTALL),
        is_no_function=re.compile(rb"\x07\x1e"),
    ),
}
_HEAD_BYTES: Final = 17
"""Of an entry: its length, its CIE, first address and size as linkers encode them, and one length more."""
_OF_GO: Final = ".go.buildinfo"
"""Section of programs in Go, whose functions keep frame pointers and have no such rules."""
_SHARE: Final = 0.5
"""So many of the functions that have a frame keep a pointer to it, if they were told to."""
_ENOUGH: Final = 2000
"""Of so many functions the share is that of all; who waits for the answer copies stacks."""


def need_no_slices(pid: int, paths: frozenset[str]) -> bool:
    """
    Return whether a walk by frame pointers goes through all code of process *pid*, which maps *paths*.

    The C library is left out: it is where a stack begins, and what it calls back is rarely what allocates.
    """
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
    section, signs = elf.section(".eh_frame"), _SIGNS.get(elf.machine)
    if section is None or signs is None:
        return elf.section(_OF_GO) is not None
    rules = [*islice(_rules(bytes(section.data), signs), _ENOUGH)]
    if not rules:
        return elf.section(_OF_GO) is not None
    return sum(signs.keeps_pointer.search(each) is not None for each in rules) >= _SHARE * len(rules)


def _rules(data: bytes, signs: _Signs) -> Iterator[bytes]:
    """Yield what the entries of functions that have a frame say, of the section `.eh_frame`."""
    offset = 0
    while offset + _HEAD_BYTES <= len(data):
        length, cie = struct.unpack_from("<II", data, offset)
        entry = data[offset + _HEAD_BYTES : offset + 4 + length]
        is_function = length and cie and entry.strip(b"\0") and signs.has_frame.search(entry)
        if is_function and not signs.is_no_function.search(entry):
            yield entry
        offset += 4 + length
