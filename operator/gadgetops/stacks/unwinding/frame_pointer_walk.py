"""
Stacks from slices by frame pointers, as the kernel makes them of the same process a moment later.

A process that needs no slices has sent some before that was known. Its stacks are to be alike, and end alike:
a walk by frame pointers ends in the C library, where unwinding goes on to the program's start.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from gadgetops.recording.reader import Recording
from gadgetops.recording.schema import MAX_WALKED_FRAMES, registers_of
from gadgetops.stacks.unwinding.callers import with_caller
from gadgetops.stacks.unwinding.libdw import STACK_POINTER
from gadgetops.stacks.unwinding.recorded_slices import read_slices
from gadgetops.stacks.unwinding.signed_addresses import SignatureRemover
from gadgetops.stacks.unwinding.unwind_pool import SliceCopy

_FRAME_POINTER: Final = {"x86_64": 6, "aarch64": 29}
_LINK_REGISTER: Final = {"aarch64": 30}
_FRAME: Final = struct.Struct("<QQ")
"""The caller's frame pointer, and where the call returns to."""
_AT_ENTRY: Final = """
    select distinct stack_id
    from events
    where operation in (select operation from operations where is_release) and list_contains($pids, pid)
"""
_EXECUTED: Final = """
    select pid, max(timestamp_ns)
    from processes
    where event = 'exec' and list_contains($pids, pid)
    group by pid
"""


class Walked(NamedTuple):
    """
    A stack.

    Attributes:
        number: Its number.
        pid: The process.
        timestamp_ns: When.
        addresses: Leaf first.
    """

    number: int
    pid: int
    timestamp_ns: int
    addresses: list[int]


def walked(recording: Recording, pids: Sequence[int], machine: str) -> Iterator[Walked]:
    """
    Yield the stacks of the slices of the processes *pids*; none of an unknown *machine* (`uname -m`).

    Of a process that executed another program only those since: before, it was one that may have needed them.

    Raises:
        RecordingError: The recording cannot be read.
    """
    if not pids or machine not in _FRAME_POINTER:
        return
    with recording.connect() as connection:
        at_entry = {number for (number,) in connection.execute(_AT_ENTRY, {"pids": [*pids]}).fetchall()}
        code = connection.execute("select start_address, end_address from modules").fetchall()
        executed_ns = dict(connection.execute(_EXECUTED, {"pids": [*pids]}).fetchall())
    signatures = SignatureRemover(code, machine)
    wanted = frozenset(pids)
    for path in recording.tables["slices"]:
        for _, found in read_slices(recording, path, lambda _, pid: pid in wanted):
            if executed_ns.get(found.pid, found.timestamp_ns) <= found.timestamp_ns:
                plain = found._replace(memory=signatures.plain(found.memory))
                yield _walked(plain, machine, is_at_entry=found.stack_id in at_entry)


def _walked(found: SliceCopy, machine: str, *, is_at_entry: bool) -> Walked:
    registers = registers_of(found.registers)
    addresses = walk(registers, found.memory, machine)
    caller = _caller(registers, found.memory, machine) if is_at_entry else registers[-1]
    return Walked(found.stack_id, found.pid, found.timestamp_ns, with_caller(addresses, caller))


def walk(registers: Sequence[int], memory: bytes, machine: str) -> list[int]:
    """
    Return the program counter and the return addresses that frame pointers lead to, as `perf_callchain_user`.

    Args:
        registers: By DWARF's numbers, the last one is the program counter.
        memory: From the stack pointer upwards.
        machine: One that is known.
    """
    found, start = [registers[-1]], registers[STACK_POINTER[machine]]
    frame = registers[_FRAME_POINTER[machine]]
    while len(found) < MAX_WALKED_FRAMES and 0 <= frame - start <= len(memory) - _FRAME.size:
        frame, returns = _FRAME.unpack_from(memory, frame - start)
        if returns == 0:
            break
        found.append(returns)
    return found


def _caller(registers: Sequence[int], memory: bytes, machine: str) -> int:
    """Return where a function returns to that has only just begun."""
    if machine in _LINK_REGISTER:
        return registers[_LINK_REGISTER[machine]]
    return int.from_bytes(memory[:8], "little")
