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
from gadgetops.stacks.unwinding.cfi import FrameRules, NoEntry
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
"""
For code without rules, as libdw takes it: by frame pointers. What is made at run time has them, and so has
what a run time brings along in its file, as the built-in functions of V8.
"""
_WITHOUT_FILE: Final = ("[anon", "//anon", "/memfd:", "/dev/zero", "/SYSV")
_WAYS: Final = 4
"""Places for a rule: with two, some sixty of 8,000 rules displaced each other without an end."""
_MOST_NOWHERE: Final = 1 << 14
"""Addresses of one process that are in no code, as far as they are remembered."""
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
        except NoEntry:
            return BY_FRAME
        except NotSimple:
            return UNKNOWN


class KnownCode:
    """
    The code of a process, as long as what was said of its addresses is right.

    Code that is made at run time comes and goes, and is not executable while it is written; its rules are the
    same wherever it is. So only what is mapped from files matters.

    Attributes:
        is_outdated: Whether an address was asked for that may be mapped by now: the kernel does not count
            code that is writable, and so nothing else tells that there is more of it.
    """

    def __init__(self) -> None:
        self._mapped: Sequence[Range] = ()
        self._made: list[tuple[int, int]] = []
        self._missed: set[int] = set()
        self._nowhere: set[int] = set()
        self.is_outdated = False

    def find(self, address: int) -> Range | None:
        """Return what is mapped at *address*; `is_outdated` if there is nothing, the first time."""
        at = bisect.bisect_right(self._mapped, address, key=lambda each: each.start_address) - 1
        if at >= 0 and address < self._mapped[at].end_address:
            return self._mapped[at]
        if address not in self._nowhere:
            self._missed.add(address)
            self.is_outdated = True
        return None

    def take(self, mapped: Sequence[Range]) -> bool:
        """Take note of what is mapped now; return whether rules for addresses are still right."""
        new = [each for each in mapped if not is_made_at_run_time(each) and each not in self._mapped]
        was_file = (each for each in self._mapped if not is_made_at_run_time(each))
        is_right = all(is_still_there(each, mapped) for each in was_file)
        is_right &= not any(
            each.start_address < end and start < each.end_address for each in new for start, end in self._made
        )
        self._mapped = mapped
        self._nowhere = {each for each in self._nowhere | self._missed if self.find(each) is None}
        if len(self._nowhere) > _MOST_NOWHERE:
            self._nowhere.clear()
        self._missed, self.is_outdated = set(), False
        made = [(each.start_address, each.end_address) for each in mapped if is_made_at_run_time(each)]
        self._made = _merged([*self._made, *made] if is_right else made)
        return is_right


def is_made_at_run_time(mapped: Range) -> bool:
    """Return whether code is in no file."""
    return mapped.path is None or mapped.path.startswith(_WITHOUT_FILE)


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the same addresses in as few ranges as there can be."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


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
        self._processes: dict[int, tuple[int, KnownCode]] = {}
        self._files: dict[_FileKey, _File] = {}

    def map(self, pid: int, mapped: Sequence[Range]) -> int:
        """
        Take note of the code that *pid* maps now, and return its key among rules; 0 for no rules.

        A process has the same key until a file is unmapped: then rules for addresses may be wrong.
        """
        if not self._is_there:
            return 0
        key, code = self._processes.get(pid, (0, KnownCode()))
        if not code.take(mapped) or not key:
            key = hashed(next(self._keys), pid) | 1
        self._processes[pid] = key, code
        return key

    def outdated(self) -> list[int]:
        """Return the processes that have more code than is known."""
        return (
            [pid for pid, (_, code) in self._processes.items() if code.is_outdated] if self._is_there else []
        )

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
        key, code = self._processes.get(pid, (0, KnownCode()))
        mapped = code.find(address)
        if mapped is None:
            return
        hash_value = hashed(key, address)
        tag = hash_value & (1 << _HALF) - 1
        index = self._place(hash_value >> self._index_shift, tag)
        self._rules[index] = tag << _HALF | self._rule(pid, address, mapped)

    def _place(self, index: int, tag: int) -> int:
        """Return which of the places around *index* is for a rule: its own, a free one, or another's."""
        first = index - index % _WAYS
        tags = [self._rules[place] >> _HALF for place in range(first, first + _WAYS)]
        wanted = next((each for each in (tag, 0) if each in tags), None)
        return index if wanted is None else first + tags.index(wanted)

    def _rule(self, pid: int, address: int, mapped: Range) -> int:
        if is_made_at_run_time(mapped):
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
