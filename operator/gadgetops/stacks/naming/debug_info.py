"""
Functions and lines of one file by elfutils' libdw.

libdw follows a program to its `.dwo` files (beside it, or in the folder where they were compiled), and a file
that `dwz` shortened to the file that holds what they share. It reads only the units that are asked for.

The functions of a unit are listed once. libdw's own search goes through the whole unit for each address, and
finds no function that lies in a namespace, as Rust's do.
"""

import ctypes
import os
import posixpath
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_size_t, c_ssize_t, c_uint, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from gadgetops.stacks.naming.zstd_sections import without_zstd

_READ: Final = 0
_MOST_DEPTH: Final = 256
"""Deepest nesting of inlined functions that is followed."""
_INLINED_SUBROUTINE, _SUBPROGRAM = 0x1D, 0x2E
_NAMESPACES: Final = frozenset((0x39, 0x1E))
_TYPES: Final = frozenset((0x02, 0x04, 0x13, 0x17))
"""Classes, enumerations, structures and unions: some languages have the code of methods there."""
_BLOCKS: Final = frozenset((0x0B, 0x22, 0x25, 0x32))
"""Lexical, `with`, `catch` and `try`: what inlined functions may lie in."""
_SUBPROGRAMS: Final = frozenset((_SUBPROGRAM,))
_SCOPES: Final = _BLOCKS | {_INLINED_SUBROUTINE}
_DECLARE_IN_TYPES: Final = frozenset((0x01, 0x02, 0x04, 0x0C, 0x19, 0x1A, 0x1D, 0x21, 0x2B, 0x2C, 0x3A, 0x3B))
"""C and C++ of all years: a type has declarations alone, of which there are many."""
_NAME, _FOLDER, _CALL_FILE, _CALL_LINE = 0x03, 0x1B, 0x58, 0x59
_MOST_NESTED: Final = 8
"""Functions whose code lies within that of another function, in languages that have that."""
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


class _Span(NamedTuple):
    """A range of addresses, and the entry that it belongs to by its place in a list."""

    start: int
    end: int
    number: int


class _Entries:
    """Entries with the ranges of their addresses; found by an address."""

    def __init__(self) -> None:
        self._dies: list[_Die] = []
        self._spans: list[_Span] = []

    def add(self, die: _Die, ranges: Iterable[tuple[int, int]]) -> None:
        """Add a copy of *die*; `sort` comes before `at`."""
        spans = [_Span(*each, len(self._dies)) for each in ranges]
        if spans:
            self._dies.append(_Die.from_buffer_copy(die))
            self._spans += spans

    def sort(self) -> "_Entries":
        """Return itself, ready to be asked."""
        self._spans.sort()
        return self

    def at(self, address: int) -> _Die | None:
        """Return the entry at *address*, of nested ones the inner; None if there is none."""
        index = bisect_right(self._spans, address, key=lambda span: span.start) - 1
        for span in reversed(self._spans[max(0, index - _MOST_NESTED) : index + 1]):
            if address < span.end:
                return self._dies[span.number]
        return None


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
    "dwarf_tag": (c_int, [POINTER(_Die)]),
    "dwarf_child": (c_int, [POINTER(_Die), POINTER(_Die)]),
    "dwarf_siblingof": (c_int, [POINTER(_Die), POINTER(_Die)]),
    "dwarf_srclang": (c_int, [POINTER(_Die)]),
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
        self._units = _Entries()
        self._functions_of: dict[int, _Entries] = {}
        self._nested_functions_of: dict[int, _Entries] = {}
        self._inner_of: dict[int, _Entries] = {}
        self._name_of: dict[int, str | None] = {}
        library = _library()
        handle = None if library is None else self._begin(library, path)
        if library is None or handle is None:
            return
        self._library = library
        shared_handle = None if shared is None else self._begin(library, shared)
        if shared_handle is not None:
            library.dwarf_setalt(handle, shared_handle)
        self._read_units(handle)

    def __del__(self) -> None:
        for handle in self._handles:
            self._library.dwarf_end(handle)
        for descriptor in self._descriptors:
            with suppress(OSError):
                os.close(descriptor)

    def scopes(self, address: int) -> list[Scope]:
        """Return the functions at *address* of the file, the innermost inlined one first."""
        unit = self._units.at(address)
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
        readable = without_zstd(descriptor)
        if readable != descriptor:
            self._descriptors.append(readable)
        handle: int | None = library.dwarf_begin(readable, _READ)
        if handle is not None:
            self._handles.append(handle)
        return handle

    def _read_units(self, handle: int) -> None:
        ask, die, unit, following = self._library.dwarf_get_units, _Die(), c_void_p(), c_void_p()
        while ask(handle, unit, byref(following), None, None, byref(die), None) == 0:
            unit = c_void_p(following.value)
            self._units.add(die, self._ranges(die))
        self._units.sort()

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
        die = self._function(unit, address)
        functions: list[_Die] = []
        depth = 0
        while die is not None and depth < _MOST_DEPTH:
            if depth == 0 or self._library.dwarf_tag(byref(die)) == _INLINED_SUBROUTINE:
                functions.insert(0, die)
            die = self._inner(die, address)
            depth += 1
        return functions

    def _function(self, unit: _Die, address: int) -> _Die | None:
        if unit.addr not in self._functions_of:
            has_code_in_types = self._library.dwarf_srclang(byref(unit)) not in _DECLARE_IN_TYPES
            containers = _NAMESPACES | _TYPES if has_code_in_types else _NAMESPACES
            self._functions_of[unit.addr] = self._listed(unit, _SUBPROGRAMS, containers)
        found = self._functions_of[unit.addr].at(address)
        if found is not None:
            return found
        # A lambda and the methods of a local class are described within the function that has them.
        if unit.addr not in self._nested_functions_of:
            containers = _NAMESPACES | _TYPES | _BLOCKS | _SUBPROGRAMS
            self._nested_functions_of[unit.addr] = self._listed(unit, _SUBPROGRAMS, containers)
        return self._nested_functions_of[unit.addr].at(address)

    def _listed(self, die: _Die, tags: frozenset[int], containers: frozenset[int]) -> _Entries:
        """Return the entries of *tags* in *die* that have code, also those within *containers*."""
        entries, waiting, tag_of = _Entries(), [die], self._library.dwarf_tag
        while waiting:
            for child in self._children(waiting.pop()):
                tag = tag_of(byref(child))
                if tag in tags:
                    entries.add(child, self._ranges(child))
                if tag in containers:
                    waiting.append(_Die.from_buffer_copy(child))
        return entries.sort()

    def _inner(self, die: _Die, address: int) -> _Die | None:
        """Return the block or inlined function in *die* that is at *address*; None if there is none."""
        if die.addr not in self._inner_of:
            self._inner_of[die.addr] = self._listed(die, _SCOPES, frozenset())
        return self._inner_of[die.addr].at(address)

    def _children(self, die: _Die) -> Iterator[_Die]:
        """Yield what is directly in *die*: the same object each time, another entry."""
        child = _Die()
        if self._library.dwarf_child(byref(die), byref(child)) == 0:
            yield child
            while self._library.dwarf_siblingof(byref(child), byref(child)) == 0:
                yield child

    def _name(self, die: _Die) -> str | None:
        if die.addr not in self._name_of:
            self._name_of[die.addr] = self._read_name(die)
        return self._name_of[die.addr]

    def _read_name(self, die: _Die) -> str | None:
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
        return posixpath.normpath(posixpath.join(folder or "", path)) if path else None


def _text(value: bytes | None) -> str | None:
    return value.decode(errors="replace") if value else None
