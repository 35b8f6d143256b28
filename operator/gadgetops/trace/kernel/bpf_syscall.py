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
    size = ctypes.c_uint(len(attributes))
    result: int = libc.syscall(_SYS_BPF[os.uname().machine], command, attributes, size)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
