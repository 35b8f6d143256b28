"""
How often programs that are in the kernel run: the kernel's own statistics, asked for while they are counted.

Programs are found by the full names that their BTF has, since the kernel keeps 15 characters of a name.
"""

import contextlib
import ctypes
import errno
import mmap
import os
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from gadgetops.bpf.btf import Btf, Reference
from gadgetops.bpf.maps import MapType
from gadgetops.errors import KernelRefused, MissingRequirement, ObjectError, TraceError
from gadgetops.trace.kernel.bpf_syscall import bpf, bpf_in_place

_NEXT_PROGRAM, _PROGRAM_FD, _MAP_FD, _INFO, _BTF_FD, _ENABLE_STATISTICS = 11, 13, 14, 15, 19, 32
_NEXT_KEY: Final = 4
_SYSCTL: Final = Path("/proc/sys/kernel/bpf_stats_enabled")
_PROGRAM_INFO_BYTES: Final = 208
_MAP_INFO_BYTES: Final = 40
_MAX_MAPS: Final = 64
_MAX_BTF_BYTES: Final = 64 << 20
_MAX_ENTRIES_COUNTED: Final = 1 << 20
_HASHES: Final = frozenset({MapType.HASH, MapType.LRU_HASH, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH})
_KEPT_NAME_LENGTH: Final = 15


class MapStatistics(NamedTuple):
    """
    What the kernel says of a map.

    Attributes:
        n_entries: How many it holds at the end; None unless it is a hash.
        written_bytes: How much was written to it meanwhile; None unless it is a ring buffer.
    """

    n_entries: int | None
    written_bytes: int | None


@dataclass(frozen=True)
class RunCounts:
    """
    What ran.

    Attributes:
        runs: How often each program ran, by name; all that are in the kernel under that name together.
        maps: By the map's name.
        n_loaded: How many times the gadget is loaded.
        seconds: For how long.
    """

    runs: Mapping[str, int]
    maps: Mapping[str, MapStatistics]
    n_loaded: int
    seconds: float


def count_runs(programs: Set[str], maps: Set[str], seconds: float) -> RunCounts:
    """
    Count the runs of a gadget's programs, wherever they are loaded on this machine.

    Args:
        programs: Names of all its programs. An object of which another program is loaded is another gadget.
        maps: Names of its maps.
        seconds: How long.

    Raises:
        MissingRequirement: No right to ask, or the kernel counts nothing.
        TraceError: The gadget is not loaded, or the kernel refuses.
    """
    try:
        with contextlib.ExitStack() as stack:
            loaded = _loaded(stack, programs)
            if not loaded:
                hint = "run it meanwhile in another terminal, with `gadgetops record` or `ig run`"
                raise TraceError("no program of this gadget is loaded", hint=hint)
            _enable(stack)
            held = _maps(stack, loaded, maps)
            before, began = _run_counts(loaded), time.monotonic()
            written = {fd: _written_bytes(fd) for fd, (_, kind) in held.items() if kind == MapType.RINGBUF}
            time.sleep(seconds)
            runs = _run_counts(loaded)
            runs.subtract(before)
            return RunCounts(
                dict(runs),
                _statistics(held, written),
                len({each.btf_id for each in loaded}),
                time.monotonic() - began,
            )
    except PermissionError as error:
        raise MissingRequirement(
            "root", "programs in the kernel cannot be asked", hint="run as root"
        ) from error
    except OSError as error:
        raise KernelRefused("runs cannot be counted", error.strerror) from error


class _Loaded(NamedTuple):
    fd: int
    name: str
    btf_id: int


def _loaded(stack: contextlib.ExitStack, programs: Set[str]) -> list[_Loaded]:
    """Return the programs of objects that have no others than *programs*."""
    found = []
    names_of = cache(_btf)
    for fd in _program_fds(stack):
        info, type_id = _program_info(fd)
        (btf_id,) = struct.unpack_from("=I", info, 128)
        btf = names_of(btf_id) if btf_id else None
        described = btf.types[type_id] if btf is not None and type_id < len(btf.types) else None
        if isinstance(described, Reference):
            found.append(_Loaded(fd, described.name, btf_id))
    others = {each.btf_id for each in found if each.name not in programs}
    return [each for each in found if each.btf_id not in others]


def _program_fds(stack: contextlib.ExitStack) -> Iterator[int]:
    """Yield a descriptor of each program in the kernel; those that go meanwhile are left out."""
    number = 0
    while True:
        attributes = bytearray(struct.pack("=III", number, 0, 0))
        try:
            bpf_in_place(_NEXT_PROGRAM, attributes)
        except FileNotFoundError:
            return
        _, number, _ = struct.unpack("=III", attributes)
        with contextlib.suppress(FileNotFoundError):
            fd = bpf(_PROGRAM_FD, struct.pack("=III", number, 0, 0))
            stack.callback(os.close, fd)
            yield fd


def _info(fd: int, info: bytearray) -> None:
    buffer = (ctypes.c_char * len(info)).from_buffer(info)
    bpf_in_place(_INFO, bytearray(struct.pack("=IIQ", fd, len(info), ctypes.addressof(buffer))))


def _program_info(fd: int) -> tuple[bytearray, int]:
    """Return `struct bpf_prog_info` of a program, and which type of its BTF its first function is."""
    info = bytearray(_PROGRAM_INFO_BYTES)
    first = (ctypes.c_uint32 * 2)()
    struct.pack_into("=I", info, 132, ctypes.sizeof(first))
    struct.pack_into("=QI", info, 136, ctypes.addressof(first), 1)
    _info(fd, info)
    return info, first[1]


def _btf(number: int) -> Btf | None:
    fd = bpf(_BTF_FD, struct.pack("=III", number, 0, 0))
    try:
        size = bytearray(16)
        _info(fd, size)
        (n_bytes,) = struct.unpack_from("=I", size, 8)
        data = (ctypes.c_char * min(n_bytes, _MAX_BTF_BYTES))()
        _info(fd, bytearray(struct.pack("=QII", ctypes.addressof(data), len(data), 0)))
    finally:
        os.close(fd)
    try:
        return Btf.from_bytes(bytes(data), sys.byteorder)
    except ObjectError:
        return None


def _enable(stack: contextlib.ExitStack) -> None:
    """Have the kernel count runs for as long as *stack* is open; it does so for all programs."""
    try:
        stack.callback(os.close, bpf(_ENABLE_STATISTICS, struct.pack("=I", 0)))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        if not _SYSCTL.exists() or _SYSCTL.read_text().strip() != "1":
            raise MissingRequirement(
                "statistics of programs",
                "the kernel does not count how often programs run",
                hint="it does since Linux 5.8, or with `sysctl kernel.bpf_stats_enabled=1` since 5.1",
            ) from error


def _run_counts(loaded: list[_Loaded]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for each in loaded:
        counts[each.name] += struct.unpack_from("=Q", _program_info(each.fd)[0], 200)[0]
    return counts


def _maps(stack: contextlib.ExitStack, loaded: list[_Loaded], names: Set[str]) -> dict[int, tuple[str, int]]:
    """Return descriptors of the maps that the programs use, each with the map's name and type."""
    by_kept: dict[str, list[str]] = {}
    for name in names:
        by_kept.setdefault(name[:_KEPT_NAME_LENGTH], []).append(name)
    found = {}
    for number in sorted({number for each in loaded for number in _map_ids(each.fd)}):
        fd = bpf(_MAP_FD, struct.pack("=III", number, 0, 0))
        stack.callback(os.close, fd)
        info = _map_info(fd)
        known = by_kept.get(info[24:40].partition(b"\0")[0].decode(errors="replace"), [])
        if len(known) == 1:
            found[fd] = known[0], struct.unpack_from("=I", info)[0]
    return found


def _map_ids(fd: int) -> list[int]:
    info = bytearray(_PROGRAM_INFO_BYTES)
    numbers = (ctypes.c_uint32 * _MAX_MAPS)()
    struct.pack_into("=IQ", info, 52, _MAX_MAPS, ctypes.addressof(numbers))
    _info(fd, info)
    return list(numbers[: min(struct.unpack_from("=I", info, 52)[0], _MAX_MAPS)])


def _map_info(fd: int) -> bytearray:
    info = bytearray(_MAP_INFO_BYTES)
    _info(fd, info)
    return info


def _written_bytes(fd: int) -> int:
    """Return how much was ever written to a ring buffer: its second page begins with that."""
    with mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ, offset=mmap.PAGESIZE) as page:
        return int.from_bytes(page[:8], sys.byteorder)


def _statistics(held: Mapping[int, tuple[str, int]], written: Mapping[int, int]) -> dict[str, MapStatistics]:
    entries: Counter[str] = Counter()
    bytes_: Counter[str] = Counter()
    for fd, (name, kind) in held.items():
        if kind in _HASHES:
            entries[name] += _n_entries(fd)
        elif fd in written:
            bytes_[name] += _written_bytes(fd) - written[fd]
    return {name: MapStatistics(entries.get(name), bytes_.get(name)) for name in {*entries, *bytes_}}


def _n_entries(fd: int) -> int:
    """Count the keys of a map; while it changes, about."""
    (key_bytes,) = struct.unpack_from("=I", _map_info(fd), 8)
    keys = (ctypes.c_char * key_bytes)(), (ctypes.c_char * key_bytes)()
    known, following = 0, ctypes.addressof(keys[0])
    count = 0
    while count < _MAX_ENTRIES_COUNTED:
        try:
            bpf(_NEXT_KEY, struct.pack("=IIQQ", fd, 0, known, following))
        except FileNotFoundError:
            return count
        count += 1
        known, following = following, ctypes.addressof(keys[count % 2])
    return count
