"""
Which file lay where in which process, and when: followed as it happens, so that a process that is gone by the
end can still be symbolised.

The kernel reports each executable mapping, fork and exec as perf side-band records (perf_event_open(2)), here
on every CPU; those of other processes are not kept.
"""

import ctypes
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gadgetops.errors import TraceError
from gadgetops.trace.machine import libc

_SYS_PERF_EVENT_OPEN: Final = {"x86_64": 298, "aarch64": 241}
_ATTRIBUTE_BYTES: Final = 128
_SOFTWARE, _DUMMY = 1, 9
_SAMPLE_TID_TIME: Final = 2 | 4
_CLOCK_BOOTTIME: Final = 7
_FLAG_BITS: Final = (8, 9, 13, 18, 23, 24, 25)
"""mmap, comm, task, sample_id_all, mmap2, comm_exec, use_clockid."""
_FLAG_BUILD_ID: Final = 34
_CLOSE_ON_EXEC: Final = 8
_DATA_PAGES: Final = 256
_COMM, _FORK, _MMAP2 = 3, 7, 10
_MISC_EXEC: Final = 1 << 13
_MISC_BUILD_ID: Final = 1 << 14


@dataclass(frozen=True)
class Mapping:
    """One executable mapping of a file; addresses and offsets in bytes, time in ns since boot."""

    timestamp_ns: int
    start_address: int
    end_address: int
    file_offset: int
    path: str
    build_id: str | None


@dataclass
class AddressSpace:
    """What one process mapped, in order of time; `exec_times_ns` say when it began anew."""

    mappings: list[Mapping] = field(default_factory=list)
    exec_times_ns: list[int] = field(default_factory=list)

    def find(self, address: int, timestamp_ns: int) -> Mapping | None:
        """Return the mapping that held *address* at *timestamp_ns*: the latest then, else the first after."""
        holding = [m for m in self.mappings if m.start_address <= address < m.end_address]
        began_ns = max((t for t in self.exec_times_ns if t <= timestamp_ns), default=0)
        then = [m for m in holding if began_ns <= m.timestamp_ns <= timestamp_ns]
        if then:
            return then[-1]
        after = [m for m in holding if m.timestamp_ns > timestamp_ns]
        return after[0] if after else None


class ModuleTracker:
    """
    Follows the mappings of the processes given to `follow` and of those that they start.

    Use as a context manager, and call `read` now and then: the kernel keeps 1 MiB a CPU meanwhile.

    Raises:
        TraceError: The kernel refuses to report mappings.
    """

    def __init__(self) -> None:
        self.spaces: dict[int, AddressSpace] = {}
        self._fds: list[int] = []
        self._buffers: list[mmap.mmap] = []
        for cpu in sorted(os.sched_getaffinity(0) | set(range(os.cpu_count() or 1))):
            self._open(cpu)

    def __enter__(self) -> "ModuleTracker":
        return self

    def __exit__(self, *_: object) -> None:
        for buffer in self._buffers:
            buffer.close()
        for fd in self._fds:
            os.close(fd)

    def follow(self, pid: int) -> None:
        """Begin with what process *pid* maps now."""
        self.spaces[pid] = AddressSpace([*_mapped_now(pid)])

    def read(self) -> None:
        """Take in what happened since the last call."""
        records = [record for buffer in self._buffers for record in _records(buffer)]
        for timestamp_ns, kind, misc, body in sorted(records, key=lambda record: record[0]):
            self._take(timestamp_ns, kind, misc, body)

    def _take(self, timestamp_ns: int, kind: int, misc: int, body: bytes) -> None:
        pid, second = struct.unpack_from("<II", body)
        if kind == _FORK:
            self._fork(pid, parent=second)
            return
        space = self.spaces.get(pid)
        if space is None:
            return
        if kind == _COMM and misc & _MISC_EXEC:
            space.exec_times_ns.append(timestamp_ns)
        elif kind == _MMAP2:
            space.mappings.append(_mapping(timestamp_ns, misc, body))

    def _fork(self, pid: int, parent: int) -> None:
        inherited = self.spaces.get(parent)
        if pid != parent and inherited is not None:
            self.spaces[pid] = AddressSpace([*inherited.mappings], [*inherited.exec_times_ns])

    def _open(self, cpu: int) -> None:
        fd = _perf_event_open(cpu, with_build_id=True)
        if fd < 0:
            fd = _perf_event_open(cpu, with_build_id=False)
        if fd < 0:
            raise TraceError(
                f"the kernel does not report mappings: {os.strerror(ctypes.get_errno())}",
                hint="run as root; see /proc/sys/kernel/perf_event_paranoid",
            )
        self._fds.append(fd)
        self._buffers.append(mmap.mmap(fd, (1 + _DATA_PAGES) * mmap.PAGESIZE, mmap.MAP_SHARED))


def _perf_event_open(cpu: int, *, with_build_id: bool) -> int:
    flags = sum(1 << bit for bit in _FLAG_BITS) | (with_build_id << _FLAG_BUILD_ID)
    attribute = bytearray(_ATTRIBUTE_BYTES)
    struct.pack_into(
        "<IIQQQQQ", attribute, 0, _SOFTWARE, len(attribute), _DUMMY, 0, _SAMPLE_TID_TIME, 0, flags
    )
    struct.pack_into("<i", attribute, 92, _CLOCK_BOOTTIME)
    number = _SYS_PERF_EVENT_OPEN[os.uname().machine]
    fd: int = libc.syscall(number, bytes(attribute), -1, cpu, -1, ctypes.c_ulong(_CLOSE_ON_EXEC))
    return fd


def _records(buffer: mmap.mmap) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (timestamp_ns, type, misc, body) of each finished record and free the room."""
    page, size = mmap.PAGESIZE, _DATA_PAGES * mmap.PAGESIZE
    head, tail = struct.unpack_from("<QQ", buffer, 1024)
    data = b"".join(_ranges(buffer, page, size, tail, head))
    position = 0
    while position + 8 <= len(data):
        kind, misc, length = struct.unpack_from("<IHH", data, position)
        if length < 24:
            break
        (timestamp_ns,) = struct.unpack_from("<Q", data, position + length - 8)
        if kind in (_COMM, _FORK, _MMAP2):
            yield timestamp_ns, kind, misc, data[position + 8 : position + length]
        position += length
    struct.pack_into("<Q", buffer, 1032, head)


def _ranges(buffer: mmap.mmap, page: int, size: int, tail: int, head: int) -> Iterator[bytes]:
    start, count = tail % size, head - tail
    first = min(count, size - start)
    yield buffer[page + start : page + start + first]
    yield buffer[page : page + count - first]


def _mapping(timestamp_ns: int, misc: int, body: bytes) -> Mapping:
    start, length, file_offset = struct.unpack_from("<QQQ", body, 8)
    build_id = body[36 : 36 + body[32]].hex() if misc & _MISC_BUILD_ID else None
    path = body[64:].split(b"\0", 1)[0].decode(errors="surrogateescape")
    return Mapping(timestamp_ns, start, start + length, file_offset, path, build_id)


def _mapped_now(pid: int) -> Iterator[Mapping]:
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        fields = line.split(maxsplit=5)
        if "x" in fields[1] and len(fields) == 6:
            start, end = (int(address, 16) for address in fields[0].split("-"))
            yield Mapping(0, start, end, int(fields[2], 16), fields[5], None)
