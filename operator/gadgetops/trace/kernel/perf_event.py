"""perf_event_open(2), and the probes that it makes: a uprobe is a perf event of a kind of its own."""

import ctypes
import os
import struct
from pathlib import Path
from typing import Final

from gadgetops.trace.c_library import libc
from gadgetops.trace.kernel.bpf_syscall import bpf

UPROBE_KIND: Final = Path("/sys/bus/event_source/devices/uprobe/type")
"""Holds the number of the kind of event that a uprobe is; missing where the kernel has no uprobes."""
ATTRIBUTE_BYTES: Final = 128
"""Of `struct perf_event_attr`, PERF_ATTR_SIZE_VER7 (Linux 5.13); older kernels want its end to be zero."""
_SYS_PERF_EVENT_OPEN: Final = {"x86_64": 298, "aarch64": 241}
_CLOSE_ON_EXEC: Final = 8
_LINK_CREATE: Final = 28
_BPF_PERF_EVENT: Final = 41


def perf_event_open(attribute: bytes, *, pid: int, cpu: int) -> int:
    """
    Return the descriptor of a new event.

    Args:
        attribute: `struct perf_event_attr`.
        pid: Count in this process alone; -1 for all.
        cpu: Count on this CPU alone; -1 for all.

    Raises:
        OSError: The kernel refuses.
    """
    number = _SYS_PERF_EVENT_OPEN[os.uname().machine]
    fd: int = libc.syscall(number, attribute, pid, cpu, -1, ctypes.c_ulong(_CLOSE_ON_EXEC))
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def open_uprobe(path: Path, offset_bytes: int, *, pid: int, at_return: bool = False) -> int:
    """
    Return the descriptor of an event that counts calls of an instruction of a file.

    Args:
        path: The file.
        offset_bytes: Of the instruction, in the file.
        pid: In this process; -1 for all that map the file.
        at_return: Count returns of the function that begins there.

    Raises:
        OSError: The kernel refuses, or has no uprobes.
    """
    name = ctypes.create_string_buffer(os.fsencode(path))
    attribute = bytearray(ATTRIBUTE_BYTES)
    struct.pack_into("<II", attribute, 0, int(UPROBE_KIND.read_text()), len(attribute))
    struct.pack_into("<QQ", attribute, 56, ctypes.addressof(name), offset_bytes)
    struct.pack_into("<Q", attribute, 8, int(at_return))
    # A uprobe of all processes belongs to a processor; which one, makes no difference to it.
    return perf_event_open(bytes(attribute), pid=pid, cpu=0 if pid == -1 else -1)


def create_link(program_fd: int, event_fd: int, *, cookie: int) -> int:
    """
    Run a program at each occurrence of an event, and return the link's descriptor (Linux 5.15).

    Args:
        program_fd: The program.
        event_fd: The event.
        cookie: What bpf_get_attach_cookie() returns there; 0 for none.

    Raises:
        OSError: The kernel refuses.
    """
    return bpf(_LINK_CREATE, struct.pack("<IIIIQ", program_fd, event_fd, _BPF_PERF_EVENT, 0, cookie))
