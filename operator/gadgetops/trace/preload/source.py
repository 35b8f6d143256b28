"""Events that programs write into a shared ring: a `Source` of a session."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gadgetops.errors import UsageError
from gadgetops.trace.events.drain import Drain
from gadgetops.trace.events.layout import EventLayout
from gadgetops.trace.events.spool import Spool
from gadgetops.trace.preload import layout
from gadgetops.trace.preload.shared_ring import SharedRing, SharedRingReader

_PARAMETERS: Final = {"sample-every": "sample_every", "min-size": "min_size", "pid": "only_pid"}
"""Parameters of the gadget that the library has, too -> member of the recorder's page."""


@dataclass(frozen=True)
class Wishes:
    """
    How to record.

    Attributes:
        parameters: Of the gadget, by key as ig names them; those that the library has, too.
        buffer_bytes: Of the ring buffer; a power of two.
        collect_stacks: Send a stack with each event.
        symbolise: Find functions and lines when the recording ends; else addresses and modules are kept.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    buffer_bytes: int = 32 << 20
    collect_stacks: bool = True
    symbolise: bool = True
    keep_slices: bool = False

    def settings(self) -> dict[str, int]:
        """
        Return the members of the recorder's page that say this.

        Raises:
            UsageError: The library has no such parameter, or none of such a value.
        """
        values = {"collect_stacks": int(self.collect_stacks)}
        for key, text in self.parameters.items():
            member = _PARAMETERS.get(key.replace("_", "-"))
            if member is None:
                raise UsageError(
                    f"the engine preload has no parameter {key!r}",
                    hint=f"it has {', '.join(sorted(_PARAMETERS))}; --engine libbpf has others",
                )
            values[member] = _number(key, text)
        return values


def _number(key: str, text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 32:
        raise UsageError(f"parameter {key}: not a number of up to 32 bits: {text!r}")
    return value


class PreloadSource:
    """
    The library in the processes of a command, and the helper that reads what it sends.

    Args:
        library: What programs preload.
        wishes: How to record.
        settings: Further members of the recorder's page.

    Attributes:
        drain: What the library sends, while `opened`.
        ring: The ring that it is sent through.
    """

    drain: Drain
    ring: SharedRing

    def __init__(self, library: Path, wishes: Wishes) -> None:
        self._library = library
        self._wishes = wishes

    @contextlib.contextmanager
    def opened(self, folder: Path) -> Iterator[None]:
        """
        Have what programs send read, for the length of the block.

        Args:
            folder: Where what there is no time for may wait on disk.
        """
        with (
            SharedRing(self._wishes.buffer_bytes, self._library, self._wishes.settings()) as self.ring,
            Spool(folder) as spool,
            Drain(
                self.ring.fd, self.ring.size_bytes, layout.EVENT_BYTES, spool, reader=self._reader
            ) as self.drain,
        ):
            yield

    def _reader(self, fd: int, size_bytes: int, event_bytes: int) -> SharedRingReader:
        reader = SharedRingReader(fd, size_bytes, event_bytes)
        reader.on_lost = self.ring.lose
        return reader

    def environment(self, others: Mapping[str, str]) -> dict[str, str]:
        """Return variables by which a program finds library and ring; libraries of *others* come behind."""
        libraries = [str(self._library), *filter(None, [others.get("LD_PRELOAD")])]
        return {"LD_PRELOAD": ":".join(libraries), "GADGETOPS_PRELOAD": str(self.ring.path)}

    @property
    def layout(self) -> EventLayout:
        """How an event lies in what it sends."""
        return layout.event_layout()

    @property
    def slice_layout(self) -> None:
        """No slices come."""

    @property
    def path_bytes(self) -> int:
        """Length of a record that is part of a stack."""
        return layout.PATH_RECORD_BYTES

    @property
    def wanted(self) -> Wishes:
        """How to record."""
        return self._wishes

    def stack(self, kernel_id: int) -> bytes | None:
        """Return nothing: the kernel keeps no stacks for it."""

    def counter(self, name: str) -> int:
        """Return how often something happened; 0 where the library does not count that."""
        return self.ring.counter(name)

    def detach(self) -> None:
        """Have no events sent any more."""
        self.ring.set("is_recording", 0)

    def end_settling(self) -> dict[int, str]:
        """Return nothing: the library walks all stacks alike."""
        return {}
