"""
Stacks from slices, by the rules that compilers leave for exceptions and debuggers.

elfutils' libdw reads the rules (`.eh_frame`, `.debug_frame`); the slice is its memory of the thread. Of
the process only the files that it had mapped are needed. Names and lines are left to `symbols`.
"""

import ctypes
import os
import struct
from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, POINTER, byref, c_bool, c_char_p, c_int, c_uint, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from gadgetops.elf import MACHINE_AARCH64, MACHINE_X86_64, Elf
from gadgetops.errors import ObjectError, TraceError
from gadgetops.stacks.unwinding.cfi_instructions import PROCESSORS
from gadgetops.system_packages import missing_library

LIBRARY: Final = "libdw.so.1"
MAX_FRAMES: Final = 1024
"""Deeper stacks are cut."""

End = Literal["complete", "cut", "unknown"]
"""
Why a stack ends: there it begins, say the rules; the slice, or `MAX_FRAMES`, ends before; no rule is known.
"""

STACK_POINTER: Final = {
    "x86_64": PROCESSORS[MACHINE_X86_64].stack_pointer,
    "aarch64": PROCESSORS[MACHINE_AARCH64].stack_pointer,
}
"""Machine -> its stack pointer among DWARF's numbers of registers."""
_WORD: Final = struct.Struct("<Q")
_FALSE_PID: Final = 1
"""libdw wants a process and a thread; nothing is asked of them."""
_GOES_ON, _ABORTS = 0, 1


class MappedFile(NamedTuple):
    """
    A file of which code was mapped.

    Attributes:
        path: Where it can be read now; None if it is gone.
        start_address: Where its part at `file_offset` bytes was mapped.
        file_offset: Of that part.
        debug: Where its debug file can be read, if it has one; asked only for a file without `.eh_frame`.
    """

    path: Path | None
    start_address: int
    file_offset: int
    debug: Callable[[], Path | None] = lambda: None


class Unwound(NamedTuple):
    """
    A stack.

    Attributes:
        addresses: Leaf first: the program counter, then return addresses.
        end: Why there are no more.
        pointers: The stack pointer in each of these frames, as far as they are known.
    """

    addresses: list[int]
    end: End
    pointers: Sequence[int] = ()


_FindElf = CFUNCTYPE(c_int, c_void_p, c_void_p, c_char_p, c_uint64, POINTER(c_char_p), POINTER(c_void_p))
_FindDebug = CFUNCTYPE(
    c_int, c_void_p, c_void_p, c_char_p, c_uint64, c_char_p, c_char_p, c_uint, POINTER(c_void_p)
)
_NextThread = CFUNCTYPE(c_int, c_void_p, c_void_p, POINTER(c_void_p))
_GetThread = CFUNCTYPE(c_bool, c_void_p, c_int, c_void_p, POINTER(c_void_p))
_ReadMemory = CFUNCTYPE(c_bool, c_void_p, c_uint64, POINTER(c_uint64), c_void_p)
_SetRegisters = CFUNCTYPE(c_bool, c_void_p, c_void_p)
_OnFrame = CFUNCTYPE(c_int, c_void_p, c_void_p)


class _Callbacks(ctypes.Structure):
    """`Dwfl_Callbacks` of libdwfl.h."""

    _fields_ = (
        ("find_elf", _FindElf),
        ("find_debuginfo", _FindDebug),
        ("section_address", c_void_p),
        ("debuginfo_path", c_void_p),
    )


class _ThreadCallbacks(ctypes.Structure):
    """`Dwfl_Thread_Callbacks` of libdwfl.h."""

    _fields_ = (
        ("next_thread", _NextThread),
        ("get_thread", _GetThread),
        ("memory_read", _ReadMemory),
        ("set_initial_registers", _SetRegisters),
        ("detach", c_void_p),
        ("thread_detach", c_void_p),
    )


_SIGNATURES: Final[dict[str, tuple[Any, list[Any]]]] = {
    "dwfl_begin": (c_void_p, [POINTER(_Callbacks)]),
    "dwfl_end": (None, [c_void_p]),
    "dwfl_report_elf": (c_void_p, [c_void_p, c_char_p, c_char_p, c_int, c_uint64, c_bool]),
    "dwfl_report_end": (c_int, [c_void_p, c_void_p, c_void_p]),
    "dwfl_attach_state": (c_bool, [c_void_p, c_void_p, c_int, POINTER(_ThreadCallbacks), c_void_p]),
    "dwfl_getthread_frames": (c_int, [c_void_p, c_int, _OnFrame, c_void_p]),
    "dwfl_thread_state_registers": (c_bool, [c_void_p, c_int, c_uint, POINTER(c_uint64)]),
    "dwfl_thread_state_register_pc": (None, [c_void_p, c_uint64]),
    "dwfl_frame_pc": (c_bool, [c_void_p, POINTER(c_uint64), POINTER(c_bool)]),
}
_SINCE_0_188: Final[dict[str, tuple[Any, list[Any]]]] = {
    "dwfl_frame_reg": (c_int, [c_void_p, c_uint, POINTER(c_uint64)]),
}
"""Without it stack pointers stay unknown, and deep stacks cut."""


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise missing_library(LIBRARY, otherwise="record with --unwind fp") from error
    newer = {name: types for name, types in _SINCE_0_188.items() if hasattr(library, name)}
    for name, (result, arguments) in {**_SIGNATURES, **newer}.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def check_machine(machine: str) -> None:
    """
    Raise unless stacks of *machine* can be unwound here.

    Raises:
        TraceError: libdw is missing, or the machine is none that is known.
    """
    if machine not in STACK_POINTER:
        raise TraceError(
            f"unwinding is not supported on machine {machine or 'unknown'!r}",
            hint=f"supported: {', '.join(STACK_POINTER)}",
        )
    _library()


class Unwinder:
    """
    Unwinds the slices of processes that had mapped *files*, in that order, and nothing else.

    Use as a context manager. Files that cannot be read, or overlap an earlier one, have no rules.

    Args:
        files: What was mapped.
        machine: As `uname -m` says it.

    Raises:
        TraceError: libdw is missing, or the machine is none that is known.
    """

    def __init__(self, files: Sequence[MappedFile], machine: str) -> None:
        check_machine(machine)
        self._lib = _library()
        self._stack_pointer = STACK_POINTER[machine]
        self._debug = {_name(number): file.debug for number, file in enumerate(files)}
        self._start = 0
        self._memory = b""
        self._registers: tuple[int, ...] = ()
        self._found: list[int] = []
        self._pointers: list[int] = []
        self._is_cut = False
        self._is_attached = False
        self._callbacks = _Callbacks(_FindElf(_no_elf), _FindDebug(self._find_debug), None, None)
        self._thread_callbacks = _ThreadCallbacks(
            _NextThread(_next_thread),
            _GetThread(_get_thread),
            _ReadMemory(self._read_memory),
            _SetRegisters(self._set_registers),
            None,
            None,
        )
        self._on_frame = _OnFrame(self._take_frame)
        self._dwfl = self._lib.dwfl_begin(byref(self._callbacks))
        for number, file in enumerate(files):
            self._report(_name(number), file)
        self._lib.dwfl_report_end(self._dwfl, None, None)

    def __enter__(self) -> "Unwinder":
        return self

    def __exit__(self, *_: object) -> None:
        self._lib.dwfl_end(self._dwfl)

    def unwind(self, registers: Sequence[int], memory: bytes) -> Unwound:
        """
        Return the stack of a thread.

        Args:
            registers: By DWARF's numbers, the last one is the program counter.
            memory: From the stack pointer upwards.
        """
        self._registers, self._memory = tuple(registers), memory
        self._start = self._registers[self._stack_pointer]
        self._found, self._pointers, self._is_cut = [], [], False
        if not self._attach():
            return Unwound([self._registers[-1]], "unknown")
        status = self._lib.dwfl_getthread_frames(self._dwfl, _FALSE_PID, self._on_frame, None)
        if self._is_cut:
            return Unwound(self._found or [self._registers[-1]], "cut", self._pointers)
        end: End = "complete" if status == 0 else "unknown"
        return Unwound(self._found or [self._registers[-1]], end, self._pointers)

    def _attach(self) -> bool:
        """Take the first file's machine for that of all; there is none without a readable file."""
        if not self._is_attached:
            callbacks = byref(self._thread_callbacks)
            self._is_attached = self._lib.dwfl_attach_state(self._dwfl, None, _FALSE_PID, callbacks, None)
        return self._is_attached

    def _report(self, name: bytes, file: MappedFile) -> None:
        bias = _bias(file)
        if file.path is not None and bias is not None:
            self._lib.dwfl_report_elf(self._dwfl, name, os.fsencode(file.path), -1, bias, True)

    def _find_debug(self, *arguments: Any) -> int:
        """Return a descriptor of the debug file of the module that libdw asks for, or -1."""
        path = self._debug.get(arguments[2], lambda: None)()
        try:
            return -1 if path is None else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return -1

    def _read_memory(self, _dwfl: Any, address: int, result: Any, _argument: Any) -> bool:
        offset = address - self._start
        if 0 <= offset <= len(self._memory) - _WORD.size:
            result[0] = _WORD.unpack_from(self._memory, offset)[0]
            return True
        self._is_cut = self._is_cut or offset >= 0
        return False

    def _set_registers(self, thread: int, _argument: Any) -> bool:
        count = len(self._registers)
        values = (c_uint64 * count)(*self._registers)
        # On x86-64 the program counter is one of them, after the 16 general ones; on arm64 it is apart.
        n_numbered = min(count, 32)
        is_set = self._lib.dwfl_thread_state_registers(thread, 0, n_numbered, values)
        self._lib.dwfl_thread_state_register_pc(thread, self._registers[-1])
        return bool(is_set)

    def _take_frame(self, frame: int, _argument: Any) -> int:
        address = c_uint64()
        if not self._lib.dwfl_frame_pc(frame, byref(address), None):
            return _ABORTS
        if address.value:
            self._found.append(address.value)
            self._note_pointer(frame)
        self._is_cut = len(self._found) >= MAX_FRAMES
        return _ABORTS if self._is_cut else _GOES_ON

    def _note_pointer(self, frame: int) -> None:
        """Note the stack pointer, as long as that of every frame was known."""
        value = c_uint64()
        is_expected = len(self._pointers) == len(self._found) - 1 and hasattr(self._lib, "dwfl_frame_reg")
        if is_expected and self._lib.dwfl_frame_reg(frame, self._stack_pointer, byref(value)) == 0:
            self._pointers.append(value.value)


def _name(number: int) -> bytes:
    """Return what libdw calls a file: paths may be equal."""
    return b"%d" % number


def _no_elf(*_: Any) -> int:
    return -1


def _next_thread(_dwfl: Any, _argument: Any, thread: Any) -> int:
    if thread[0]:
        return 0
    thread[0] = 1
    return _FALSE_PID


def _get_thread(_dwfl: Any, _tid: int, _argument: Any, thread: Any) -> bool:
    thread[0] = 1
    return True


def _bias(file: MappedFile) -> int | None:
    """Return by how much *file*'s addresses in memory differ from those in it; None if it cannot be read."""
    if file.path is None:
        return None
    try:
        segment = Elf.from_file(file.path).code_mapped_from(file.file_offset)
    except (OSError, ObjectError):
        return None
    return None if segment is None else segment.bias(file.start_address, file.file_offset)
