"""bpf(2), for what libbpf 1.1 does not do, or not when it is wanted."""

import ctypes
import os
from typing import Final

from gadgetops.trace.c_library import libc

_SYS_BPF: Final = {"x86_64": 321, "aarch64": 280}


def bpf(command: int, attributes: bytes) -> int:
    """
    Return the descriptor that *command* makes, one of `enum bpf_cmd`.

    Args:
        command: The command.
        attributes: Its part of `union bpf_attr`.

    Raises:
        OSError: The kernel refuses.
    """
    return bpf_in_place(command, bytearray(attributes))


def bpf_in_place(command: int, attributes: bytearray) -> int:
    """Do as `bpf` does, for a command that answers in its attributes."""
    size = ctypes.c_uint(len(attributes))
    buffer = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    result: int = libc.syscall(_SYS_BPF[os.uname().machine], command, buffer, size)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
