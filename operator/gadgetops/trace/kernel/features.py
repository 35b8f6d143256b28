"""
What the running kernel can do, each feature asked for where it can be: by a link that is really made, a map
that is really created, a file that is really opened.

Where a kernel is too old to be asked safely, its BTF says so first: it names every type, constant and helper
that the kernel knows. The error of a request that cannot succeed proves nothing, and is never taken for an
answer: kernels before 6.6 load a program for a kind of link that they do not know.
"""

import contextlib
import functools
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gadgetops.trace.kernel import perf_event, uprobe_multi
from gadgetops.trace.kernel.bpf_syscall import bpf
from gadgetops.trace.kernel.trial import COOKIE, Seen, Trial

_BTF: Final = Path("/sys/kernel/btf/vmlinux")
_LOCKDOWN: Final = Path("/sys/kernel/security/lockdown")
_COOKIE_HELPER: Final = "BPF_FUNC_get_attach_cookie"
MULTI_LINKS: Final = "uprobe_multi links"
EVENT_LINKS: Final = "perf event links"
EVENTS: Final = "perf events"
"""Names of the ways to attach a probe, the best first."""
_MAP_CREATE: Final = 0
_RING_BUFFER: Final = 27


@dataclass(frozen=True)
class Feature:
    """
    One feature of the kernel.

    Attributes:
        name: What it is called.
        is_there: Whether the kernel has it, as this process may use it.
        how: How that was found out, in words.
    """

    name: str
    is_there: bool
    how: str


@dataclass(frozen=True)
class AttachWay:
    """
    How probes are attached here.

    Attributes:
        name: One of `MULTI_LINKS`, `EVENT_LINKS` and `EVENTS`.
        has_cookies: Whether a probe can be given a number that its program gets (an attach cookie).
        how: How that was found out, in words.
    """

    name: str
    has_cookies: bool
    how: str


def btf() -> Feature:
    """Return whether the kernel describes its types, which a gadget's programs are adapted to."""
    size = len(_kernel_btf())
    return Feature("BTF", size > 0, f"{_BTF} has {size:,} bytes" if size else f"{_BTF} cannot be read")


def uprobes() -> Feature:
    """Return whether the kernel has uprobes as perf events."""
    try:
        kind = int(perf_event.UPROBE_KIND.read_text())
    except (OSError, ValueError):
        return Feature("uprobes", False, f"{perf_event.UPROBE_KIND} cannot be read")
    return Feature("uprobes", True, f"they are events of kind {kind}")


@functools.cache
def uprobe_multi_links() -> Feature:
    """
    Return whether a link can attach a program to many places of a file, in all threads of one process.

    Linux has such links since 6.6. At first they were limited to one thread, and no version says whether that
    is mended: so two threads run into one.
    """
    name, constant = MULTI_LINKS, "BPF_TRACE_UPROBE_MULTI"
    if not _is_named(constant):
        return Feature(name, False, _not_named(constant))
    try:
        seen = _multi_link_trial()
    except OSError as error:
        return Feature(name, False, f"none can be made: {error.strerror}")
    return Feature(name, bool(seen.here and seen.elsewhere), _said(seen))


@functools.cache
def uprobe_multi_cookies() -> Feature:
    """Return whether each place of such a link can have an attach cookie."""
    name = f"attach cookies of {MULTI_LINKS}"
    if not uprobe_multi_links().is_there:
        return Feature(name, False, "there are no such links")
    return _cookie_feature(name, _multi_link_trial())


@functools.cache
def perf_event_links() -> Feature:
    """Return whether a link can attach a program to a perf event (Linux 5.15)."""
    name, constant = EVENT_LINKS, "BPF_LINK_TYPE_PERF_EVENT"
    if not _is_named(constant):
        return Feature(name, False, _not_named(constant))
    try:
        seen = _perf_event_trial()
    except (OSError, ValueError) as error:
        return Feature(name, False, f"none can be made: {error}")
    return Feature(name, bool(seen.here and seen.elsewhere), _said(seen))


@functools.cache
def perf_event_cookies() -> Feature:
    """Return whether a link to a perf event can have an attach cookie (Linux 5.15)."""
    name = f"attach cookies of {EVENT_LINKS}"
    if not perf_event_links().is_there:
        return Feature(name, False, "there are no such links")
    return _cookie_feature(name, _perf_event_trial())


@functools.cache
def ring_buffer() -> Feature:
    """Return whether the kernel has ring buffers for events (Linux 5.8)."""
    try:
        os.close(bpf(_MAP_CREATE, struct.pack("<IIIII", _RING_BUFFER, 0, 0, mmap.PAGESIZE, 0)))
    except OSError as error:
        return Feature("ring buffer", False, f"none can be made: {error.strerror}")
    return Feature("ring buffer", True, "one was made")


def map_files() -> Feature:
    """Return whether a mapped file can be opened by its addresses, whatever lies at its path by now."""
    name = "files by mapping"
    try:
        where = next(Path("/proc/self/map_files").iterdir())
        os.close(os.open(where, os.O_PATH | os.O_CLOEXEC))
    except (OSError, StopIteration) as error:
        return Feature(name, False, f"/proc/self/map_files: {getattr(error, 'strerror', 'empty')}")
    return Feature(name, True, "one was opened in /proc/self/map_files")


def memory_reads() -> Feature:
    """Return whether BPF programs may read memory; they may not where the kernel keeps its own secret."""
    name = "memory reads by BPF programs"
    try:
        state = _LOCKDOWN.read_text().partition("[")[2].partition("]")[0]
    except OSError:
        return Feature(name, True, f"{_LOCKDOWN} is not there: not locked down")
    return Feature(name, state != "confidentiality", f"{_LOCKDOWN} says {state or 'nothing'}")


FEATURES: Final[tuple[Callable[[], Feature], ...]] = (
    btf,
    uprobes,
    ring_buffer,
    uprobe_multi_links,
    uprobe_multi_cookies,
    perf_event_links,
    perf_event_cookies,
    map_files,
    memory_reads,
)
"""Every question, in the order in which answers read well."""


@functools.cache
def attach_way() -> AttachWay:
    """Return the best way to attach probes here; a way that is not needed is not tried."""
    links = uprobe_multi_links()
    return multi_way() if links.is_there else perf_event_way(links.how)


def multi_way() -> AttachWay:
    """Return what attaching by uprobe_multi links is like."""
    links, cookies = uprobe_multi_links(), uprobe_multi_cookies()
    return AttachWay(MULTI_LINKS, cookies.is_there, links.how)


def perf_event_way(why: str) -> AttachWay:
    """Return what attaching by perf events is like, which is done because of *why*."""
    links = perf_event_links()
    name = EVENT_LINKS if links.is_there else EVENTS
    return AttachWay(name, perf_event_cookies().is_there, f"{MULTI_LINKS}: {why}")


@functools.cache
def _kernel_btf() -> bytes:
    try:
        return _BTF.read_bytes()
    except OSError:
        return b""


def _is_named(constant: str) -> bool:
    """Return whether the kernel's BTF has this name; all names are in it once, each between two zeros."""
    return b"\0%s\0" % constant.encode() in _kernel_btf()


def _not_named(constant: str) -> str:
    return f"the kernel's BTF does not name {constant}"


def _said(seen: Seen) -> str:
    n_threads = bool(seen.here) + bool(seen.elsewhere)
    return f"one for this process saw {n_threads} of two threads"


def _cookie_feature(name: str, seen: Seen) -> Feature:
    if not _is_named(_COOKIE_HELPER):
        return Feature(name, False, _not_named(_COOKIE_HELPER))
    arrived = seen.cookie == COOKIE
    return Feature(name, arrived, f"one that was given {'arrived' if arrived else 'did not arrive'}")


@functools.cache
def _multi_link_trial() -> Seen:
    with_cookie = _is_named(_COOKIE_HELPER)
    with Trial(attach_type=uprobe_multi.ATTACH_TYPE, with_cookie=with_cookie) as trial:
        link = uprobe_multi.create_link(
            trial.program_fd, trial.path, [0], at_return=False, pid=os.getpid(), cookies=[COOKIE]
        )
        with _closed_beside(link):
            return trial.run()


@functools.cache
def _perf_event_trial() -> Seen:
    with Trial(with_cookie=_is_named(_COOKIE_HELPER)) as trial:
        event = perf_event.open_uprobe(trial.path, 0, pid=os.getpid())
        with _closed_beside(event):
            link = perf_event.create_link(trial.program_fd, event, cookie=COOKIE)
            with _closed_beside(link):
                return trial.run()


@contextlib.contextmanager
def _closed_beside(fd: int) -> Iterator[None]:
    """Close *fd* afterwards without waiting for it, which takes the kernel a twentieth of a second."""
    try:
        yield
    finally:
        threading.Thread(target=os.close, args=(fd,), name="close", daemon=True).start()
