"""
Read the slices of a recording in bounded memory: in the order in which they were written, a few at a time.

Never sorted or collected: a recording may have more of them than memory, and DuckDB cannot spill columns of
bytes while it sorts.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from gadgetops.recording.reader import Recording
from gadgetops.stacks.unwinding.unwind_pool import Job, MappedModule, SliceCopy

_MODULES: Final = """
    select module_id, path, build_id, start_address, end_address, file_offset
    from modules
"""
_AT_ONCE: Final = 256
_SLICES_OF_A_JOB: Final = 1024
"""Those that are unwound at once: the more, the less each takes."""
_BYTES_OF_A_JOB: Final = 8 << 20
"""What they come to at most, about."""

IsWanted = Callable[[int, int], bool]
"""Tells by the numbers of stack and process which slices to read."""


class RecordedSlice(NamedTuple):
    """
    A slice with what it saw mapped.

    Attributes:
        module_ids: Numbers of modules.
        copy: The slice.
    """

    module_ids: tuple[int, ...]
    copy: SliceCopy


class _Portion:
    """Slices that make one job."""

    def __init__(self) -> None:
        self.slices: list[SliceCopy] = []
        self.n_bytes = 0

    def add(self, copy: SliceCopy) -> bool:
        """Take a slice; return whether the portion is full."""
        self.slices.append(copy)
        self.n_bytes += len(copy.memory)
        return self.n_bytes >= _BYTES_OF_A_JOB or len(self.slices) >= _SLICES_OF_A_JOB


def read_slices(recording: Recording, path: Path, is_wanted: IsWanted) -> Iterator[RecordedSlice]:
    """
    Yield the wanted slices of *path*, one of the recording's files.

    Raises:
        RecordingError: It cannot be read.
    """
    columns = "module_ids, stack_id, pid, timestamp_ns, registers, memory"
    for rows in recording.streamed("slices", path, columns, _AT_ONCE):
        for module_ids, *row in rows:
            if is_wanted(row[0], row[1]):
                yield RecordedSlice(tuple(module_ids), SliceCopy(*row))


def jobs_of(recording: Recording, path: Path, is_wanted: IsWanted) -> Iterator[Job]:
    """
    Yield the wanted slices of *path*, one of the recording's files, those of the same modules together.

    Raises:
        RecordingError: It cannot be read.
    """
    modules = _modules(recording)
    open_portions: dict[tuple[int, ...], _Portion] = defaultdict(_Portion)
    for module_ids, copy in read_slices(recording, path, is_wanted):
        if open_portions[module_ids].add(copy):
            yield Job(_mapped(modules, module_ids), open_portions.pop(module_ids).slices)
    for module_ids, portion in open_portions.items():
        yield Job(_mapped(modules, module_ids), portion.slices)


def _modules(recording: Recording) -> dict[int, MappedModule]:
    with recording.connect() as connection:
        rows: list[Any] = connection.execute(_MODULES).fetchall()
    return {row[0]: MappedModule(*row) for row in rows}


def _mapped(modules: dict[int, MappedModule], module_ids: tuple[int, ...]) -> tuple[MappedModule, ...]:
    return tuple(modules[number] for number in module_ids if number in modules)
