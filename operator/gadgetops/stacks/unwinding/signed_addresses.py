"""
Remove the signatures of return addresses: arm64 may sign what it saves on the stack (pointer authentication).

A signature lies in the bits above those that an address can have. How many bits that is depends on the kernel
(39 to 52); it need not be known, since no address of code has more bits than the highest one of its process.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np

_SIGNING: Final = frozenset({"aarch64"})
_WORD_BYTES: Final = 8


class SignatureRemover:
    """
    Removes signatures from copies of registers and memory.

    Args:
        code: Where the process has code: first address and the one after the last, of each mapping.
        machine: As `uname -m` says it; where addresses are never signed nothing is changed.
    """

    def __init__(self, code: Iterable[tuple[int, int]], machine: str) -> None:
        ranges = sorted(code) if machine in _SIGNING else []
        self._starts = np.array([start for start, _ in ranges], np.uint64)
        # Of all mappings up to one: those of several processes may overlap.
        self._ends = np.maximum.accumulate(np.array([0, *(end for _, end in ranges)], np.uint64))
        # The page of [uprobes] is the last one: the address after it has one bit more.
        self._mask = np.uint64((1 << max(int(self._ends[-1]) - 1, 0).bit_length()) - 1)

    def plain(self, data: bytes) -> bytes:
        """Return *data* with each of its words that is a signed address of code replaced by the address."""
        if not len(self._starts):
            return data
        n_bytes = len(data) // _WORD_BYTES * _WORD_BYTES
        words = np.frombuffer(data[:n_bytes], "<u8")
        addresses = words & self._mask
        is_code = addresses < self._ends[np.searchsorted(self._starts, addresses, side="right")]
        is_signed = is_code & (addresses != words)
        return np.where(is_signed, addresses, words).tobytes() + data[n_bytes:] if is_signed.any() else data
