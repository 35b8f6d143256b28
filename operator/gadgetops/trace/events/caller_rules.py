"""
Rules by which the gadget walks stacks without frame pointers: published one by one, as it asks for them.

The gadget leaves code addresses whose rule it lacks in a table in `.bss`; rules go into another one there, in
32 bits each, found by a hash of process and address (`gadget/stack_path.h`).
"""

import bisect
import contextlib
import os
import platform
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Final

from gadgetops.bpf.object import Object
from gadgetops.elf import MACHINE_X86_64
from gadgetops.stacks.unwinding.cfi import FrameRules
from gadgetops.stacks.unwinding.cfi_instructions import PROCESSORS, NotSimple, Rule
from gadgetops.trace.events.variables import table, table_or_none
from gadgetops.trace.processes import Range

_MACHINE: Final = "x86_64"
"""Return addresses lie below the frame: of other machines nobody reads the rules here."""
_BITS: Final = 64
_MASK: Final = (1 << _BITS) - 1
_HASH_FACTOR: Final = 0xFF51AFD7ED558CCD
_HALF: Final = 32
_WORD_BYTES: Final = 8
_STACK_POINTER: Final = PROCESSORS[MACHINE_X86_64].stack_pointer
_FRAME_POINTER: Final = 6
_BY_STACK_POINTER, _BY_FRAME_POINTER, _NO_CALLER = 1, 2, 3
BEGINNING: Final = _NO_CALLER
UNKNOWN: Final = _NO_CALLER | 1 << 2
_SAVED_SHIFT: Final = 2
_MOST_SAVED_WORDS: Final = (1 << 14) - 1
_FRAME_SHIFT: Final = 16
_MOST_FRAME_WORDS: Final = (1 << 16) - 1
BY_FRAME: Final = _BY_FRAME_POINTER | 2 << _SAVED_SHIFT | 2 << _FRAME_SHIFT
"""For code that was made at run time, as libdw takes it: by frame pointers, which most of it has."""
_WITHOUT_FILE: Final = ("[anon", "//anon", "/memfd:", "/dev/zero", "/SYSV")
_MOST_AT_ONCE: Final = 512
"""Rules that are looked up before other work has its turn."""

_FileKey = tuple[int, int, int, int, int]


class _File:
    """The rules of one file, wherever it is mapped; None for one that has none that are read here."""

    def __init__(self, place: str, mapped: Range) -> None:
        self._start = mapped.start_address
        self._known: dict[int, int] = {}
        self._rules: FrameRules | None = None
        with contextlib.suppress(NotSimple):
            self._rules = FrameRules(place, mapped.start_address, mapped.file_offset)

    def at(self, address: int, mapped: Range) -> int:
        """Return the packed rule at *address* of a process that maps the file so."""
        own = address - mapped.start_address + self._start
        if own not in self._known:
            self._known[own] = self._packed_at(own)
        return self._known[own]

    def _packed_at(self, address: int) -> int:
        if self._rules is None:
            return UNKNOWN
        try:
            return packed(self._rules.at(address))
        except NotSimple:
            return UNKNOWN


class CallerRules:
    """
    The gadget's tables of rules.

    Args:
        obj: Says where in `.bss` they are.
        bss: The gadget's `.bss`, writable.
    """

    def __init__(self, obj: Object, bss: memoryview) -> None:
        rules = table_or_none(obj, bss, "caller_rules")
        self._is_there = rules is not None and platform.machine() == _MACHINE
        if rules is None:
            return
        self._rules = rules.cast("Q")
        self._index_shift = _BITS - (len(self._rules).bit_length() - 1)
        self._wanted = table(obj, bss, "wanted_rules").cast("Q")
        self._is_wanted = table(obj, bss, "rules_wanted").cast("Q")
        self._keys = count(1)
        self._processes: dict[int, tuple[int, Sequence[Range]]] = {}
        self._files: dict[_FileKey, _File] = {}

    def map(self, pid: int, mapped: Sequence[Range]) -> int:
        """
        Take note of the code that *pid* maps now, and return its key among rules; 0 for no rules.

        A process has the same key until something is unmapped: then rules for addresses may be wrong.
        """
        if not self._is_there:
            return 0
        key, before = self._processes.get(pid, (0, ()))
        if not key or not all(is_still_there(each, mapped) for each in before):
            key = hashed(next(self._keys), pid) | 1
        self._processes[pid] = key, mapped
        return key

    def forget(self, pid: int) -> None:
        """Forget *pid*, which is gone."""
        if self._is_there:
            self._processes.pop(pid, None)

    def answer(self) -> None:
        """Publish the rules that the gadget asked for since the last time."""
        if not self._is_there or not self._is_wanted[0]:
            return
        # Before the table is read: what is asked meanwhile is found the next time.
        self._is_wanted[0] = 0
        for pid, address in self._questions():
            self._publish(pid, address)

    def _questions(self) -> Iterator[tuple[int, int]]:
        """Take what is asked out of the table."""
        numbers = self._wanted[1::2].tolist()
        found = [index for index, pid in enumerate(numbers) if pid and index]
        if len(found) > _MOST_AT_ONCE:
            # The rest the next time.
            found, self._is_wanted[0] = found[:_MOST_AT_ONCE], 1
        for index in found:
            address, pid = self._wanted[2 * index], self._wanted[2 * index + 1]
            self._wanted[2 * index + 1] = 0
            yield pid, address

    def _publish(self, pid: int, address: int) -> None:
        key, mapped = self._processes.get(pid, (0, ()))
        at = bisect.bisect_right(mapped, address, key=lambda each: each.start_address) - 1
        if at < 0 or address >= mapped[at].end_address:
            return
        hash_value = hashed(key, address)
        index, tag = hash_value >> self._index_shift, hash_value & (1 << _HALF) - 1
        if self._rules[index] >> _HALF not in (0, tag):
            index ^= 1
        self._rules[index] = tag << _HALF | self._rule(pid, address, mapped[at])

    def _rule(self, pid: int, address: int, mapped: Range) -> int:
        if mapped.path is None or mapped.path.startswith(_WITHOUT_FILE):
            return BY_FRAME
        file = self._file(pid, mapped)
        return UNKNOWN if file is None else file.at(address, mapped)

    def _file(self, pid: int, mapped: Range) -> _File | None:
        """Return the file that is mapped; None where it cannot be read."""
        ends = f"{mapped.start_address:x}-{mapped.end_address:x}"
        for place in (f"/proc/{pid}/map_files/{ends}", f"/proc/{pid}/root{mapped.path}"):
            with contextlib.suppress(OSError):
                status = os.stat(place)  # noqa: PTH116 - paths may be of any bytes
                key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, mapped.file_offset)
                if key not in self._files:
                    self._files[key] = _File(place, mapped)
                return self._files[key]
        return None


def is_still_there(before: Range, mapped: Sequence[Range]) -> bool:
    """Return whether what a process mapped is there, as it was or as a part of a larger range."""
    at = bisect.bisect_right(mapped, before.start_address, key=lambda each: each.start_address) - 1
    if at < 0 or before.end_address > mapped[at].end_address:
        return False
    now = mapped[at]
    moved_bytes = before.start_address - now.start_address
    is_same_place = not before.path or before.file_offset - now.file_offset == moved_bytes
    return (before.path, before.file) == (now.path, now.file) and is_same_place


def hashed(key: int, address: int) -> int:
    """Return the gadget's hash (`mixed` of `stack_slice.h`)."""
    value = (key ^ address) * _HASH_FACTOR & _MASK
    return value ^ value >> _HALF


def packed(rule: Rule) -> int:
    """Return *rule* in 32 bits, as the gadget reads it; `UNKNOWN` for one that it cannot follow."""
    if rule.return_offset_bytes is None:
        return BEGINNING
    kinds = {_STACK_POINTER: _BY_STACK_POINTER, _FRAME_POINTER: _BY_FRAME_POINTER}
    kind = kinds.get(rule.frame_register)
    frame_words, frame_rest = divmod(rule.frame_offset_bytes, _WORD_BYTES)
    saved_words, saved_rest = divmod(-rule.saved.get(_FRAME_POINTER, 0), _WORD_BYTES)
    is_simple = (
        kind is not None
        and rule.return_offset_bytes == -_WORD_BYTES
        and frame_rest == saved_rest == 0
        and 0 <= frame_words <= _MOST_FRAME_WORDS
        and 0 <= saved_words <= _MOST_SAVED_WORDS
        and (saved_words > 0) == (_FRAME_POINTER in rule.saved)
    )
    if not is_simple or kind is None:
        return UNKNOWN
    return kind | saved_words << _SAVED_SHIFT | frame_words << _FRAME_SHIFT
