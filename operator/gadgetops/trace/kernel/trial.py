"""
A probe tried out on a function of our own: does the program run, in which threads, and with which cookie?

The kernel's answer to a request says little: a kernel that does not know a kind of link may load a program
for it all the same. So a page of code is put into a file in memory, a program that counts is attached to it,
and the code is run by this thread and by another one.
"""

import contextlib
import ctypes
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from gadgetops.trace.c_library import libc
from gadgetops.trace.kernel.bpf_syscall import bpf

COOKIE: Final = 0x6761646765746F70
"""What a trial gives along with its link: no number that turns up by chance."""
_CODE: Final = {
    "x86_64": bytes.fromhex("90 c3"),
    "aarch64": bytes.fromhex("1f2003d5 c0035fd6"),
}
"""A function of two instructions, nop and ret: the kernel emulates a nop, so that no step is single."""
_MAP_CREATE, _MAP_LOOK_UP, _PROG_LOAD = 0, 1, 5
_ARRAY, _KPROBE = 2, 2
_VALUE: Final = struct.Struct("<QQ")
_LOOK_UP_HELPER, _COOKIE_HELPER = 1, 174
_PAGE_RIGHTS: Final = mmap.PROT_READ | mmap.PROT_EXEC


class Seen(NamedTuple):
    """
    What a program saw of a trial.

    Attributes:
        here: Calls by the thread that attached it.
        elsewhere: Calls by another thread of the same process.
        cookie: The attach cookie; 0 if there was none.
    """

    here: int
    elsewhere: int
    cookie: int


class Counter:
    """
    A program in the kernel that counts how often it runs. Use as a context manager.

    Args:
        attach_type: What the program is loaded for, one of `enum bpf_attach_type`; 0 for none.
        with_cookie: Have the program ask for its attach cookie, which needs Linux 5.15.

    Attributes:
        program_fd: The program.

    Raises:
        OSError: The kernel refuses.
    """

    def __init__(self, attach_type: int = 0, *, with_cookie: bool = False) -> None:
        with contextlib.ExitStack() as stack:
            self._map = _kept(stack, _new_map())
            program = _program(self._map, with_cookie=with_cookie)
            self.program_fd = _kept(stack, load_program(program, attach_type))
            self._open = stack.pop_all()

    def __enter__(self) -> "Counter":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def value(self) -> tuple[int, int]:
        """Return how often it ran, and the last attach cookie."""
        key, value = ctypes.c_uint32(0), ctypes.create_string_buffer(_VALUE.size)
        bpf(_MAP_LOOK_UP, struct.pack("<IIQQ", self._map, 0, ctypes.addressof(key), ctypes.addressof(value)))
        count, cookie = _VALUE.unpack(value.raw)
        return count, cookie


class Trial:
    """
    A function that can be probed, and a program that counts its calls. Use as a context manager.

    Args:
        attach_type: What the program is loaded for, one of `enum bpf_attach_type`; 0 for none.
        with_cookie: Have the program ask for its attach cookie, which needs Linux 5.15.

    Attributes:
        path: The function's file; it is the first instruction there.
        program_fd: The program.

    Raises:
        OSError: The kernel refuses.
    """

    def __init__(self, *, attach_type: int = 0, with_cookie: bool = False) -> None:
        with contextlib.ExitStack() as stack:
            file = _kept(stack, os.memfd_create("trial", os.MFD_CLOEXEC))
            os.write(file, _CODE[os.uname().machine].ljust(mmap.PAGESIZE, b"\0"))
            self.path = Path(f"/proc/self/fd/{file}")
            self._function = _mapped(file, stack)
            self._counter = stack.enter_context(Counter(attach_type, with_cookie=with_cookie))
            self.program_fd = self._counter.program_fd
            self._open = stack.pop_all()

    def __enter__(self) -> "Trial":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def run(self) -> Seen:
        """Call the function once in this thread and once in another one, and return what the program saw."""
        self._function()
        here, cookie = self._counter.value()
        other = threading.Thread(target=self._function, name="trial")
        other.start()
        other.join()
        return Seen(here, self._counter.value()[0] - here, cookie)

    def seconds(self, n_calls: int) -> float:
        """Call the function so many times and return how long that took."""
        function, began = self._function, time.perf_counter()
        for _ in range(n_calls):
            function()
        return time.perf_counter() - began


def _kept(stack: contextlib.ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


def _mapped(file: int, stack: contextlib.ExitStack) -> Callable[[], None]:
    """Return the function in *file*: its page is private, as the kernel puts probes into no other."""
    arguments = (None, mmap.PAGESIZE, _PAGE_RIGHTS, mmap.MAP_PRIVATE, file, 0)
    kinds = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    address = ctypes.CFUNCTYPE(ctypes.c_void_p, *kinds)(("mmap", libc))(*arguments)
    if address == ctypes.c_void_p(-1).value:
        raise PermissionError("a page of code cannot be mapped")
    stack.callback(libc.munmap, ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE))
    return ctypes.CFUNCTYPE(None)(address)


def _new_map() -> int:
    """Return an array of one value: calls, and the cookie of the last one."""
    return bpf(_MAP_CREATE, struct.pack("<IIIII", _ARRAY, 4, _VALUE.size, 1, 0))


def load_program(program: bytes, attach_type: int) -> int:
    """
    Load a program for probes and return its descriptor.

    Args:
        program: Its instructions, as `instruction` writes each.
        attach_type: What it is loaded for, one of `enum bpf_attach_type`; 0 for none.

    Raises:
        OSError: The kernel refuses.
    """
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"GPL")
    count = len(program) // 8
    head = struct.pack("<IIQQ", _KPROBE, count, ctypes.addressof(code), ctypes.addressof(licence))
    return bpf(_PROG_LOAD, head + bytes(44) + struct.pack("<I", attach_type))


def _program(map_fd: int, *, with_cookie: bool) -> bytes:
    """Return the instructions of the program: `enum bpf_opcode` spelled as in `struct bpf_insn`."""
    take_cookie = [instruction(0x85, immediate=_COOKIE_HELPER)] if with_cookie else [instruction(0xB7)]
    return b"".join(
        [
            *take_cookie,  # r0 = the cookie, or 0
            instruction(0xBF, to=7, source=0),
            instruction(0x62, to=10, offset=-4),  # the key, on the stack: 0
            instruction(0xBF, to=2, source=10),
            instruction(0x07, to=2, immediate=-4),
            instruction(0x18, to=1, source=1, immediate=map_fd) + instruction(0),
            instruction(0x85, immediate=_LOOK_UP_HELPER),
            instruction(0x15, to=0, offset=3),  # no value: to the end
            instruction(0xB7, to=1, immediate=1),
            instruction(0xDB, to=0, source=1),  # value[0] += 1, atomically
            instruction(0x7B, to=0, source=7, offset=8),  # value[1] = the cookie
            instruction(0xB7),
            instruction(0x95),
        ]
    )


def instruction(opcode: int, *, to: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    """Return one instruction, as `struct bpf_insn` has it."""
    return struct.pack("<BBhi", opcode, to | source << 4, offset, immediate)
