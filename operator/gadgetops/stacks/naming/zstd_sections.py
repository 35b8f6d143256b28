"""
ELF files whose debug sections are compressed by zstd, for a libdw that does not read them (before 0.189).

The sections are decompressed into a copy in memory. libzstd is on every system whose files are so compressed.
"""

import ctypes
import os
import struct
from ctypes import c_char_p, c_size_t
from functools import cache
from typing import Final

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section

from gadgetops.stacks.naming.files import DAMAGED

_IS_COMPRESSED: Final = 0x800
_ZSTD: Final = 2
_HEAD: Final = "IIQQ"
"""`Elf64_Chdr`: kind, unused, size once decompressed, alignment."""
_PLACE: Final = "QQQQ"
"""Flags, address, offset and size in `Elf64_Shdr`, from its byte 8 on."""
_PLACE_BYTES: Final = 8
_MOST_BYTES: Final = 4 << 30
"""Largest sum of sections, decompressed."""


def without_zstd(descriptor: int) -> int:
    """
    Return a descriptor of the same file with its zstd sections decompressed, for the caller to close.

    It is *descriptor* itself where there are none, or where they cannot be decompressed.
    """
    try:
        with os.fdopen(os.dup(descriptor), "rb") as stream:
            elf = ELFFile(stream)
            packed = (
                [] if elf.elfclass != 64 else [each for each in elf.iter_sections() if _is_packed(elf, each)]
            )
            return _copied(elf, packed) if packed and _library() is not None else descriptor
    except DAMAGED:
        return descriptor


def _is_packed(elf: ELFFile, section: Section) -> bool:
    return bool(section["sh_flags"] & _IS_COMPRESSED) and _head(elf, section)[0] == _ZSTD


def _head(elf: ELFFile, section: Section) -> tuple[int, int]:
    """Return how a section is compressed, and its size in bytes once it is not."""
    elf.stream.seek(section["sh_offset"])
    head = struct.Struct(_order(elf) + _HEAD)
    kind, _, size_bytes, _ = head.unpack(elf.stream.read(head.size))
    return kind, size_bytes


def _order(elf: ELFFile) -> str:
    return "<" if elf.little_endian else ">"


def _copied(elf: ELFFile, packed: list[Section]) -> int:
    if sum(_head(elf, section)[1] for section in packed) > _MOST_BYTES:
        raise ValueError("too large to decompress in memory")
    elf.stream.seek(0)
    copy = os.memfd_create("debug", os.MFD_CLOEXEC)
    try:
        with os.fdopen(copy, "wb", closefd=False) as goal:
            goal.write(elf.stream.read())
            for index, section in enumerate(elf.iter_sections()):
                if any(section.name == each.name for each in packed):
                    content, offset = _content(elf, section), goal.seek(0, os.SEEK_END)
                    goal.write(content)
                    flags = section["sh_flags"] & ~_IS_COMPRESSED
                    place = (flags, section["sh_addr"], offset, len(content))
                    goal.seek(elf["e_shoff"] + index * elf["e_shentsize"] + _PLACE_BYTES)
                    goal.write(struct.pack(_order(elf) + _PLACE, *place))
    except BaseException:
        os.close(copy)
        raise
    return copy


def _content(elf: ELFFile, section: Section) -> bytes:
    _, size_bytes = _head(elf, section)
    compressed = elf.stream.read(section["sh_size"] - struct.calcsize(_HEAD))
    library, content = _library(), ctypes.create_string_buffer(size_bytes)
    if (
        library is None
        or library.ZSTD_decompress(content, size_bytes, compressed, len(compressed)) != size_bytes
    ):
        raise ValueError("damaged")
    return content.raw


@cache
def _library() -> ctypes.CDLL | None:
    """Return libzstd; None if it is not installed."""
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        return None
    library.ZSTD_decompress.restype = c_size_t
    library.ZSTD_decompress.argtypes = [c_char_p, c_size_t, c_char_p, c_size_t]
    return library
