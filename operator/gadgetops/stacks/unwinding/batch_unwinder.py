"""
Many stacks unwound at once, frame by frame: what is to be done for one frame is little, and the same for all.

Here are the stacks that simple rules (`frame_rules`) lead through from the leaf to the beginning, which are
nearly all. Others are left to libdw, one after the other (`unwind`).
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gadgetops.stacks.unwinding.cfi import FrameRules
from gadgetops.stacks.unwinding.cfi_instructions import IN_REGISTER, NotSimple, Processor, Rule
from gadgetops.stacks.unwinding.libdw import MAX_FRAMES, End, MappedFile, Unwound

_WORD_BYTES: Final = 8
_LEADS_ON, _ENDS, _UNKNOWN, _INTERRUPTED = 0, 1, 2, 3
"""Kinds of rules: there is a caller, there is none, libdw may know, a signal came there."""
_SIGNAL_REGISTERS_BYTES: Final = 312
_SIGNAL_STACK_POINTER_BYTES: Final = _SIGNAL_REGISTERS_BYTES + 8 * 31
_SIGNAL_COUNTER_BYTES: Final = _SIGNAL_REGISTERS_BYTES + 8 * 32
"""Where Linux on arm64 leaves x0, the stack pointer and the program counter (`struct rt_sigframe`)."""
_AS_IT_WAS: Final = IN_REGISTER
"""In place of where a register was saved."""

_Numbers = NDArray[np.int64]


class Lockstep:
    """
    Unwinds slices of processes that had mapped *files*.

    Args:
        files: What was mapped; of two that overlap the first one counts. All are of the first one's machine.
        signal_code: Where signal handlers return to, on arm64: code of the kernel's, without a file.
    """

    def __init__(self, files: Sequence[MappedFile], signal_code: Sequence[range] = ()) -> None:
        self._signal_code = signal_code
        readable = [*_readable(files)]
        self._processor = readable[0].processor if readable else None
        self._files = [each for each in readable if each.processor == self._processor]
        self._numbers: dict[int, int] = {}
        self._rows: list[tuple[int, ...]] = []
        self._table: _Numbers | None = None

    def unwind(self, slices: Sequence[tuple[bytes, bytes]]) -> list[Unwound | None]:
        """
        Return the stack of each slice; None where there is one rule that is not simple.

        Args:
            slices: Registers, 8 bytes each by DWARF's numbers, the program counter last, and memory from the
                stack pointer upwards.
        """
        found: list[Unwound | None] = [None] * len(slices)
        if self._processor is None:
            return found
        n_bytes = self._processor.n_registers * _WORD_BYTES
        fitting = [n for n, (registers, _) in enumerate(slices) if len(registers) == n_bytes]
        if fitting:
            walk = _Walk([slices[n] for n in fitting], self._processor)
            for _ in range(MAX_FRAMES - 1):
                if not len(walk.active):
                    break
                walk.step(self._rules_at(walk.places(), self._processor))
            for n, stack in zip(fitting, walk.stacks(), strict=True):
                found[n] = stack
        return found

    def _rules_at(self, addresses: _Numbers, processor: Processor) -> _Numbers:
        """Return the row of the rule at each of *addresses*."""
        distinct, inverse = np.unique(addresses, return_inverse=True)
        numbers = [self._number_of(address, processor) for address in distinct.tolist()]
        if self._table is None:
            self._table = np.array(self._rows, np.int64)
        elif len(self._rows) > len(self._table):
            self._table = np.concatenate([self._table, np.array(self._rows[len(self._table) :], np.int64)])
        rows: _Numbers = self._table[np.array(numbers)[inverse]]
        return rows

    def _number_of(self, address: int, processor: Processor) -> int:
        if address not in self._numbers:
            self._numbers[address] = len(self._rows)
            is_signal = any(address in code for code in self._signal_code)
            self._rows.append(
                _signal_row(processor) if is_signal else _row(self._rule_at(address), processor)
            )
        return self._numbers[address]

    def _rule_at(self, address: int) -> Rule | None:
        rules = next((each for each in self._files if address in each.addresses), None)
        with contextlib.suppress(NotSimple):
            return None if rules is None else rules.at(address)
        return None


def _readable(files: Sequence[MappedFile]) -> Iterator[FrameRules]:
    for file in files:
        with contextlib.suppress(NotSimple):
            if file.path is not None:
                yield FrameRules(file.path, file.start_address, file.file_offset)


def _columns(processor: Processor) -> tuple[int, ...]:
    """Return the registers that are followed, in the order of their columns."""
    return (processor.stack_pointer, *processor.saved)


def _row(rule: Rule | None, processor: Processor) -> tuple[int, ...]:
    """Return *rule* in numbers: its kind, column and offset of the frame, and where registers were saved."""
    if rule is None:
        return (_UNKNOWN, *[0] * (3 + len(processor.saved)))
    if rule.return_offset_bytes is None:
        return (_ENDS, *[0] * (3 + len(processor.saved)))
    saved = [rule.saved.get(register, _AS_IT_WAS) for register in processor.saved]
    column = _columns(processor).index(rule.frame_register)
    return (_LEADS_ON, column, rule.frame_offset_bytes, rule.return_offset_bytes, *saved)


def _signal_row(processor: Processor) -> tuple[int, ...]:
    """Return where a signal left the registers: its frame is at the stack pointer."""
    saved = (_SIGNAL_REGISTERS_BYTES + _WORD_BYTES * register for register in processor.saved)
    return (_INTERRUPTED, 0, 0, _SIGNAL_COUNTER_BYTES, *saved)


class _Walk:
    """
    The stacks of *slices*, as far as they are known.

    Attributes:
        active: Numbers of those that go on.
    """

    def __init__(self, slices: Sequence[tuple[bytes, bytes]], processor: Processor) -> None:
        registers = np.frombuffer(b"".join(registers for registers, _ in slices), np.int64)
        table = registers.reshape(len(slices), processor.n_registers)
        whole = [memory[: len(memory) // _WORD_BYTES * _WORD_BYTES] for _, memory in slices]
        self._words = np.frombuffer(b"".join(whole), np.int64)
        self._n_words = np.array([len(memory) // _WORD_BYTES for memory in whole])
        self._first = np.cumsum(self._n_words) - self._n_words
        self._start = table[:, processor.stack_pointer].copy()
        self._values = table[:, _columns(processor)].copy()
        self._link = _columns(processor).index(processor.return_address) if processor.has_link_register else 0
        self._counter = table[:, -1].copy()
        self._frames = [self._counter.copy()]
        self._pointers = [self._start.copy()]
        self._is_whole = np.zeros(len(slices), np.bool_)
        self._is_cut = np.zeros(len(slices), np.bool_)
        self._is_leaf = np.ones(len(slices), np.bool_)
        self.active = np.arange(len(slices))

    def places(self) -> _Numbers:
        """Return an address in the function of each active stack's frame."""
        # A return address may be that of another function, if the call never returns.
        places: _Numbers = self._counter[self.active] - ~self._is_leaf[self.active]
        return places

    def step(self, rules: _Numbers) -> None:
        """Go from each active stack's frame to the next, by the row of its rule."""
        self._is_whole[self.active[rules[:, 0] == _ENDS]] = True
        # What a function called has its own return address in the register.
        leads_on = (rules[:, 0] == _LEADS_ON) & (self._is_leaf[self.active] | (rules[:, 3] != IN_REGISTER))
        leads_on |= rules[:, 0] == _INTERRUPTED
        active, rules = self.active[leads_on], rules[leads_on]
        frame = self._values[active, rules[:, 1]] + rules[:, 2]
        counter, is_there = self._read(active, frame + rules[:, 3])
        in_register = rules[:, 3] == IN_REGISTER
        counter = np.where(in_register, self._values[active, self._link], counter)
        is_there |= in_register
        values = self._values[active]
        for column, offset in enumerate(rules[:, 4:].T, start=1):
            was_saved = np.flatnonzero(offset != _AS_IT_WAS)
            place = frame[was_saved] + offset[was_saved]
            values[was_saved, column], is_read = self._read(active[was_saved], place)
            is_there[was_saved] &= is_read
        interrupted = np.flatnonzero(rules[:, 0] == _INTERRUPTED)
        place = frame[interrupted] + _SIGNAL_STACK_POINTER_BYTES
        frame[interrupted], is_read = self._read(active[interrupted], place)
        is_there[interrupted] &= is_read
        values[:, 0] = frame
        self._values[active] = values
        self._is_leaf[active] = rules[:, 0] == _INTERRUPTED
        # Where there is nothing to return to, the stack begins.
        self._is_whole[active[is_there & (counter == 0)]] = True
        goes_on = is_there & (counter != 0)
        self._is_cut[active[~is_there & self._is_beyond(active, frame + rules[:, 3])]] = True
        self.active = active[goes_on]
        self._counter[self.active] = counter[goes_on]
        self._frames.append(np.zeros(len(self._counter), np.int64))
        self._frames[-1][self.active] = counter[goes_on]
        self._pointers.append(np.zeros(len(self._counter), np.int64))
        self._pointers[-1][self.active] = frame[goes_on]

    def stacks(self) -> Iterator[Unwound | None]:
        """Yield the stack of each slice; None if it has a rule that is not simple."""
        frames = np.stack(self._frames, axis=1).view(np.uint64)
        pointers = np.stack(self._pointers, axis=1).view(np.uint64)
        depths = np.count_nonzero(frames, axis=1).tolist()
        ends = zip(self._is_whole.tolist(), self._is_cut.tolist(), strict=True)
        for number, (depth, (is_whole, is_cut)) in enumerate(zip(depths, ends, strict=True)):
            if is_whole or is_cut:
                end: End = "complete" if is_whole else "cut"
                yield Unwound(frames[number, :depth].tolist(), end, pointers[number, :depth].tolist())
            else:
                yield None

    def _is_beyond(self, of: NDArray[np.intp], addresses: _Numbers) -> NDArray[np.bool_]:
        """Return which of *addresses* lie where the slices *of* do not reach."""
        is_beyond: NDArray[np.bool_] = addresses - self._start[of] >= self._n_words[of] * _WORD_BYTES
        return is_beyond

    def _read(self, of: NDArray[np.intp], addresses: _Numbers) -> tuple[_Numbers, NDArray[np.bool_]]:
        """Return the words at *addresses* of the slices *of*, and which of them are there."""
        distance = addresses - self._start[of]
        is_there = (
            (distance >= 0) & (distance < self._n_words[of] * _WORD_BYTES) & (distance % _WORD_BYTES == 0)
        )
        places = np.where(is_there, self._first[of] + distance // _WORD_BYTES, 0)
        words: Any = self._words[places] if len(self._words) else np.zeros(len(places), np.int64)
        return words, is_there
