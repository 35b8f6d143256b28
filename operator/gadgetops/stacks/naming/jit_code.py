"""
Read what a program says about code that it generated: perf map files and jitdump files.

A perf map (`/tmp/perf-PID.map`) has a line for each function: address and size in hex, and a name. A jitdump
(`jit-PID.dump`) has records with times, names, lines and moves; perf's `jitdump-specification.txt` describes
them. Both may be written while they are read, by anybody: whatever they hold, memory and time stay bounded.
"""

import os
import re
import struct
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Final, NamedTuple

MOST_DEFINITIONS: Final = 1_000_000
"""Functions of one file; later ones are left out."""
_MOST_MAP_BYTES: Final = 64 << 20
_MOST_NAME_BYTES: Final = 4096
_MOST_MARKS: Final = 10_000
_BLOCK_BYTES: Final = 1 << 16
_MOST_ADDRESS: Final = 1 << 62
_LINE: Final = re.compile(
    rb"^(?:0[xX])?([0-9a-fA-F]{1,16})[ \t]+(?:0[xX])?([0-9a-fA-F]{1,16})[ \t]+([^\n]+)$", re.MULTILINE
)

_DUMP_MAGIC: Final = 0x4A695444
_DUMP_HEADER: Final = struct.Struct("<IIIIIIQQ")
_TIMES_OF_PROCESSOR: Final = 1
"""Flag of a jitdump: its times are the processor's, not a clock's."""
_RECORD: Final = struct.Struct("<IIQ")
_LOAD: Final = struct.Struct("<IIQQQQ")
_MOVE: Final = struct.Struct("<IIQQQQQ")
_LINES: Final = struct.Struct("<QQ")
_LINE_ENTRY: Final = struct.Struct("<QII")
_LOADS, _MOVES, _HAS_LINES = 0, 1, 2
_SAME_PATH: Final = b"\xff"
"""In place of the path of the entry before."""
_MOST_RECORD_BYTES: Final = 64 << 20
_MOST_LINES: Final = 10_000
"""Of one function."""
_V8_NAME: Final = re.compile(r"(JS|Script|Eval|Function|LazyCompile|RegExp):")
_V8_SHIFT: Final = 0x40
"""V8 adds the size of an ELF header to addresses of lines."""


class Definition(NamedTuple):
    """
    Code that was generated.

    Args:
        timestamp_ns: When, on the clock of the file; 0 for a map, or where unknown.
        address: First address.
        size_bytes: Of the code.
        name: Of the function.
        file: Source file; None where unknown.
        line: Line in it; None where unknown.
    """

    timestamp_ns: int
    address: int
    size_bytes: int
    name: str
    file: str | None = None
    line: int | None = None


class MapReader:
    """
    Reads a perf map, again and again as it grows.

    Args:
        descriptor: The file, open; stays the caller's.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0
        self._is_in_long_line = False

    @property
    def offset(self) -> int:
        """How many bytes were read."""
        return self._offset

    def read(self, most_bytes: int = _MOST_MAP_BYTES) -> Iterator[tuple[int, Definition]]:
        """Yield what is new in whole lines, with the offset of each line; in *most_bytes* at most."""
        end = min(self._offset + most_bytes, _MOST_MAP_BYTES)
        while self._offset < end:
            block = _read_at(self._descriptor, self._offset, min(_BLOCK_BYTES, end - self._offset))
            size = block.rfind(b"\n") + 1
            if not size and len(block) < _BLOCK_BYTES:
                return
            start = self._offset
            # A line longer than a block is none: it is passed over up to its end.
            self._offset += size or len(block)
            first = block.find(b"\n") + 1 if self._is_in_long_line else 0
            self._is_in_long_line = not size
            yield from _lines(block[:size], first, start)


def _lines(block: bytes, first: int, start: int) -> Iterator[tuple[int, Definition]]:
    # One search for all lines: a map may be nothing but a hundred million ends of lines.
    for match in _LINE.finditer(block, first):
        address, size = int(match[1], 16), int(match[2], 16)
        if address + size < _MOST_ADDRESS:
            name = match[3].rstrip(b"\r")[:_MOST_NAME_BYTES].decode(errors="replace")
            yield start + match.start(), Definition(0, address, size, name)


class DumpReader:
    """
    Reads a jitdump, again and again as it grows.

    Args:
        descriptor: The file, open; stays the caller's.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0
        self._has_times = True
        self._is_over = False
        self._named: dict[int, Definition] = {}
        self._lines: tuple[int, bytes] | None = None

    def read(self, most_records: int = MOST_DEFINITIONS) -> Iterator[Definition]:
        """Yield what is new in whole records, *most_records* of them at most."""
        if self._offset == 0:
            self._read_header()
        for _ in range(most_records):
            head = (
                b""
                if self._is_over or self._offset == 0
                else _read_at(self._descriptor, self._offset, _RECORD.size)
            )
            if len(head) < _RECORD.size:
                return
            kind, size, timestamp_ns = _RECORD.unpack(head)
            if not _RECORD.size <= size <= _MOST_RECORD_BYTES:
                self._is_over = True
                return
            if os.fstat(self._descriptor).st_size < self._offset + size:
                return
            yield from self._record(kind, size, timestamp_ns if self._has_times else 0)
            self._offset += size

    def _read_header(self) -> None:
        header = _read_at(self._descriptor, 0, _DUMP_HEADER.size)
        if len(header) < _DUMP_HEADER.size:
            return
        magic, _, size, *_, flags = _DUMP_HEADER.unpack(header)
        self._is_over = magic != _DUMP_MAGIC or size < _DUMP_HEADER.size
        self._has_times = not flags & _TIMES_OF_PROCESSOR
        self._offset = size

    def _record(self, kind: int, size: int, timestamp_ns: int) -> Iterator[Definition]:
        start, room = self._offset + _RECORD.size, size - _RECORD.size
        if kind == _HAS_LINES and room >= _LINES.size:
            # They come before the function that they are of.
            self._lines = (
                _LINES.unpack(_read_at(self._descriptor, start, _LINES.size))[0],
                _read_at(self._descriptor, start + _LINES.size, min(room - _LINES.size, 1 << 20)),
            )
        elif kind == _LOADS and room > _LOAD.size:
            yield from self._load(start, room, timestamp_ns)
        elif kind == _MOVES and room >= _MOVE.size:
            yield from self._move(_read_at(self._descriptor, start, _MOVE.size), timestamp_ns)

    def _load(self, start: int, room: int, timestamp_ns: int) -> Iterator[Definition]:
        content = _read_at(self._descriptor, start, min(room, _LOAD.size + _MOST_NAME_BYTES))
        *_, address, size, number = _LOAD.unpack_from(content)
        if address + size >= _MOST_ADDRESS:
            return
        name = content[_LOAD.size :].partition(b"\0")[0].decode(errors="replace")
        whole = Definition(timestamp_ns, address, size, name)
        if len(self._named) < MOST_DEFINITIONS:
            self._named[number] = whole
        yield whole
        if self._lines is not None and self._lines[0] == address:
            yield from _parts(whole, self._lines[1])
        self._lines = None

    def _move(self, content: bytes, timestamp_ns: int) -> Iterator[Definition]:
        *_, address, _, number = _MOVE.unpack(content)
        moved = self._named.get(number)
        if moved is not None and address + moved.size_bytes < _MOST_ADDRESS:
            self._named[number] = moved._replace(timestamp_ns=timestamp_ns, address=address)
            yield self._named[number]


def _parts(whole: Definition, entries: bytes) -> Iterator[Definition]:
    """Yield the parts of *whole* whose line is known: each reaches to the next one, the last to the end."""
    found = sorted(_line_entries(entries))
    if found and _V8_NAME.match(whole.name) and found[0][0] >= whole.address + _V8_SHIFT:
        found = [(address - _V8_SHIFT, line, path) for address, line, path in found]
    end = whole.address + whole.size_bytes
    ends = [address for address, _, _ in found[1:]] + [end]
    for (address, line, path), until in zip(found, ends, strict=False):
        if whole.address <= address < until <= end and 0 < line < 1 << 31:
            yield whole._replace(address=address, size_bytes=until - address, file=path or None, line=line)


def _line_entries(entries: bytes) -> Iterator[tuple[int, int, str]]:
    position, path = 0, ""
    for _ in range(_MOST_LINES):
        end = entries.find(b"\0", position + _LINE_ENTRY.size)
        if end < 0:
            return
        address, line, _ = _LINE_ENTRY.unpack_from(entries, position)
        name = entries[position + _LINE_ENTRY.size : end]
        path = path if name == _SAME_PATH else name[:_MOST_NAME_BYTES].decode(errors="replace")
        yield address, line, path
        position = end + 1


def _read_at(descriptor: int, offset: int, size: int) -> bytes:
    try:
        return os.pread(descriptor, size, offset)
    except OSError:
        return b""


class Places:
    """Tells code that takes the place of other code from code where there was none."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._known: dict[int, tuple[int, str]] = {}

    def takes_place(self, found: Definition) -> bool:
        """Return whether other code lay where *found* lies; from now on it is *found*."""
        end = found.address + found.size_bytes
        index = bisect_left(self._starts, found.address)
        before = self._starts[index - 1] if index else -1
        is_new = not (before >= 0 and before + self._known[before][0] > found.address)
        covered = []
        for start in self._starts[index : index + MOST_DEFINITIONS]:
            if start >= end:
                break
            covered.append(start)
        is_same = covered == [found.address] and self._known[found.address] == (found.size_bytes, found.name)
        for start in covered:
            del self._known[start]
        del self._starts[index : index + len(covered)]
        if len(self._starts) < MOST_DEFINITIONS:
            insort(self._starts, found.address)
            self._known[found.address] = (found.size_bytes, found.name)
        return not is_same and bool(covered or not is_new)
