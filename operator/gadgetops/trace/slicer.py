"""
The reader's side of slices: takes them in, and keeps the gadget's tables of code up to date.

Where the gadget does not know what is code, it sends every slice, counts them, and stops after thousands. So
`settle` is called at once, by a thread of its own, and `take` where there is time.
"""

import time
from collections.abc import Iterable
from typing import Final, Literal

from gadgetops.bpf.object import Object
from gadgetops.trace.code_pages import CodePages
from gadgetops.trace.frame_pointers import need_no_slices
from gadgetops.trace.slice_stacks import SliceStacks
from gadgetops.trace.slices import SliceAssembler, SliceLayout

_SHARE_OF_TIME: Final = 10
"""Code that changes all the time, as that of just-in-time compilers, is not looked at more than this part."""


class Slicer:
    """
    Reads slices and answers.

    Args:
        obj: The gadget.
        layout: Of its slices.
        bss: Its `.bss`, writable.
        stacks: Takes the slices.
        unwind: `dwarf`: of all processes; `auto`: of those with code that has no frame pointers.
    """

    def __init__(
        self,
        obj: Object,
        layout: SliceLayout,
        bss: memoryview,
        stacks: SliceStacks,
        unwind: Literal["auto", "fp", "dwarf"],
    ) -> None:
        self.stacks = stacks
        self.unwound: dict[int, str] = {}
        """How each process is unwound, by pid: `fp` or `dwarf`."""
        self._assembler = SliceAssembler(layout)
        self._code = CodePages(obj, bss, need_no_slices if unwind == "auto" else _never)
        self._not_before_s: dict[int, float] = {}

    @property
    def counters(self) -> dict[str, int]:
        """As `SliceStacks.counters`."""
        return self.stacks.counters

    def settle(self) -> None:
        """Look at the code of the processes of which the gadget sends slices without knowing it."""
        for pid in self._code.unsettled():
            self._update(pid)

    def take(self, records: Iterable[bytes]) -> None:
        """Take in *records*, parts of slices."""
        self.stacks.take(self._assembler.take(self._assembler.parts(records)))

    def _update(self, pid: int) -> None:
        if time.monotonic() < self._not_before_s.get(pid, 0):
            return
        began_s = time.thread_time()
        needs_none = self._code.update(pid)
        if needs_none is not None:
            self.unwound[pid] = "fp" if needs_none else "dwarf"
        took_s = time.thread_time() - began_s
        self._not_before_s[pid] = time.monotonic() + _SHARE_OF_TIME * took_s


def _never(_pid: int, _paths: frozenset[str]) -> bool:
    return False
