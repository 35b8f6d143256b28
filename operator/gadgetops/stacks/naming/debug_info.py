"""
Functions and lines of one file by elfutils' libdw, for forms of debug information that symbolic cannot read.

libdw follows a program to its `.dwo` files (beside it, or in the folder where they were compiled), and a file
that `dwz` shortened to the file that holds what they share. It reads only the units that are asked for.
"""

import ctypes
import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_size_t, c_ssize_t, c_uint, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

_READ: Final = 0
_MOST_DEPTH: Final = 256
"""Deepest nesting of inlined functions that is followed."""
_INLINED_SUBROUTINE, _SUBPROGRAM = 0x1D, 0x2E
_NAME, _FOLDER, _CALL_FILE, _CALL_LINE = 0x03, 0x1B, 0x58, 0x59
_LINKAGE_NAMES: Final = (0x6E, 0x2007)
_LOCAL_NAME: Final = "_ZL"
"""How the linkage name of a static C++ function begins. Clang writes it where GCC writes none."""


class Scope(NamedTuple):
    """
    A function at an address.

    Attributes:
        name: As the linker knows it where the compiler says so; None where unknown.
        file: Source file; None where unknown.
        line: Line in it; None where unknown.
    """

    name: str | None
    file: str | None
    line: int | None


class _Die(ctypes.Structure):
    """`Dwarf_Die` of libdw.h: a debugging information entry."""

    _fields_ = (("addr", c_void_p), ("cu", c_void_p), ("abbrev", c_void_p), ("padding", c_long))


class _Attribute(ctypes.Structure):
    """`Dwarf_Attribute` of libdw.h."""

    _fields_ = (("code", c_uint), ("form", c_uint), ("value", c_void_p), ("cu", c_void_p))


class _Unit(NamedTuple):
    start: int
    end: int
    number: int


_SIGNATURES: Final[dict[str, tuple[Any, list[Any]]]] = {
    "dwarf_begin": (c_void_p, [c_int, c_int]),
    "dwarf_end": (c_int, [c_void_p]),
    "dwarf_setalt": (None, [c_void_p, c_void_p]),
    "dwarf_get_units": (
        c_int,
        [c_void_p, c_void_p, POINTER(c_void_p), c_void_p, c_void_p, POINTER(_Die), POINTER(_Die)],
    ),
    "dwarf_cu_info": (
        c_int,
        [c_void_p, c_void_p, c_void_p, POINTER(_Die), POINTER(_Die), c_void_p, c_void_p, c_void_p],
    ),
    "dwarf_ranges": (
        c_ssize_t,
        [POINTER(_Die), c_ssize_t, POINTER(c_uint64), POINTER(c_uint64), POINTER(c_uint64)],
    ),
    "dwarf_getscopes": (c_int, [POINTER(_Die), c_uint64, POINTER(POINTER(_Die))]),
    "dwarf_getscopes_die": (c_int, [POINTER(_Die), POINTER(POINTER(_Die))]),
    "dwarf_tag": (c_int, [POINTER(_Die)]),
    "dwarf_attr_integrate": (POINTER(_Attribute), [POINTER(_Die), c_uint, POINTER(_Attribute)]),
    "dwarf_formstring": (c_char_p, [POINTER(_Attribute)]),
    "dwarf_formudata": (c_int, [POINTER(_Attribute), POINTER(c_uint64)]),
    "dwarf_getsrc_die": (c_void_p, [POINTER(_Die), c_uint64]),
    "dwarf_linesrc": (c_char_p, [c_void_p, c_void_p, c_void_p]),
    "dwarf_lineno": (c_int, [c_void_p, POINTER(c_int)]),
    "dwarf_getsrcfiles": (c_int, [POINTER(_Die), POINTER(c_void_p), POINTER(c_size_t)]),
    "dwarf_filesrc": (c_char_p, [c_void_p, c_size_t, c_void_p, c_void_p]),
}


@cache
def _library() -> ctypes.CDLL | None:
    """Return libdw; None if it is not installed, or too old."""
    try:
        library = ctypes.CDLL("libdw.so.1")
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    return library


@cache
def _free() -> Any:
    free = ctypes.CDLL(None).free
    free.argtypes = [c_void_p]
    return free


class DebugInfo:
    """
    The debug information of one file. Knows nothing without libdw, and of a file that cannot be read.

    Args:
        path: The file.
        shared: The file that `dwz` moved its common parts to; None to have libdw look for it.
    """

    def __init__(self, path: Path, shared: Path | None = None) -> None:
        self._descriptors: list[int] = []
        self._handles: list[int] = []
        self._units: list[_Unit] = []
        self._dies: list[_Die] = []
        library = _library()
        handle = None if library is None else self._begin(library, path)
        if library is None or handle is None:
            return
        self._library = library
        shared_handle = None if shared is None else self._begin(library, shared)
        if shared_handle is not None:
            library.dwarf_setalt(handle, shared_handle)
        self._units = sorted(self._read_units(handle))

    def __del__(self) -> None:
        for handle in self._handles:
            self._library.dwarf_end(handle)
        for descriptor in self._descriptors:
            with suppress(OSError):
                os.close(descriptor)

    def scopes(self, address: int) -> list[Scope]:
        """Return the functions at *address* of the file, the innermost inlined one first."""
        unit = self._unit_at(address)
        if unit is None:
            return []
        return [*self._scopes_in(unit, address)]

    def _begin(self, library: ctypes.CDLL, path: Path) -> int | None:
        self._library = library
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        self._descriptors.append(descriptor)
        handle: int | None = library.dwarf_begin(descriptor, _READ)
        if handle is not None:
            self._handles.append(handle)
        return handle

    def _read_units(self, handle: int) -> Iterator[_Unit]:
        ask, die, unit, following = self._library.dwarf_get_units, _Die(), c_void_p(), c_void_p()
        while ask(handle, unit, byref(following), None, None, byref(die), None) == 0:
            unit = c_void_p(following.value)
            self._dies.append(_Die.from_buffer_copy(die))
            yield from (_Unit(*each, len(self._dies) - 1) for each in self._ranges(die))

    def _ranges(self, die: _Die) -> Iterator[tuple[int, int]]:
        base, start, end = c_uint64(), c_uint64(), c_uint64()
        offset = 0
        while True:
            where = self._library.dwarf_ranges(byref(die), offset, byref(base), byref(start), byref(end))
            if where <= offset:
                return
            offset = where
            if start.value < end.value:
                yield start.value, end.value

    def _unit_at(self, address: int) -> _Die | None:
        index = bisect_right(self._units, address, key=lambda unit: unit.start) - 1
        if index < 0 or address >= self._units[index].end:
            return None
        return self._dies[self._units[index].number]

    def _scopes_in(self, unit: _Die, address: int) -> Iterator[Scope]:
        file, line = self._line(unit, address)
        functions = self._functions(self._with_functions(unit), address)
        for function in functions:
            yield Scope(self._name(function), file, line)
            file, line = self._call(unit, function)
        if not functions and line is not None:
            yield Scope(None, file, line)

    def _with_functions(self, unit: _Die) -> _Die:
        """Return the unit that describes the functions of *unit*: another one in a `.dwo` file, or itself."""
        split = _Die()
        if self._library.dwarf_cu_info(unit.cu, None, None, None, byref(split), None, None, None):
            return unit
        return split if split.addr else unit

    def _functions(self, unit: _Die, address: int) -> list[_Die]:
        """Return the functions at *address*, the innermost first."""
        around = self._dies_of(self._library.dwarf_getscopes, unit, c_uint64(address))
        inner = self._dies_of(self._library.dwarf_getscopes_die, around[0]) if around else []
        functions = []
        for die in inner[:_MOST_DEPTH]:
            tag = self._library.dwarf_tag(byref(die))
            if tag in (_INLINED_SUBROUTINE, _SUBPROGRAM):
                functions.append(die)
            if tag == _SUBPROGRAM:
                break
        return functions

    def _dies_of(self, ask: Any, die: _Die, *arguments: Any) -> list[_Die]:
        """Return what *ask* says, which libdw leaves to the caller to free."""
        found = POINTER(_Die)()
        count = ask(byref(die), *arguments, byref(found))
        try:
            return [_Die.from_buffer_copy(found[n]) for n in range(count)]
        finally:
            _free()(found)

    def _name(self, die: _Die) -> str | None:
        linkage = next(filter(None, (self._text(die, name) for name in _LINKAGE_NAMES)), None)
        plain = self._text(die, _NAME)
        is_local = linkage is not None and linkage.startswith(_LOCAL_NAME)
        return plain if is_local and plain else linkage or plain

    def _text(self, die: _Die, name: int) -> str | None:
        attribute = _Attribute()
        is_there = self._library.dwarf_attr_integrate(byref(die), name, byref(attribute))
        return _text(self._library.dwarf_formstring(byref(attribute))) if is_there else None

    def _number(self, die: _Die, name: int) -> int | None:
        attribute, value = _Attribute(), c_uint64()
        is_there = self._library.dwarf_attr_integrate(byref(die), name, byref(attribute))
        is_number = is_there and self._library.dwarf_formudata(byref(attribute), byref(value)) == 0
        return value.value if is_number else None

    def _line(self, unit: _Die, address: int) -> tuple[str | None, int | None]:
        found = self._library.dwarf_getsrc_die(byref(unit), address)
        number = c_int()
        if not found or self._library.dwarf_lineno(found, byref(number)) or number.value <= 0:
            return None, None
        return self._path(unit, self._library.dwarf_linesrc(found, None, None)), number.value

    def _call(self, unit: _Die, inlined: _Die) -> tuple[str | None, int | None]:
        """Return from where *inlined* would be called."""
        line, file = self._number(inlined, _CALL_LINE), self._number(inlined, _CALL_FILE)
        files, count = c_void_p(), c_size_t()
        if not line or file is None:
            return None, line or None
        if self._library.dwarf_getsrcfiles(byref(unit), byref(files), byref(count)) or file >= count.value:
            return None, line
        return self._path(unit, self._library.dwarf_filesrc(files, file, None, None)), line

    def _path(self, unit: _Die, value: bytes | None) -> str | None:
        """Return the path of a source file, which may be relative to where the compiler ran."""
        path, folder = _text(value), self._text(unit, _FOLDER)
        return f"{folder}/{path}" if path and folder and not path.startswith("/") else path


def _text(value: bytes | None) -> str | None:
    return value.decode(errors="replace") if value else None
