"""
What the gadget has to know of processes to tell stacks apart: where they have code, and how much of it.

Kept in the gadget's `.bss`, which is mapped here: a byte for each page, found by a hash, set where some
process has code; and for each process how many pages of code the reader has seen, so that the gadget can tell
when it is behind. Nothing is taken back: a word that is taken for code by mistake makes one stack two.
"""

import os
import re
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from gadgetops.bpf.btf import Composite
from gadgetops.bpf.object import Object
from gadgetops.trace.events.caller_rules import CallerRules
from gadgetops.trace.events.variables import table
from gadgetops.trace.processes import Range, memory_holder, ranges_of

_PAGE_BITS: Final = 12
_HASH_FACTOR: Final = 0x9E3779B97F4A7C15
_HASH_BITS: Final = 64
_KNOWN: Final = struct.Struct("@IIQQ")
"""
Process, whether it has frame pointers, its pages of code, and slices that were sent unsettled: each as the
processor has it, and so written at once.
"""
_HAS_FRAME_POINTERS: Final = 4
"""Where that is, in bytes."""
_RULES: Final = struct.Struct("@Q")
"""What follows, but for gadgets of before 2026-11-28: the key of the process among rules."""
_UNSETTLED: Final = 2
"""Which of the words of 8 bytes that is."""
_CODE_SIZE: Final = re.compile(r"^Vm(?:Exe|Lib):\s+(\d+) kB$", re.MULTILINE)
_PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") // 1024
_TRAMPOLINES: Final = "[uprobes]"
_ATTEMPTS: Final = 3


class CodeMap(NamedTuple):
    """
    Where a process has code.

    Attributes:
        ranges: Each executable mapping, in order of addresses.
        paths: Of the files among them.
        n_pages: As the kernel counts them.
    """

    ranges: tuple[Range, ...]
    paths: frozenset[str]
    n_pages: int


class CodePages:
    """
    The gadget's tables of code.

    Args:
        obj: Says where in `.bss` the tables are.
        bss: The gadget's `.bss`, writable.
        has_frame_pointers: Whether the stacks of a process that maps these files need no slices.

    Attributes:
        rules: Those by which the gadget walks stacks.
    """

    def __init__(
        self, obj: Object, bss: memoryview, has_frame_pointers: Callable[[int, frozenset[str]], bool]
    ) -> None:
        self._has_frame_pointers = has_frame_pointers
        self._pages = table(obj, bss, "code_pages")
        self._known = table(obj, bss, "known_processes")
        self._entry_bytes = _entry_bytes(obj)
        self._n_known = len(self._known) // self._entry_bytes
        self._unsettled = self._known.cast("Q")[_UNSETTLED :: self._entry_bytes // 8]
        self.rules = CallerRules(obj, bss)
        self._shift = _HASH_BITS - (len(self._pages).bit_length() - 1)

    def update(self, pid: int) -> frozenset[str] | None:
        """
        Tell the gadget what code process *pid* has now, and that it needs slices.

        Returns:
            The files that hold it; None if the process is gone.
        """
        code = code_map(pid)
        if code is None:
            _KNOWN.pack_into(self._known, self._place_of(pid), 0, 0, 0, 0)
            self.rules.forget(pid)
            return None
        for mapped in code.ranges:
            self._add(mapped.start_address, mapped.end_address)
        if self._entry_bytes >= _KNOWN.size + _RULES.size:
            key = self.rules.map(pid, code.ranges)
            _RULES.pack_into(self._known, self._place_of(pid) + _KNOWN.size, key)
        # After the pages: from now on the gadget relies on them.
        _KNOWN.pack_into(self._known, self._place_of(pid), pid, False, code.n_pages, 0)
        return code.paths

    def decide(self, pid: int, paths: frozenset[str]) -> bool:
        """
        Tell the gadget if process *pid*, whose code is in *paths*, needs no slices, and return that.

        New files are read for it: that takes longer than `update`.
        """
        place = self._place_of(pid)
        has_frame_pointers = self._has_frame_pointers(pid, paths)
        if has_frame_pointers and _KNOWN.unpack_from(self._known, place)[0] == pid:
            struct.pack_into("@I", self._known, place + _HAS_FRAME_POINTERS, True)
        return has_frame_pointers

    def unsettled(self) -> list[int]:
        """Return the processes of which the gadget sent slices and did not know what is code."""
        counts = self._unsettled.tolist()
        if not any(counts):
            return []
        places = [index * self._entry_bytes for index, count in enumerate(counts) if count]
        return [_KNOWN.unpack_from(self._known, place)[0] for place in places]

    def _place_of(self, pid: int) -> int:
        return pid % self._n_known * self._entry_bytes

    def _add(self, start: int, end: int) -> None:
        for page in range(start >> _PAGE_BITS, -(-end >> _PAGE_BITS)):
            self._pages[(page * _HASH_FACTOR & (1 << _HASH_BITS) - 1) >> self._shift] = 1


def code_map(pid: int) -> CodeMap | None:
    """Return where process *pid* has code; None if it is gone, or does not stop changing it."""
    holder = memory_holder(pid)
    folder = Path(f"/proc/{holder}")
    try:
        for _ in range(_ATTEMPTS):
            before = _n_code_pages(folder)
            ranges = [*ranges_of(holder)]
            if before == _n_code_pages(folder):
                # A process that is ending has no memory any more.
                return _code_map(ranges, before) if ranges else None
    except OSError:
        pass
    return None


def _n_code_pages(folder: Path) -> int:
    """Return `exec_vm` of the kernel's mm_struct, which /proc shows in two parts."""
    sizes = _CODE_SIZE.findall((folder / "status").read_text(errors="replace"))
    return sum(map(int, sizes)) // _PAGE_KIB


def _code_map(ranges: Iterable[Range], n_pages: int) -> CodeMap:
    code = [each for each in ranges if each.is_code and each.path != _TRAMPOLINES]
    paths = frozenset(each.path for each in code if each.path is not None and each.path.startswith("/"))
    return CodeMap(tuple(code), paths, n_pages)


def _entry_bytes(obj: Object) -> int:
    found = next(obj.btf.named("known_process", Composite), None) if obj.btf else None
    return _KNOWN.size if found is None else found.size_bytes
