"""
The ring buffer, made before there is a gadget to use it.

The kernel fills all of it with zeros, which depends on nothing but its size: 256 MiB take a third of what
loading a gadget takes.
"""

import os
import struct
import threading
from typing import Final

from gadgetops.trace.kernel.bpf_syscall import bpf

NAME: Final = "events"
"""What its map is called in a gadget; one by another name is made by libbpf, with the gadget."""
_MAP_CREATE: Final = 0
_RING_BUFFER: Final = 27
"""`BPF_MAP_TYPE_RINGBUF` of `enum bpf_map_type`."""


class RingMap:
    """
    A map of *size_bytes*, which the kernel begins to make now. Use as a context manager.

    Args:
        size_bytes: A power of two, and pages.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._fd: int | None = None
        self._making = threading.Thread(target=self._make, name="ring")
        self._making.start()

    def __enter__(self) -> "RingMap":
        return self

    def __exit__(self, *_: object) -> None:
        fd = self.fd()
        if fd is not None:
            os.close(fd)

    def fd(self) -> int | None:
        """Wait for it, and return its descriptor; None if the kernel refused, which libbpf can say better."""
        self._making.join()
        return self._fd

    def _make(self) -> None:
        name = NAME.encode().ljust(16, b"\0")
        attributes = struct.pack("<IIIIIII16s", _RING_BUFFER, 0, 0, self._size_bytes, 0, 0, 0, name)
        try:
            self._fd = bpf(_MAP_CREATE, attributes)
        except OSError:
            self._fd = None
