"""
How much is live right now, cheaply: for the progress line, not for answers.

Every block is kept while there are few; as they become many, only those with one hash value in 2, 4, 8, ….
The estimate is what those hold, times how many they stand for. A partial `munmap` counts as a whole one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gadgetops.recording.operations import RELEASES

_MOST_KEPT: Final = 4096
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
_TOP_BITS: Final = np.uint64(32)
_PID_SHIFT: Final = np.uint64(42)


class LiveEstimate:
    """
    Sum of the sizes of what is allocated and not yet released, exact while few blocks live.

    Attributes:
        one_in: So many blocks each kept one stands for, a power of two.
    """

    def __init__(self) -> None:
        self.one_in = 1
        self._sizes: dict[int, int] = {}

    @property
    def live_bytes(self) -> int:
        """The estimate, in bytes."""
        return sum(self._sizes.values()) * self.one_in

    def add(self, columns: Mapping[str, NDArray[Any]], operations: Sequence[str]) -> None:
        """Take in a batch of events, in their order; *operations* names the codes of column `operation`."""
        keys, last = _last_of_each(_keys(columns["pid"], columns["address"]))
        while np.count_nonzero(self._is_kept(keys)) + len(self._sizes) > _MOST_KEPT:
            self._halve()
        kept = self._is_kept(keys) & (columns["address"][last] != 0)
        sizes, codes = columns["size_bytes"][last[kept]], columns["operation"][last[kept]]
        for key, code, size in zip(keys[kept].tolist(), codes.tolist(), sizes.tolist(), strict=True):
            if operations[code] in RELEASES:
                self._sizes.pop(key, None)
            else:
                self._sizes[key] = size

    def _is_kept(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        is_kept: NDArray[np.bool_] = keys >> _TOP_BITS & np.uint64(self.one_in - 1) == 0
        return is_kept

    def _halve(self) -> None:
        self.one_in *= 2
        self._sizes = {key: size for key, size in self._sizes.items() if not key >> 32 & self.one_in - 1}


def _keys(pids: NDArray[Any], addresses: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a number for each block, spread so that any of its bits can choose among them."""
    both = addresses.astype(np.uint64) ^ pids.astype(np.uint64) << _PID_SHIFT
    return both * _SPREAD


def _last_of_each(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Return the distinct keys and where each stands last: nothing before that matters for what is live."""
    distinct, from_the_end = np.unique(keys[::-1], return_index=True)
    return distinct, len(keys) - 1 - from_the_end
