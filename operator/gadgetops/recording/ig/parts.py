"""
JSON lines at speed: what repeats from event to event is decoded once.

Of about 800 bytes of a line only address, size and time are new; the rest (`k8s`, `operation`, `proc`,
`runtime`, …) comes back in every event of a thread, and `ustack` with every event of a stack. So a line is
split by one regular expression into the three numbers and two texts, and the texts are looked up. What is
not exactly of this shape is left to the decoder of whole lines.
"""

import re
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_LINE: Final = re.compile(
    rb"^\{\"addr\":(\d++),((?:[^}]*+\})*?),\"size\":(\d++)"
    rb",\"timestamp\":\"[^\"]*+\",\"timestamp_raw\":(\d++),?([^\n]*)\}\n",
    re.MULTILINE,
)
_LARGEST: Final = (1 << 64) - 1


class Parts(NamedTuple):
    """
    The events of a block of lines, column by column.

    Attributes:
        address: As `uint64`; `size_bytes` and `timestamp_ns` (since 1970) likewise.
        contexts: What stands between address and size, without the braces around it.
        stacks: What follows the time, likewise; usually `"ustack":{…}`.
    """

    address: NDArray[np.uint64]
    size_bytes: NDArray[np.uint64]
    timestamp_ns: NDArray[np.uint64]
    contexts: tuple[bytes, ...]
    stacks: tuple[bytes, ...]


def split_lines(block: bytes, n_lines: int) -> Parts | None:
    """
    Return the parts of *block*, *n_lines* whole lines of JSON; None if a line is of another shape.

    The texts are not looked into: they have to be decoded, each between braces, before the lines are valid.
    """
    if not _LINE.match(block):
        return None
    found = _LINE.findall(block)
    # As many matches as lines, each from the beginning of a line to an end of one: nothing was skipped.
    if not found or len(found) != n_lines:
        return None
    address, contexts, size, timestamp, stacks = zip(*found, strict=True)
    addresses, sizes, timestamps = _numbers(address), _numbers(size), _numbers(timestamp)
    if addresses is None or sizes is None or timestamps is None:
        return None
    return Parts(addresses, sizes, timestamps, contexts, stacks)


def _numbers(column: tuple[bytes, ...]) -> NDArray[np.uint64] | None:
    """Return the digits of *column* as numbers; None if one does not fit or begins with a needless 0."""
    text = b" " + b", ".join(column) + b","
    if text.count(b" 0") != text.count(b" 0,"):
        return None
    values = np.fromstring(text[:-1].decode(), np.uint64, sep=",")
    return None if len(values) != len(column) or values.max() == _LARGEST else values
