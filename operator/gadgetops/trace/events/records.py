"""Records as they came out of the ring buffer, one after the other: events as columns, the others singly."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gadgetops.trace.events.ring import (
    DISCARDED,
    FLAGS,
    HEADER_BYTES,
    WORD_BYTES,
    end_of_run,
    record_bytes,
)


class Batch(NamedTuple):
    """
    What was read at once.

    Attributes:
        columns: Of the events, in order.
        others: Contents of the records of another size, without header, in order among themselves.
    """

    columns: Mapping[str, NDArray[Any]]
    others: list[bytes]


def decode(records: memoryview, dtype: np.dtype[Any], event_bytes: int) -> Batch:
    """
    Return what finished *records* hold; nothing of the result refers to them.

    Args:
        records: Whole ones, with their headers.
        dtype: One event; `header` is the record's length and flags.
        event_bytes: Length of an event without header, before it is rounded up to 8.
    """
    runs: list[memoryview] = []
    others: list[bytes] = []
    words = records.cast("I")
    position, end = 0, len(records)
    while position < end:
        header = words[position // WORD_BYTES]
        if header == event_bytes:
            start, position = position, end_of_run(words, position, end, end, event_bytes)
            runs.append(records[start:position])
            continue
        length = header & ~FLAGS
        if not header & DISCARDED:
            begin = position + HEADER_BYTES
            others.append(bytes(records[begin : begin + length]))
        position += record_bytes(length)
    return Batch(_columns(runs, dtype), others)


def _columns(runs: list[memoryview], dtype: np.dtype[Any]) -> Mapping[str, NDArray[Any]]:
    events = np.frombuffer(runs[0] if len(runs) == 1 else b"".join(runs), dtype)
    names = [name for name in dtype.names or () if name != "header"]
    return {name: events[name].copy() for name in names}
