"""
The bytes of a report: a header in JSON and columns of whole numbers, compressed.

A column is a sequence of variable-length numbers (LEB128): seven bits a byte, the lowest first, the high bit
set on all but the last. A column with signs has 0, -1, 1, -2, … as 0, 1, 2, 3, …; one of differences has each
number less the one before it. `web/src/unpack.ts` reads them.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Kind = Literal["plain", "signed", "difference"]

_LEVEL: Final = 6
_BITS: Final = 7


class Column(NamedTuple):
    """Whole numbers, and how they are written: `plain` ones must not be negative."""

    values: npt.NDArray[np.int64]
    kind: Kind = "plain"


def packed(header: Mapping[str, Any], columns: Mapping[str, Column]) -> bytes:
    """
    Return *header* and *columns*, compressed (zlib).

    The header gets a member `columns`: name, kind and length of each, in the order in which they follow.
    """
    listed = [[name, column.kind, len(column.values)] for name, column in columns.items()]
    text = json.dumps({**header, "columns": listed}, separators=(",", ":")).encode()
    parts = [len(text).to_bytes(4, "little"), text, *map(_column, columns.values())]
    return zlib.compress(b"".join(parts), _LEVEL)


def _column(column: Column) -> bytes:
    values = column.values.astype(np.int64)
    if column.kind == "difference":
        values = np.diff(values, prepend=0)
    if column.kind != "plain":
        values = (values << 1) ^ (values >> 63)
    return _variable_length(values.astype(np.uint64))


def _variable_length(values: npt.NDArray[np.uint64]) -> bytes:
    lengths = np.ones(len(values), dtype=np.int64)
    for n_bits in range(_BITS, 64, _BITS):
        lengths += values >= np.uint64(1 << n_bits)
    starts = np.cumsum(lengths) - lengths
    written = np.zeros(int(lengths.sum()), dtype=np.uint8)
    for index in range(int(lengths.max(initial=0))):
        has_byte = np.flatnonzero(lengths > index)
        byte = (values[has_byte] >> np.uint64(_BITS * index)) & np.uint64(0x7F)
        more = (lengths[has_byte] > index + 1).astype(np.uint64) << np.uint64(_BITS)
        written[starts[has_byte] + index] = byte | more
    return written.tobytes()
