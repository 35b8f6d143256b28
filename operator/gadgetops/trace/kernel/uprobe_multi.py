"""
Uprobes by BPF link: one system call attaches a program to places of a file, and closing it takes them off.

A perf event for each place does the same on every kernel, but is taken off in a tenth of a second each, one
after the other. libbpf has such links since 1.3 only, so this talks to the kernel: bpf(2), `struct bpf_attr`.
"""

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gadgetops.trace.kernel.bpf_syscall import bpf

ATTACH_TYPE: Final = 48
"""BPF_TRACE_UPROBE_MULTI: what a program must expect when it is loaded."""
_LINK_CREATE: Final = 28


def create_link(
    program_fd: int,
    path: Path,
    offsets_bytes: Sequence[int],
    *,
    at_return: bool,
    pid: int,
    cookies: Sequence[int] = (),
) -> int:
    """
    Attach a program to places of a file and return the link's descriptor; closing it detaches.

    Args:
        program_fd: Loaded with `ATTACH_TYPE`.
        path: The file; what counts is its inode.
        offsets_bytes: Of the instructions, in the file.
        at_return: To the returns of the functions whose return addresses are on top of the stack there.
        pid: Only in this process, all of its threads; 0 for all that map the file.
        cookies: What bpf_get_attach_cookie() returns at each of the instructions; by default 0.

    Raises:
        OSError: The kernel refuses.
    """
    name = ctypes.create_string_buffer(os.fsencode(path))
    offsets = (ctypes.c_uint64 * len(offsets_bytes))(*offsets_bytes)
    numbers = (ctypes.c_uint64 * len(offsets_bytes))(*cookies)
    given = ctypes.addressof(numbers) if cookies else 0
    place = struct.pack("<QQQQ", ctypes.addressof(name), ctypes.addressof(offsets), 0, given)
    attributes = struct.pack("<IIII", program_fd, 0, ATTACH_TYPE, 0) + place
    return bpf(_LINK_CREATE, attributes + struct.pack("<III", len(offsets), at_return, pid))
