"""From the kernel's stack ids to stacks of symbolised frames, once per distinct stack and address."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gadgetops.recording.schema import FAILED_STACK, NO_STACK, FrameRow, ModuleRow
from gadgetops.trace.modules import AddressSpace, Mapping
from gadgetops.trace.symbols import Location, open_module

_FIRST_BAD_ID = 1 << 31


class StackNumbers:
    """
    Gives each distinct (process, kernel stack id) a number of its own, densely from 0.

    A kernel id stands for addresses only: what they mean depends on the process.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self.keys: list[tuple[int, int, int]] = []
        """(pid, kernel stack id, time in ns when first seen), by number."""

    def number(
        self, pids: NDArray[Any], kernel_ids: NDArray[Any], timestamps_ns: NDArray[Any]
    ) -> NDArray[np.int32]:
        """Return the number of each event's stack; `FAILED_STACK` where the kernel gave an error."""
        combined = pids.astype(np.uint64) << np.uint64(32) | kernel_ids.astype(np.uint64)
        distinct, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
        numbers = [
            self._number_of(int(key), int(timestamps_ns[index]))
            for key, index in zip(distinct, first, strict=True)
        ]
        return np.array(numbers, np.int32)[inverse]

    def _number_of(self, key: int, timestamp_ns: int) -> int:
        pid, kernel_id = key >> 32, key & 0xFFFFFFFF
        if kernel_id >= _FIRST_BAD_ID:
            return FAILED_STACK
        number = self._numbers.setdefault(key, len(self.keys))
        if number == len(self.keys):
            self.keys.append((pid, kernel_id, timestamp_ns))
        return number


def no_stacks(count: int) -> NDArray[np.int32]:
    """Return the stack numbers of *count* events that have none."""
    return np.full(count, NO_STACK, np.int32)


def addresses(value: bytes | None) -> list[int]:
    """Return the addresses of one value of the stack map, leaf first; the rest of it is zero."""
    if value is None:
        return []
    words = struct.unpack(f"<{len(value) // 8}Q", value)
    return list(words[: words.index(0)] if 0 in words else words)


@dataclass
class Symboliser:
    """
    Collects the frames and modules of a recording, each once.

    Attributes:
        spaces: What each process mapped, by pid.
    """

    spaces: dict[int, AddressSpace]
    frames: list[FrameRow] = field(default_factory=list)
    modules: dict[tuple[int, Mapping], int] = field(default_factory=dict)
    _frame_ids: dict[tuple[int, int | None], int] = field(default_factory=dict)

    def stack(self, pid: int, timestamp_ns: int, addresses: Sequence[int]) -> list[int]:
        """Return the frame ids of a stack of *pid*, leaf first."""
        return [self._frame(pid, timestamp_ns, address) for address in addresses]

    def module_rows(self) -> Iterable[ModuleRow]:
        """Return one row a mapping that a frame lies in."""
        for (pid, mapping), module_id in self.modules.items():
            yield ModuleRow(
                module_id,
                pid,
                mapping.path,
                mapping.build_id,
                mapping.start_address,
                mapping.end_address,
                mapping.file_offset,
                mapping.timestamp_ns,
            )

    def _frame(self, pid: int, timestamp_ns: int, address: int) -> int:
        space = self.spaces.get(pid)
        mapping = space.find(address, timestamp_ns) if space else None
        module_id = None if mapping is None else self.modules.setdefault((pid, mapping), len(self.modules))
        key = (address, module_id)
        if key not in self._frame_ids:
            self._frame_ids[key] = len(self._frame_ids)
            self._add_rows(self._frame_ids[key], address, module_id, mapping)
        return self._frame_ids[key]

    def _add_rows(self, frame_id: int, address: int, module_id: int | None, mapping: Mapping | None) -> None:
        offset = None if mapping is None else address - mapping.start_address + mapping.file_offset
        found = self._locate(mapping, offset) or [None]
        for position, location in enumerate(found):
            self.frames.append(
                FrameRow(
                    frame_id,
                    position,
                    address,
                    module_id,
                    offset,
                    location.function if location else None,
                    location.file if location else None,
                    location.line if location else None,
                )
            )

    def _locate(self, mapping: Mapping | None, offset: int | None) -> Sequence[Location | None]:
        if mapping is None or offset is None or not mapping.path.startswith("/"):
            return ()
        return open_module(mapping.path, mapping.build_id).locate(offset)
