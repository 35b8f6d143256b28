"""
Tables in the gadget's memory that tell it about the code it is attached to.

The gadget works without them, as under `ig`: it then is less certain, and says so by what it counts as lost.
"""

from collections.abc import Iterable
from typing import Final

from gadgetops.bpf.object import Object

_PAGE: Final = 4096
_RETURNS_TO_TRAMPOLINE, _RETURNS_BY_INSTRUCTION, _IS_RELEASE, _CALLS_RELEASE = 1, 2, 4, 8
"""As gadget/call_owner.h has them."""
_PROBES: Final = 4
"""OWN_PAGE_PROBES of gadget/own_calls.h."""


class Hints:
    """
    Writes the tables of a loaded gadget.

    Args:
        obj: The gadget.
        bss: Its section `.bss` in the kernel.
    """

    def __init__(self, obj: Object, bss: memoryview) -> None:
        self._probes = _table(obj, bss, "probe_hints")
        pages, count = _table(obj, bss, "own_pages"), _table(obj, bss, "n_own_pages")
        self._pages = pages.cast("I") if pages is not None else None
        self._n_pages = count.cast("I") if count is not None else None

    def add_entry(self, offset_bytes: int, *, by_instruction: bool) -> None:
        """
        Tell how calls return that enter at an instruction.

        The gadget then sees when an outer call is gone without a return. Of two instructions that lie at the
        same place in their pages, it takes what is true of both.

        Args:
            offset_bytes: Of the instruction that has a probe, in its file.
            by_instruction: Return instructions have probes, and not the addresses to which calls return.
        """
        self._add(offset_bytes, _RETURNS_BY_INSTRUCTION if by_instruction else _RETURNS_TO_TRAMPOLINE)

    def add_release(self, offset_bytes: int) -> None:
        """Tell that the instruction is one of free(), so that it is never taken for a call of it."""
        self._add(offset_bytes, _IS_RELEASE)

    def add_release_call(self, offset_bytes: int) -> None:
        """Tell that the instruction is a call of free() that is no event, and has the program of free()."""
        self._add(offset_bytes, _CALLS_RELEASE)

    @property
    def takes_release_calls(self) -> bool:
        """Whether the gadget knows what `add_release_call` says; else it would see a release there."""
        return self._probes is not None

    def add_own_pages(self, hashes: Iterable[int]) -> None:
        """Tell which pages of code make calls for themselves alone (`own_calls.page_hashes`)."""
        if self._pages is None or self._n_pages is None:
            return
        for value in hashes:
            tag = value >> 32 | 1
            slots = [(value + probe) % len(self._pages) for probe in range(_PROBES)]
            free = next((slot for slot in slots if self._pages[slot] in (0, tag)), None)
            if free is not None:
                self._pages[free] = tag
                self._n_pages[0] += 1

    def _add(self, offset_bytes: int, hint: int) -> None:
        if self._probes is not None:
            self._probes[offset_bytes % _PAGE] |= hint


def _table(obj: Object, bss: memoryview, name: str) -> memoryview | None:
    """Return a variable's bytes; None if the gadget has none of that name, as an older one."""
    variable = obj.variable(name)
    if variable is None:
        return None
    return bss[variable.offset_bytes : variable.offset_bytes + variable.size_bytes]
