"""
Tables in the gadget's memory that tell it about the code it is attached to.

The gadget works without them, as under `ig`: it then is less certain, and says so by what it counts as lost.
"""

from typing import Final

from gadgetops.bpf.object import Object

_PAGE: Final = 4096
_TO_TRAMPOLINE, _BY_INSTRUCTION = 1, 2
"""RETURNS_TO_TRAMPOLINE and RETURNS_BY_INSTRUCTION of gadget/call_owner.h."""


class Hints:
    """
    Writes the tables of a loaded gadget.

    Args:
        obj: The gadget.
        bss: Its section `.bss` in the kernel.
    """

    def __init__(self, obj: Object, bss: memoryview) -> None:
        self._entry_returns = _table(obj, bss, "entry_returns")

    def add_entry(self, offset_bytes: int, *, by_instruction: bool) -> None:
        """
        Tell how calls return that enter at an instruction.

        The gadget then sees when an outer call is gone without a return. Of two instructions that lie at the
        same place in their pages, it takes what is true of both.

        Args:
            offset_bytes: Of the instruction that has a probe, in its file.
            by_instruction: Return instructions have probes, and not the addresses to which calls return.
        """
        if self._entry_returns is not None:
            place = offset_bytes % _PAGE
            self._entry_returns[place] |= _BY_INSTRUCTION if by_instruction else _TO_TRAMPOLINE


def _table(obj: Object, bss: memoryview, name: str) -> memoryview | None:
    """Return a variable's bytes; None if the gadget has none of that name, as an older one."""
    variable = obj.variable(name)
    if variable is None:
        return None
    return bss[variable.offset_bytes : variable.offset_bytes + variable.size_bytes]
