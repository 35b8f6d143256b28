"""
heaptrack's data file, format 3, as `heaptrack_print` and `heaptrack_gui` open it: lines of hexadecimal
numbers.

Strings, instruction pointers and traces are numbered from 1 in the order of their lines, allocations (a size
and a trace) from 0. heaptrack knows one process: what others allocated is added to it.
"""

import gzip
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from gadgetops.questions.asking.question import of_what_is_readable
from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.exports.history import Change, History, history
from gadgetops.recording.reader import Recording
from gadgetops.report.answers import printable
from gadgetops.report.exports.export import Export
from gadgetops.units import format_count

_HEAD: Final = "v 10400 3"
"""heaptrack's version, 1.4.0, and that of the format."""
_NS_PER_MS: Final = 1_000_000
_PAGE_BYTES: Final = 4096
"""In which resident memory is counted."""


def write(export: Export, path: Path) -> str:
    """
    Write the changes of live memory to *path* and return how sure they are; gzip if its name ends so.

    A mapping that is released in parts counts as so many allocations. Memory does not grow with the events.

    Raises:
        RecordingError: The recording could not be read.
    """
    return _write(export.recording, export, path)


@of_what_is_readable
def _write(recording: Recording, export: Export, path: Path) -> str:
    with history(recording, export.filters) as found, _opened(path, export.is_compressed) as file:
        file.writelines(f"{line}\n" for line in _lines(found, export.on_progress))
    return found.certainty.word


def _opened(path: Path, is_compressed: bool) -> IO[str]:
    if is_compressed:
        return gzip.open(path, "wt", compresslevel=1, encoding="utf-8", errors="replace", newline="\n")
    return path.open("w", encoding="utf-8", errors="replace", newline="\n")


def _lines(found: History, on_progress: Callable[[str], None]) -> Iterator[str]:
    tables = _Tables(found)
    measured = deque(found.resident)
    yield _HEAD
    yield f"X {printable(found.program.path or 'unknown')}"
    yield f"I {_PAGE_BYTES:x} 0"
    ms = n_written = 0
    for changes in found.changes():
        n_written += len(changes)
        on_progress(f"writing allocations and releases, {format_count(n_written)}")
        for change in changes:
            while measured and measured[0][0] <= change.timestamp_ns:
                yield f"R {measured.popleft()[1] // _PAGE_BYTES:x}"
            now = (change.timestamp_ns - found.span.first_ns) // _NS_PER_MS
            if now > ms:
                ms = now
                yield f"c {ms:x}"
            number = tables.allocation(change)
            yield from tables.taken()
            yield f"{'-' if change.is_release else '+'} {number:x}"
    yield from (f"R {size_bytes // _PAGE_BYTES:x}" for _, size_bytes in measured)
    yield f"c {-(-found.span.duration_ns // _NS_PER_MS):x}"


class _Tables:
    """What lines refer to by number; keeps the lines that define what is new."""

    def __init__(self, found: History) -> None:
        self._found = found
        self._lines: list[str] = []
        self._texts: dict[str, int] = {}
        self._pointers: dict[tuple[Frame, ...], int] = {}
        self._traces: dict[tuple[int, int], int] = {}
        self._trace_of: dict[int, int] = {}
        self._allocations: dict[tuple[int, int], int] = {}

    def taken(self) -> list[str]:
        """Return the lines that define what is new since the last time."""
        lines, self._lines = self._lines, []
        return lines

    def allocation(self, change: Change) -> int:
        """Return the number of allocations of that size from that origin."""
        size = abs(change.change_bytes)
        number = self._allocations.get((size, change.group_id))
        if number is None:
            number = self._allocations[size, change.group_id] = len(self._allocations)
            self._lines.append(f"a {size:x} {self._trace(change.group_id):x}")
        return number

    def _trace(self, group_id: int) -> int:
        if group_id not in self._trace_of:
            origin = self._found.origins[group_id]
            places = origin.places or ((Frame(origin.stack.name, None, None, None, None, 0),),)
            parent = 0
            for place in reversed(places):
                parent = self._child(self._pointer(place), parent)
            self._trace_of[group_id] = parent
        return self._trace_of[group_id]

    def _child(self, pointer: int, parent: int) -> int:
        number = self._traces.get((pointer, parent))
        if number is None:
            number = self._traces[pointer, parent] = len(self._traces) + 1
            self._lines.append(f"t {pointer:x} {parent:x}")
        return number

    def _pointer(self, place: tuple[Frame, ...]) -> int:
        if place not in self._pointers:
            # Texts come before the line that refers to them.
            module = self._text(place[-1].module or "")
            functions = [
                f"{self._text(printable(frame.name)):x} {self._text(frame.file or ''):x} {frame.line or 0:x}"
                for frame in place
            ]
            self._pointers[place] = len(self._pointers) + 1
            frame = place[-1]
            offset = frame.address if frame.module_offset is None else frame.module_offset
            self._lines.append(f"i {offset % (1 << 64):x} {module:x} {' '.join(functions)}")
        return self._pointers[place]

    def _text(self, text: str) -> int:
        """Return the number of *text*; 0 for an empty one."""
        if not text:
            return 0
        if text not in self._texts:
            self._texts[text] = len(self._texts) + 1
            line = printable(text)
            self._lines.append(f"s {len(line.encode('utf-8', 'replace')):x} {line}")
        return self._texts[text]
