"""
From the slices of a recording to its stacks, when it ends or later, here or elsewhere.

Slices that saw the same files mapped are unwound together, each slice once, outer ones first: they show what
deeper ones lack. What could not be unwound to its beginning is kept as far as it is known.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

import duckdb

from gadgetops.recording.reader import Recording
from gadgetops.recording.schema import FrameRow, StackRow
from gadgetops.stacks.libdw import STACK_POINTER
from gadgetops.stacks.slice_join import Joiner, code_in
from gadgetops.stacks.symbolize import Finder
from gadgetops.stacks.unwind_pool import Job, MappedModule, unwound

_TO_UNWIND: Final = "from slices where stack_id not in (select stack_id from stacks)"
_SLICES: Final = f"""
    select module_ids, pid, stack_id, timestamp_ns, registers, memory
    {_TO_UNWIND}
    order by module_ids, pid, {{stack_pointer}} desc, stack_id
"""
_MODULES: Final = """
    select module_id, path, build_id, start_address, end_address, file_offset
    from modules
"""
_ENDS: Final = ("complete", "cut", "unknown", "joined")
_TRAMPOLINE: Final = "[uprobes]"
_AT_ONCE: Final = 1024
_SLICES_OF_A_JOB: Final = 1024
"""Those that are unwound at once: the more, the less each takes."""
_BYTES_OF_A_JOB: Final = 8 << 20
"""What they come to at most, about."""


@dataclass
class Unwinding:
    """
    The stacks of the slices of one recording.

    Args:
        recording: Open.
        finder: Has the files.

    Attributes:
        n_slices: How many there are to unwind; known with the first stack.
        ends: How many stacks ended for which reason, see `unwind.End`; and how many were `joined` of several
            slices.
    """

    recording: Recording
    finder: Finder
    n_slices: int = 0
    ends: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_ENDS, 0))

    def rows(self) -> Iterator[tuple[list[FrameRow], StackRow]]:
        """
        Yield each stack with the return addresses that it is the first to have.

        Raises:
            TraceError: The unwinder is not installed.
            RecordingError: The recording cannot be read.
        """
        with self.recording.connect() as connection:
            first = connection.execute("select coalesce(max(frame_id), -1) + 1 from stored_frames").fetchall()
            [(self.n_slices,)] = connection.execute(f"select count(*) {_TO_UNWIND}").fetchall()
            frames = _Frames(first[0][0])
            for done in unwound(self._jobs(connection), self.n_slices, self.finder, self._machine):
                for stack_id, stack in done.stacks:
                    self.ends[stack.end] += 1
                    addresses = _without_trampoline(stack.addresses, done.mapped)
                    yield frames.rows_of(stack_id, done.mapped, addresses)

    def _jobs(self, connection: duckdb.DuckDBPyConnection) -> Iterator[Job]:
        """Yield the slices, joined, a few of the same modules at a time."""
        modules = {row[0]: MappedModule(*row) for row in connection.execute(_MODULES).fetchall()}
        # That a machine is not known is the unwinder's to say.
        stack_pointer = STACK_POINTER.get(self._machine, 0)
        slices = connection.execute(_SLICES.format(stack_pointer=_hex_of_register(stack_pointer)))
        for module_ids, group in groupby(_fetched(slices), key=lambda row: tuple(row[0])):
            mapped = tuple(modules[number] for number in module_ids if number in modules)
            joiner = Joiner(code_in([(module.start, module.end) for module in mapped]))
            whole = (_joined(joiner, stack_pointer, *row[1:]) for row in group)
            yield from (Job(mapped, slices) for slices in _portions(whole))
            self.ends["joined"] += joiner.n_joined

    @property
    def _machine(self) -> str:
        """The machine that was recorded, as `uname -m` says it."""
        host = self.recording.header.get("host")
        return str(host.get("machine")) if isinstance(host, dict) else ""


def _joined(
    joiner: Joiner,
    stack_pointer: int,
    pid: int,
    stack_id: int,
    timestamp_ns: int,
    registers: bytes,
    memory: bytes,
) -> tuple[int, bytes, bytes]:
    """Return a slice as a `Job` has it."""
    (start,) = struct.unpack_from("<Q", registers, 8 * stack_pointer)
    return stack_id, registers, joiner.whole(pid, start, timestamp_ns, memory)


def _portions(slices: Iterator[tuple[int, bytes, bytes]]) -> Iterator[list[tuple[int, bytes, bytes]]]:
    """Yield as many at a time as there may be in one `Job`."""
    for first in slices:
        portion, n_bytes = [first], len(first[2])
        while n_bytes < _BYTES_OF_A_JOB and len(portion) < _SLICES_OF_A_JOB:
            following = next(slices, None)
            if following is None:
                break
            portion.append(following)
            n_bytes += len(following[2])
        yield portion


def _hex_of_register(number: int) -> str:
    """Return SQL for a register of a slice as text that is ordered as its value is."""
    digits = range(16 * (number + 1) - 1, 16 * number, -2)
    return " || ".join(f"substr(hex(registers), {place}, 2)" for place in digits)


def _without_trampoline(addresses: list[int], mapped: Sequence[MappedModule]) -> list[int]:
    """
    Leave out the address by which the kernel catches the return of a probed function.

    It stands in place of the return address, which only the kernel knows then.
    """
    places = [module for module in mapped if module.path == _TRAMPOLINE]
    is_caught = any(place.start <= addresses[-1] < place.end for place in places)
    return addresses[:-1] if is_caught else addresses


class _Frames:
    """Numbers return addresses, on from *first*."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._known: dict[tuple[int | None, int], int] = {}
        self._mapped: Sequence[MappedModule] = ()
        self._in_mapped: dict[int, int] = {}
        """Of the stacks that saw `_mapped`, which come together, by address alone."""

    def rows_of(
        self, stack_id: int, mapped: Sequence[MappedModule], addresses: Sequence[int]
    ) -> tuple[list[FrameRow], StackRow]:
        """Return the new frames of a stack, and the stack."""
        if self._mapped != mapped:
            self._mapped, self._in_mapped = mapped, {}
        new: list[FrameRow] = []
        for address in addresses:
            if address not in self._in_mapped:
                self._in_mapped[address] = self._number(mapped, address, new)
        return new, StackRow(stack_id, [self._in_mapped[address] for address in addresses])

    def _number(self, mapped: Sequence[MappedModule], address: int, new: list[FrameRow]) -> int:
        module = next((each for each in mapped if each.start <= address < each.end), None)
        key = (module.number if module else None, address)
        if key not in self._known:
            self._known[key] = self._next
            self._next += 1
            offset = None if module is None else address - module.start + module.offset
            new.append(FrameRow(self._known[key], address, key[0], offset))
        return self._known[key]


def _fetched(cursor: Any) -> Iterator[tuple[Any, ...]]:
    fetch: Callable[[int], list[tuple[Any, ...]]] = cursor.fetchmany
    while rows := fetch(_AT_ONCE):
        yield from rows
