"""
What /proc says of processes: whether they run, their threads and children, and what they map.

A process lives as long as one of its threads does. The first thread may end before the others: it is a
zombie then, has no memory any more, and what /proc/PID shows of the memory is empty. `memory_holder` gives a
thread that still has it; /proc/TID is like /proc/PID, although it is not listed.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from gadgetops import process_stat

CAP_SYS_PTRACE: Final = 19
_ENDED: Final = (b"Z", b"X")
"""In /proc/PID/stat, after the name (proc(5)), in clock ticks since boot."""
_DELETED: Final = " (deleted)"
_NEWLINE: Final = "\\012"
"""How the kernel writes a newline in a path; it does not mark a backslash."""
_RESIDENT: Final = re.compile(rb"^Rss(?:Anon|File):\s+(\d+) kB$", re.MULTILINE)
_KERNEL_THREAD: Final = 0x00200000
"""`PF_KTHREAD` of a process's flags (proc(5))."""


class Range(NamedTuple):
    """
    One line of /proc/PID/maps; addresses and offset in bytes.

    Args:
        start_address: First address.
        end_address: First address after it.
        is_code: Whether it is executable.
        file_offset: Where it begins in the file.
        file: Device and inode, as /proc spells them.
        path: Of the file, or what the kernel calls it, as `[stack]`; None for memory without a name.
        is_deleted: Whether the file has no such path any more.
    """

    start_address: int
    end_address: int
    is_code: bool
    file_offset: int
    file: tuple[str, str]
    path: str | None
    is_deleted: bool


def is_alive(pid: int) -> bool:
    """Return whether a thread of process *pid* runs; one that its parent has not waited for does not."""
    return _runs(process_stat.read_stat(pid)) or memory_holder(pid) != pid


def is_running(tid: int) -> bool:
    """Return whether the thread *tid*, which may be a process's first, has not ended."""
    return _runs(process_stat.read_stat(tid))


def memory_holder(pid: int) -> int:
    """Return *pid*, or the lowest other thread of that process if the first one has ended before it."""
    if _runs(process_stat.read_stat(pid)):
        return pid
    threads = sorted(threads_of(pid) - {pid})
    return next((tid for tid in threads if _runs(process_stat.read_stat(tid))), pid)


def threads_of(pid: int) -> set[int]:
    """Return the threads of *pid* that /proc lists, the first one included if it has ended."""
    try:
        return {int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()}
    except OSError:
        return set()


def all_processes() -> Iterator[int]:
    """Yield the numbers of all processes."""
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def descendants_of(pids: Iterable[int]) -> list[int]:
    """Return the running processes that *pids* started, and that those started; parents come first."""
    children: dict[int, list[int]] = {}
    for pid in all_processes():
        status = process_stat.read_stat(pid)
        if status:
            children.setdefault(int(status[process_stat.PARENT]), []).append(pid)
    known = dict.fromkeys(pids)
    waiting = [*known]
    while waiting:
        new = [child for child in children.get(waiting.pop(0), ()) if child not in known]
        known.update(dict.fromkeys(new))
        waiting += new
    return [pid for pid in known if pid not in {*pids}]


def parent_of(pid: int) -> int | None:
    """Return the process that *pid* is a child of; None if it is gone."""
    status = process_stat.read_stat(pid)
    return int(status[process_stat.PARENT]) if status else None


def is_kernel_thread(pid: int) -> bool:
    """Return whether *pid* is a thread of the kernel, which has no memory of its own."""
    status = process_stat.read_stat(pid)
    return bool(status) and bool(int(status[process_stat.FLAGS]) & _KERNEL_THREAD)


def start_time(pid: int) -> str | None:
    """Return what tells process *pid* from others that had or will have its number; None if it is gone."""
    status = process_stat.read_stat(pid)
    return status[process_stat.START_TIME].decode() if status else None


def name_of(pid: int) -> str | None:
    """Return the name of process *pid*; None if it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
    except OSError:
        return None


def resident_bytes(pid: int) -> int | None:
    """
    Return how much memory process *pid* has in RAM; None if it has none any more.

    Shared memory is left out: others have it, too, and the ring buffer of the preloaded library is such
    memory.
    """
    return _resident_bytes(pid) or _resident_bytes(memory_holder(pid)) or None


def mount_namespace(pid: int) -> int | None:
    """Return the number of the mount namespace that *pid* is in; None if it is gone."""
    try:
        return Path(f"/proc/{pid}/ns/mnt").stat().st_ino
    except OSError:
        return None


def ranges_of(pid: int) -> Iterator[Range]:
    """
    Yield what process *pid* maps, in order of addresses.

    Raises:
        OSError: There is no such process, or it may not be looked into.
    """
    for line in Path(f"/proc/{pid}/maps").read_bytes().split(b"\n"):
        # Only the blank ends a field: a path may have all that Python takes for space.
        fields = line.split(b" ", 5)
        if len(fields) == 6 or fields[0]:
            yield _range(pid, fields)


def way_to(pid: int, mapped: Range) -> Path:
    """
    Return the way to the very file that *pid* maps there, whatever lies at its path now.

    A container may hide these ways: then it leads to what lies at the path that *pid* sees.
    """
    way = _by_mapping(pid, mapped.start_address, mapped.end_address)
    return way if os.path.lexists(way) else Path(f"/proc/{pid}/root{mapped.path}")


def way_into(pid: int) -> str:
    """Return what a person can do where the kernel does not let this process look into *pid*."""
    owner = _owner(pid)
    if owner is not None and os.geteuid() not in (0, owner):
        return f"it belongs to another user ({owner}): run as root"
    if not has_capability(CAP_SYS_PTRACE):
        return "give this container CAP_SYS_PTRACE, or start it with --privileged"
    return (
        f"the kernel, or a security module, closes it even to root: record what it started, `ps --ppid {pid}`"
    )


def _owner(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None


def has_capability(number: int) -> bool:
    """Return whether this process has the capability *number* now."""
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1]
    return bool(int(effective, 16) >> number & 1)


def _by_mapping(pid: int, start_address: int, end_address: int) -> Path:
    # The kernel pads addresses with zeros in /proc/PID/maps, and not here.
    return Path(f"/proc/{pid}/map_files/{start_address:x}-{end_address:x}")


def _range(pid: int, fields: list[bytes]) -> Range:
    place, rights, offset, device, inode, *rest = fields
    start, end = (int(address, 16) for address in place.split(b"-"))
    # Padded with blanks, which a path of ours does not begin with: it begins with a slash.
    path = rest[0].lstrip(b" ").decode(errors="surrogateescape") if rest else ""
    if path.startswith("/") and _NEWLINE in path:
        path = _linked(_by_mapping(pid, start, end)) or path
    is_deleted = path.startswith("/") and path.endswith(_DELETED) and not _exists(pid, path, inode)
    path = path.removesuffix(_DELETED) if is_deleted else path
    file = device.decode(), inode.decode()
    return Range(start, end, b"x" in rights, int(offset, 16), file, path or None, is_deleted)


def _linked(way: Path) -> str | None:
    try:
        return str(way.readlink())
    except OSError:
        return None


def _exists(pid: int, path: str, inode: bytes) -> bool:
    """Return whether *path*, with all of its end, is the file's name, rather than that of a deleted one."""
    try:
        return Path(f"/proc/{pid}/root{path}").stat().st_ino == int(inode)
    except OSError:
        return False


def _resident_bytes(pid: int) -> int:
    """Return the anonymous pages and those of files that *pid* has in RAM (proc(5)); 0 if it is gone."""
    try:
        found = _RESIDENT.findall(Path(f"/proc/{pid}/status").read_bytes())
    except OSError:
        return 0
    return sum(map(int, found)) << 10


def _runs(status: list[bytes]) -> bool:
    return bool(status) and status[process_stat.STATE] not in _ENDED
