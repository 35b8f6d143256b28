"""Columns of events as a segment has them, made of those that a gadget or an import gives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gadgetops.errors import RecordingError
from gadgetops.recording.schema import EVENT_COLUMNS

_MAX: Final = np.uint64((1 << 63) - 1)
_GIVEN: Final = tuple(name for name in EVENT_COLUMNS if name != "seq")

Columns = dict[str, NDArray[Any]]


def checked(path: Path, columns: Mapping[str, NDArray[Any]], n_operations: int) -> Columns:
    """
    Return copies of *columns*, in the types that they are kept in.

    Args:
        path: The recording.
        columns: As `RecordingWriter.write_events` takes them.
        n_operations: How many operations have a name.

    Raises:
        RecordingError: Columns are missing or differ in length, or an operation has no name.
    """
    missing = [name for name in _GIVEN if name not in columns]
    if missing:
        raise RecordingError(path, f"events: columns missing: {', '.join(missing)}")
    if len({len(columns[name]) for name in _GIVEN}) != 1:
        raise RecordingError(path, "events: columns differ in length")
    codes = np.asarray(columns["operation"])
    if codes.size and not (int(codes.min()) >= 0 and int(codes.max()) < n_operations):
        raise RecordingError(path, f"events: operation: a code is not below {n_operations}")
    return {name: _signed(name, columns[name]) for name in _GIVEN}


def joined(parts: Sequence[Columns], first_seq: int) -> Columns:
    """Return the events of *parts* after each other, with column `seq` from *first_seq* on."""
    none = {name: _signed(name, np.empty(0)) for name in _GIVEN}
    events = {name: np.concatenate([part[name] for part in (none, *parts)]) for name in _GIVEN}
    events["seq"] = np.arange(first_seq, first_seq + len(events["operation"]), dtype=np.int64)
    return events


def _signed(name: str, column: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of *column* with the signed type of the event column *name*."""
    values = np.asarray(column)
    if EVENT_COLUMNS[name] != "bigint":
        return values.astype(np.int32)
    if values.dtype == np.uint64 and name != "address":
        values = np.minimum(values, _MAX)
    return values.astype(np.int64)
