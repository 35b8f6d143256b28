"""What this machine must have to be traced, and what is missing, each with the way out."""

import ctypes
import os
import signal
from pathlib import Path
from typing import Final

from gadgetops.errors import TraceError
from gadgetops.trace.c_library import libc
from gadgetops.trace.kernel import features

_FILE_SYSTEMS: Final = {
    "tracefs": Path("/sys/kernel/tracing"),
    "bpf": Path("/sys/fs/bpf"),
}
_CAPABILITIES: Final = {"CAP_SYS_ADMIN": 21}
_NEEDED: Final = (
    (features.btf, "use a kernel with CONFIG_DEBUG_INFO_BTF=y"),
    (features.uprobes, "use a kernel with CONFIG_UPROBE_EVENTS=y"),
    (features.memory_reads, "boot without lockdown=confidentiality; lockdown=integrity does no harm"),
)
"""Features of the kernel without which nothing is recorded, with the way to have them."""
_INITIAL_PID_NAMESPACE: Final = 0xEFFFFFFC


_PR_SET_PDEATHSIG: Final = 1


def end_with_parent(parent: int) -> None:
    """
    Have the kernel kill this process when its parent ends; see prctl(2).

    Args:
        parent: The parent's number, from before the fork: it may have ended since.
    """
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def check_machine() -> None:
    """
    Raise for the first thing without which nothing can be traced here.

    Raises:
        TraceError: Names what is missing; the hint says what to do.
    """
    if not _has_capability(_CAPABILITIES["CAP_SYS_ADMIN"]):
        raise TraceError("tracing needs root (CAP_SYS_ADMIN)", hint="run it with sudo")
    for feature, way_out in _NEEDED:
        found = feature()
        if not found.is_there:
            raise TraceError(f"the kernel has no {found.name}: {found.how}", hint=way_out)


def check_pid_namespace() -> None:
    """
    Raise if process numbers here are not those that the kernel reports.

    Raises:
        TraceError: This process lives in a pid namespace of its own.
    """
    if Path("/proc/self/ns/pid").stat().st_ino != _INITIAL_PID_NAMESPACE:
        raise TraceError(
            "this is a pid namespace of its own: its process numbers are not the kernel's",
            hint="in a container, run with --pid=host",
        )


def mount_file_systems() -> list[str]:
    """
    Mount what tracing needs and is not mounted, and return a sentence for each.

    Raises:
        TraceError: One is missing and may not be mounted.
    """
    return [_mount(kind, place) for kind, place in _FILE_SYSTEMS.items() if not _is_mounted(kind, place)]


def _mount(kind: str, place: Path) -> str:
    if libc.mount(kind.encode(), os.fsencode(place), kind.encode(), 0, None) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise TraceError(f"{place}: {kind} is not mounted: {reason}", hint=f"mount -t {kind} {kind} {place}")
    return f"mounted {kind} on {place}"


def _is_mounted(kind: str, place: Path) -> bool:
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text(errors="replace").splitlines())
    return any(fields[1] == str(place) and fields[2] == kind for fields in mounts)


def _has_capability(number: int) -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1]
    return bool(int(effective, 16) >> number & 1)
