"""What this machine must have to be traced, and what is missing, each with the way out."""

import ctypes
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from gadgetops.errors import MissingRequirement
from gadgetops.trace.c_library import libc
from gadgetops.trace.kernel import features
from gadgetops.trace.processes import has_capability
from gadgetops.trace.resource_limits import lift_limits

_FILE_SYSTEMS: Final = {
    "tracefs": Path("/sys/kernel/tracing"),
    "bpf": Path("/sys/fs/bpf"),
}
_CAP_SYS_ADMIN: Final = 21
NEEDED_FEATURES: Final[Mapping[Callable[[], features.Feature], str]] = {
    features.btf: "use a kernel with CONFIG_DEBUG_INFO_BTF=y",
    features.uprobes: "use a kernel with CONFIG_UPROBE_EVENTS=y",
    features.memory_reads: "boot without lockdown=confidentiality; lockdown=integrity does no harm",
}
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
    check_rights()
    for feature in NEEDED_FEATURES:
        check_feature(feature)


def prepare_to_trace() -> None:
    """
    Lift this process's limits, and raise if it cannot record by eBPF here.

    Raises:
        TraceError: Names what is missing; the hint says what to do.
    """
    lift_limits()
    check_machine()
    check_pid_namespace()


def check_rights() -> None:
    """Raise `TraceError` unless this process may trace."""
    if not has_capability(_CAP_SYS_ADMIN):
        raise MissingRequirement("root", "tracing needs root (CAP_SYS_ADMIN)", hint=_way_to_rights())


def check_feature(feature: Callable[[], features.Feature]) -> features.Feature:
    """Return what the kernel has of *feature*; `TraceError` with the way out if that is nothing."""
    found = feature()
    if not found.is_there:
        raise MissingRequirement(
            found.name, f"the kernel has no {found.name}: {found.how}", hint=NEEDED_FEATURES[feature]
        )
    return found


def _way_to_rights() -> str:
    if os.geteuid() == 0:
        return "root of a container lacks it: start the container with --privileged --pid=host"
    return "run it with sudo"


def check_pid_namespace() -> None:
    """
    Raise if process numbers here are not those that the kernel reports.

    Raises:
        TraceError: This process lives in a pid namespace of its own.
    """
    if Path("/proc/self/ns/pid").stat().st_ino != _INITIAL_PID_NAMESPACE:
        raise MissingRequirement(
            "the machine's pid namespace",
            "this is a pid namespace of its own: its process numbers are not the kernel's",
            hint="in a container, run with --pid=host",
        )


def mount_file_systems() -> list[str]:
    """
    Mount what tracing needs and is not mounted, and return a sentence for each.

    Raises:
        TraceError: One is missing and may not be mounted.
    """
    return [_mount(kind, place) for kind, place in missing_file_systems().items()]


def missing_file_systems() -> dict[str, Path]:
    """Return the kinds of file systems that tracing needs and that are not mounted, with their places."""
    return {kind: place for kind, place in _FILE_SYSTEMS.items() if not _is_mounted(kind, place)}


def _mount(kind: str, place: Path) -> str:
    if libc.mount(kind.encode(), os.fsencode(place), kind.encode(), 0, None) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise MissingRequirement(
            kind, f"{place}: {kind} is not mounted: {reason}", hint=f"mount -t {kind} {kind} {place}"
        )
    return f"mounted {kind} on {place}"


def _is_mounted(kind: str, place: Path) -> bool:
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text(errors="replace").splitlines())
    return any(fields[1] == str(place) and fields[2] == kind for fields in mounts)
