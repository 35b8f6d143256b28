"""
Uprobes by BPF link: one system call attaches a program to places of a file, and closing it takes them off.

A perf event for each place does the same on every kernel, but is taken off in a tenth of a second each, one
after the other. libbpf has such links since 1.3 only, so this talks to the kernel: bpf(2), `struct bpf_attr`.
"""

import ctypes
import errno
import functools
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gadgetops.trace.kernel.bpf_syscall import bpf

ATTACH_TYPE: Final = 48
"""BPF_TRACE_UPROBE_MULTI: what a program must expect when it is loaded."""
_PROG_LOAD, _LINK_CREATE = 5, 28
_KPROBE: Final = 2
_AT_RETURN: Final = 1
_NO_PROCESS: Final = 0xFFFFFFFF
_RETURN_0: Final = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)


def create_link(
    program_fd: int, path: Path, offsets_bytes: Sequence[int], *, at_return: bool, pid: int
) -> int:
    """
    Attach a program to places of a file and return the link's descriptor; closing it detaches.

    Args:
        program_fd: Loaded with `ATTACH_TYPE`.
        path: The file; what counts is its inode.
        offsets_bytes: Of the instructions, in the file.
        at_return: To the returns of the functions whose return addresses are on top of the stack there.
        pid: Only in this process, all of its threads; 0 for all that map the file.

    Raises:
        OSError: The kernel refuses.
    """
    name = ctypes.create_string_buffer(os.fsencode(path))
    offsets = (ctypes.c_uint64 * len(offsets_bytes))(*offsets_bytes)
    place = struct.pack("<QQQQ", ctypes.addressof(name), ctypes.addressof(offsets), 0, 0)
    attributes = struct.pack("<IIII", program_fd, 0, ATTACH_TYPE, 0) + place
    return bpf(_LINK_CREATE, attributes + struct.pack("<III", len(offsets), at_return, pid))


@functools.cache
def is_supported() -> bool:
    """
    Return whether this kernel has such links and limits them to a process, not to one thread of it.

    The links came with Linux 6.6. Until 6.10 their filter took a thread; since then an impossible process is
    refused as EINVAL, before the file is even looked at.
    """
    try:
        program_fd = _load_empty_program()
    except OSError:
        return False
    try:
        os.close(create_link(program_fd, Path("/"), [0], at_return=False, pid=_NO_PROCESS))
    except OSError as error:
        return error.errno == errno.EINVAL
    finally:
        os.close(program_fd)
    return False


def _load_empty_program() -> int:
    instructions = ctypes.create_string_buffer(_RETURN_0, len(_RETURN_0))
    licence = ctypes.create_string_buffer(b"GPL")
    head = struct.pack("<IIQQ", _KPROBE, 2, ctypes.addressof(instructions), ctypes.addressof(licence))
    return bpf(_PROG_LOAD, head + bytes(44) + struct.pack("<I", ATTACH_TYPE))
