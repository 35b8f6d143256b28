"""Reading what `ig` printed: a file, or a pipe that still grows; compressed by gzip or not."""

import os
import select
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from gadgetops.errors import IgOutputError

BLOCK_BYTES: Final = 1 << 20
"""How much is decoded at a time where so much is there."""
_KEPT_BYTES: Final = 24 * BLOCK_BYTES
"""Up to how much memory that was freed stays with the process."""
_GATHER_S: Final = 0.1
"""How long the first bytes of a block wait for further ones."""
_LAST_WORDS_S: Final = 2.0
"""How long a pipe's writer may be silent, once it is to end, until it is left alone."""
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP: Final = 31
"""What zlib calls the format in which gzip files are."""


class Blocks:
    """
    What a descriptor gives until it ends, as it comes; empty bytes now and then while it is idle.

    Args:
        descriptor: Open for reading.
        is_stopped: Whether to come to an end: a file is left at once, a pipe once its writer has ended or
            says nothing more.

    Attributes:
        is_whole: Whether it was read to its end.
    """

    def __init__(self, descriptor: int, is_stopped: Callable[[], bool]) -> None:
        self._descriptor = descriptor
        self._is_stopped = is_stopped
        self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self.is_whole = False
        _keep_freed_memory()

    def __iter__(self) -> Iterator[bytes]:
        heard_at = time.monotonic()
        while not self.is_whole:
            if self._is_stopped() and (self._is_file or time.monotonic() - heard_at > _LAST_WORDS_S):
                return
            block, self.is_whole = _gather(self._descriptor)
            if block:
                heard_at = time.monotonic()
            yield block


def _keep_freed_memory() -> None:
    """
    Let what a block took be there for the next one.

    The C library gives large blocks back to the kernel, which hands them out again page by page: a quarter of
    the CPU. Once it has freed one, it keeps such as are smaller (mallopt(3), M_MMAP_THRESHOLD).
    """
    bytearray(_KEPT_BYTES)


def _gather(descriptor: int) -> tuple[bytes, bool]:
    """Return what comes within `_GATHER_S`, at most about `BLOCK_BYTES`, and whether that was all."""
    chunks: list[bytes] = []
    n_bytes, deadline = 0, time.monotonic() + _GATHER_S
    while n_bytes < BLOCK_BYTES:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            break
        chunk = os.read(descriptor, BLOCK_BYTES - n_bytes)
        if not chunk:
            return b"".join(chunks), True
        chunks.append(chunk)
        n_bytes += len(chunk)
    return b"".join(chunks), False


def decompressed(blocks: Iterator[bytes], source: str) -> Iterator[bytes]:
    """
    Yield *blocks*, unpacked if the first one begins as a gzip file does.

    Raises:
        IgOutputError: The compressed data is damaged or cut off.
    """
    head = b""
    for block in blocks:
        head += block
        if len(head) >= len(_GZIP_MAGIC):
            break
        yield b""
    if head.startswith(_GZIP_MAGIC):
        yield from _unpacked(head, blocks, source)
    else:
        yield head
        yield from blocks


def _unpacked(head: bytes, blocks: Iterator[bytes], source: str) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(_GZIP)
    for block in _chain(head, blocks):
        left = block
        while left:
            if unpacker.eof:
                # A gzip file may have several members, one after the other.
                unpacker = zlib.decompressobj(_GZIP)
            try:
                yield unpacker.decompress(left, BLOCK_BYTES)
            except zlib.error as error:
                raise IgOutputError(source, None, f"gzip: {error}") from error
            left = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    if not unpacker.eof:
        raise IgOutputError(source, None, "gzip: cut off", hint="what came before is in the recording")


def _chain(head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from blocks
