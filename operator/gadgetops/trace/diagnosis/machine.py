"""What of this machine a recording needs, each asked of the code by which a recording asks."""

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gadgetops.errors import TraceError
from gadgetops.findings import Finding, State, asked
from gadgetops.stacks.unwinding import libdw
from gadgetops.trace.kernel import features, libbpf
from gadgetops.trace.machine import (
    NEEDED_FEATURES,
    check_feature,
    check_pid_namespace,
    check_rights,
    missing_file_systems,
)
from gadgetops.trace.preload.library import find_library
from gadgetops.trace.resource_limits import lift_limits
from gadgetops.units import format_bytes

_RECORDING, _STACKS, _CONTAINERS = "recording", "stacks", "containers"
PRELOAD: Final = "preloaded library"
"""Name of the finding about the way to record commands that needs no right and no feature of the kernel."""
_LOW_DISK_BYTES: Final = 1 << 30
_EVENT_LINKS_HINT: Final = "nothing to do: perf events take their place; recording ends up to 2 s later"
_ELSEWHERE_HINT: Final = "write to another folder: `record -o FOLDER/NAME`"
_NO_COOKIES_HINT: Final = "nothing to do; Linux 5.15 and later see further functions, such as mimalloc's own"


def machine_findings(folder: Path) -> Iterator[Finding]:
    """
    Yield what was found of this machine.

    Args:
        folder: Where a recording would be written.
    """
    rights = asked(_RECORDING, "rights", _rights, is_needed=True)
    yield rights
    yield asked(_RECORDING, "process numbers", _pid_namespace, is_needed=True)
    yield Finding(_RECORDING, "kernel", "works", f"Linux {platform.release()} on {platform.machine()}")
    for feature in NEEDED_FEATURES:
        found = asked(
            _RECORDING,
            "lockdown" if feature is features.memory_reads else feature().name,
            lambda feature=feature: check_feature(feature).how,  # type: ignore[misc]
            is_needed=True,
        )
        yield found
    yield from _asked_as_root(has_rights=rights.state == "works")
    yield asked(_RECORDING, "libbpf", _libbpf, is_needed=True)
    yield asked(_RECORDING, "limits", _limits, is_needed=True)
    yield asked(_RECORDING, PRELOAD, _preload, otherwise="limited")
    yield _disk(folder)
    yield asked(_STACKS, "libdw", _libdw, otherwise="limited")
    yield _container_engine()


def _rights() -> str:
    check_rights()
    return "CAP_SYS_ADMIN is there"


def _pid_namespace() -> str:
    check_pid_namespace()
    return "those of the kernel"


def _asked_as_root(*, has_rights: bool) -> Iterator[Finding]:
    """Yield what only those who may trace can find out."""
    if not has_rights:
        for name in ("ring buffer", "probes", "file systems"):
            yield Finding(_RECORDING, name, "unknown", "only root can ask")
        return
    ring = features.ring_buffer()
    state: State = "works" if ring.is_there else "missing"
    remedy = None if ring.is_there else "use Linux 5.8 or later"
    yield Finding(_RECORDING, ring.name, state, ring.how, remedy, is_needed=True)
    yield from _probes()
    yield _file_systems()
    files = features.map_files()
    hint = None if files.is_there else "files of containers are looked up by their names: leave them in place"
    yield Finding(_STACKS, files.name, "works" if files.is_there else "limited", files.how, hint)


def _probes() -> Iterator[Finding]:
    way = features.attach_way()
    is_best = way.name == features.MULTI_LINKS
    yield Finding(
        _RECORDING,
        "probes",
        "works" if is_best else "limited",
        f"by {way.name} ({way.how})",
        None if is_best else _EVENT_LINKS_HINT,
    )
    yield Finding(
        _RECORDING,
        "attach cookies",
        "works" if way.has_cookies else "limited",
        "they arrive" if way.has_cookies else "the kernel has none for these probes",
        None if way.has_cookies else _NO_COOKIES_HINT,
    )


def _file_systems() -> Finding:
    missing = missing_file_systems()
    if not missing:
        return Finding(_RECORDING, "file systems", "works", "tracefs and bpf are mounted")
    names = " and ".join(f"{kind} on {place}" for kind, place in missing.items())
    return Finding(_RECORDING, "file systems", "works", f"`record` mounts {names}")


def _libbpf() -> str:
    library = libbpf.library()
    return f"{libbpf.LIBRARY}, version {library.libbpf_major_version()}.{library.libbpf_minor_version()}"


def _preload() -> str:
    return f"commands are recorded without root, too: {find_library().name}"


def _libdw() -> str:
    libdw.check_machine(os.uname().machine)
    return f"{libdw.LIBRARY} unwinds stacks of code without frame pointers"


def _limits() -> str:
    lift_limits()
    return "open files and memory suffice, or can be raised"


def _disk(folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free, is_writable = shutil.disk_usage(there).free, os.access(there, os.W_OK)
    detail = f"{format_bytes(free)} free in {there.absolute()}"
    if not is_writable:
        detail = f"{there.absolute()} cannot be written"
        return Finding(_RECORDING, "disk", "missing", detail, _ELSEWHERE_HINT, is_needed=True)
    if free < _LOW_DISK_BYTES:
        return Finding(_RECORDING, "disk", "limited", detail, f"make room, or {_ELSEWHERE_HINT}")
    return Finding(_RECORDING, "disk", "works", detail)


def _container_engine() -> Finding:
    from gadgetops.trace.targets.container import engine_version  # noqa: PLC0415 - of 0.2 s

    try:
        return Finding(_CONTAINERS, "engine", "works", engine_version(None))
    except TraceError as error:
        return Finding(_CONTAINERS, "engine", "limited", error.problem, error.hint)
