"""
A gadget in the kernel, its probes, and the helpers that read what it sends.

All of it is there before the target begins.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from gadgetops.bpf.btf import Enum
from gadgetops.bpf.object import Program
from gadgetops.errors import TraceError
from gadgetops.stacks.unwinding.frame_pointers import need_no_slices
from gadgetops.trace.code_watcher import CodeWatcher
from gadgetops.trace.events.code_pages import CodePages
from gadgetops.trace.events.drain import Drain
from gadgetops.trace.events.layout import EventLayout
from gadgetops.trace.events.slices import SliceLayout, path_bytes_of
from gadgetops.trace.events.spool import Spool
from gadgetops.trace.kernel.loader import STACK_MAP, Loader, Options
from gadgetops.trace.probes.allocator import Allocator
from gadgetops.trace.probes.attach import Attached, Probes
from gadgetops.trace.probes.hints import Hints

_PROBE_KINDS: Final = {"uprobe": False, "uretprobe": True}
_COOKIES: Final = "bpf_func_id___cookie"
"""Type in the BTF of a gadget whose programs ask for attach cookies."""


class Attachment:
    """
    A gadget on its way into the kernel, then in it, and attached.

    Args:
        loader: Loads it.

    Attributes:
        loader: The same.
        attached: What was attached, and where.
        drain: What the gadget sends, while it is loaded.
    """

    drain: Drain

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.attached = Attached()
        self._bpf = loader.bpf
        takes_cookies = loader.object.btf is not None and any(loader.object.btf.named(_COOKIES, Enum))
        self._probes = Probes(self._bpf, self.attached, loader.options.probe_at, takes_cookies=takes_cookies)
        self._code_watcher: CodeWatcher | None = None

    @contextlib.contextmanager
    def loaded(self, folder: Path) -> Iterator[None]:
        """
        Have the object loaded, and what it sends read, for the length of the block.

        Args:
            folder: Where what there is no time for may wait on disk.
        """
        with (
            self.loader.loaded(),
            self._code_watching() as self._code_watcher,
            Spool(folder) as spool,
            self._draining(spool) as self.drain,
        ):
            self._probes.hints = Hints(self.loader.object, self._bpf.data(".bss"))
            yield

    def find_places(self, allocators: Iterable[Allocator]) -> None:
        """Find out where `attach` will put probes, which takes time that there is while it is loaded."""
        for allocator in allocators:
            self._probes.find_places(allocator)

    def attach(self, allocator: Allocator) -> bool:
        """
        Attach every program of the gadget: returns first, so that no call is noted whose return is not seen.

        What is attached already stays as it is. A program without a function in *allocator* is `missing`
        until another one has it.

        Returns:
            Whether anything was attached that was not before.

        Raises:
            TraceError: None of the gadget's functions is there, or the kernel refuses.
        """
        n_before = self._probes.n_attached
        for program in sorted(self.loader.object.programs, key=_order):
            kind, _, place = program.section.partition("/")
            if kind in _PROBE_KINDS:
                function = place.rpartition(":")[2]
                self._probes.attach(program.name, function, allocator, at_return=_PROBE_KINDS[kind])
            elif program.name not in self.attached.programs:
                self._bpf.attach(program.name)
                self.attached.add_elsewhere(program.name, program.section)
        self._probes.hint_at_own_code(allocator)
        if not self._probes.n_attached:
            raise TraceError(f"{allocator.path}: none of the gadget's functions is there")
        return self._probes.n_attached > n_before

    def renew(self) -> None:
        """
        Attach anew what a thread that has ended took along; its process lives on.

        Raises:
            TraceError: The kernel refuses.
        """
        self._bpf.renew()

    def pause(self) -> None:
        """Take the probes out until `resume`."""
        self._bpf.pause()

    def resume(self) -> None:
        """
        Put the probes in again.

        Raises:
            TraceError: The kernel refuses.
        """
        self._bpf.resume()

    def detach(self) -> None:
        """Detach all programs."""
        self._bpf.detach()

    def stack(self, kernel_id: int) -> bytes | None:
        """Return the value of the kernel's stack map for an id."""
        return self._bpf.look_up(STACK_MAP, kernel_id)

    @property
    def layout(self) -> EventLayout:
        """How an event lies in what the gadget sends."""
        return self.loader.layout

    @property
    def slice_layout(self) -> SliceLayout | None:
        """How slices come; None if none do."""
        return self.loader.slice_layout

    @property
    def path_bytes(self) -> int | None:
        """Length of a record that is part of a stack which the gadget walked; None if it walks none."""
        return None if self.slice_layout is None else path_bytes_of(self.loader.object)

    @property
    def wanted(self) -> Options:
        """How to record."""
        return self.loader.options

    def counter(self, name: str) -> int:
        """Return what the gadget's variable *name* counts now; 0 if it has none of that name."""
        return self.loader.variable(name)

    def end_settling(self) -> dict[int, str]:
        """Stop deciding, and return by which way processes have their stacks: `fp` or `dwarf`, by pid."""
        return {} if self._code_watcher is None else self._code_watcher.stop()

    def _draining(self, spool: Spool) -> Drain:
        layout = self.loader.layout
        ring = self._bpf.map_fd(layout.map), self._bpf.max_entries(layout.map)
        found = self.loader.object.variable("slices_paused")
        pause = None
        if found is not None:
            end = found.offset_bytes + found.size_bytes
            pause = self._bpf.data(found.section)[found.offset_bytes : end]
        return Drain(*ring, layout.event_bytes, spool, pause)

    def _code_watching(self) -> contextlib.AbstractContextManager[CodeWatcher | None]:
        """Return what tells the gadget where code is, if it is to send slices."""
        if self.loader.slice_layout is None:
            return contextlib.nullcontext()
        needs_none = need_no_slices if self.loader.options.unwind == "auto" else _none_needs_none
        code = CodePages(self.loader.object, self._bpf.data(".bss"), needs_none)
        return CodeWatcher(code, self._bpf.map_fd(self.loader.layout.map))


def _order(program: Program) -> tuple[bool, str]:
    """Returns first; then by name, so that aligned_alloc stands for memalign where both are one function."""
    return not _PROBE_KINDS.get(program.section.partition("/")[0], False), program.section


def _none_needs_none(_pid: int, _paths: frozenset[str]) -> bool:
    return False
