"""One event as `ig` prints it, of any form, checked; what a gadget adds to these fields is left alone."""

import datetime
import re
from typing import Final, NamedTuple

import msgspec

from gadgetops.recording.ig.stack import StackFrame, parse_stack
from gadgetops.recording.operations import NAMES

_MAX_64: Final = (1 << 64) - 1
_MAX_SIGNED_64: Final = (1 << 63) - 1
_MAX_PID: Final = (1 << 31) - 1
_UNKNOWN: Final = "UNKNOWN"
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


class _Struct(msgspec.Struct):
    """What these share: members that are not named here are not looked at."""


class Stack(_Struct):
    """`ustack`: three strings, and the inode, which is 0 where no stack was asked for."""

    addresses: str = ""
    buildid: str = ""
    symbols: str = ""
    inode: int = 0
    exe_inode: int = 0
    tgid_level0: int = 0

    @property
    def is_collected(self) -> bool:
        """Whether a stack was asked for."""
        return bool(self.inode or self.exe_inode or self.addresses or self.buildid or self.symbols)

    def frames(self) -> tuple[StackFrame, ...]:
        """Return the frames, leaf first; empty if they could not be read. Raises `ValueError`."""
        return parse_stack(self.addresses, self.buildid, self.symbols)


class _Process(_Struct):
    pid: int
    tid: int | None = None
    comm: str = ""


class _Kubernetes(_Struct, rename="camel"):
    node: str = ""
    namespace: str = ""
    pod_name: str = ""
    container_name: str = ""


class _Runtime(_Struct, rename="camel"):
    runtime_name: str = ""
    container_name: str = ""
    container_id: str = ""
    container_image_name: str = ""
    container_image_digest: str = ""


class Place(_Struct):
    """The part of an event that changes each time: which memory, when."""

    addr: int = -1
    size: int = 0
    timestamp: str | None = None
    timestamp_raw: int | None = None


class Context(Place, kw_only=True):
    """The part of an event that hardly changes: who did what, where."""

    proc: _Process
    operation: str | None = None
    operation_raw: int | None = None
    lost: int | None = None
    k8s: _Kubernetes = msgspec.field(default_factory=_Kubernetes)
    runtime: _Runtime = msgspec.field(default_factory=_Runtime)

    def checked(self) -> "Context":
        """Return itself. Raises `ValueError` if a member is missing or no number of its size."""
        _check("proc.pid", self.proc.pid, _MAX_PID)
        _check("proc.tid", self.tid, _MAX_PID)
        _check("lost", self.lost or 0, _MAX_SIGNED_64)
        if self.operation is None and self.operation_raw is None:
            raise ValueError("has no field `operation`")
        return self

    @property
    def tid(self) -> int:
        """The thread; of a gadget that names none the process."""
        return self.proc.pid if self.proc.tid is None else self.proc.tid

    @property
    def operation_name(self) -> str:
        """The operation; `operation#N` for a number that has no name."""
        if self.operation and self.operation != _UNKNOWN:
            return self.operation
        number = -1 if self.operation_raw is None else self.operation_raw
        return NAMES[number] if 0 <= number < len(NAMES) else f"operation#{number}"

    @property
    def container(self) -> str | None:
        """`namespace/pod/container` on Kubernetes, else the container's name; None outside of any."""
        k8s, name = self.k8s, self.runtime.container_name
        if k8s.pod_name:
            return f"{k8s.namespace}/{k8s.pod_name}/{k8s.container_name or name}"
        return name or k8s.container_name or None

    def container_facts(self) -> dict[str, str]:
        """Return what is known about the container, without what is empty."""
        facts = {
            "container": self.container or "",
            "id": self.runtime.container_id,
            "image": self.runtime.container_image_name,
            "image_digest": self.runtime.container_image_digest,
            "runtime": self.runtime.runtime_name,
            "node": self.k8s.node,
            "namespace": self.k8s.namespace,
            "pod": self.k8s.pod_name,
        }
        return {name: value for name, value in facts.items() if value}


class Document(Context, kw_only=True):
    """A whole event."""

    ustack: Stack | None = None


class Moment(NamedTuple):
    """A `Place` that was checked: address and size below 2^64, time in ns since 1970."""

    timestamp_ns: int
    address: int
    size_bytes: int


def moment(place: Place) -> Moment:
    """
    Return when an event happened, and to which memory.

    Raises:
        ValueError: The address or time is missing, or a number does not fit.
    """
    if place.addr == -1:
        raise ValueError("has no field `addr`")
    _check("addr", place.addr, _MAX_64)
    _check("size", place.size, _MAX_64)
    return Moment(_timestamp_ns(place), place.addr, place.size)


def _timestamp_ns(place: Place) -> int:
    if place.timestamp_raw is not None:
        _check("timestamp_raw", place.timestamp_raw, _MAX_SIGNED_64)
        return place.timestamp_raw
    found = _TIME.fullmatch(place.timestamp or "")
    if found is None:
        raise ValueError("has no field `timestamp_raw` or `timestamp`")
    seconds = datetime.datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
    return int(seconds.timestamp()) * 1_000_000_000 + int((found[2] or "").ljust(9, "0"))


def _check(name: str, value: int, largest: int) -> None:
    if not 0 <= value <= largest:
        raise ValueError(f"{name}: expected 0 to {largest}, got {value if abs(value) < 1 << 70 else 'more'}")
