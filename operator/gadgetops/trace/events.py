"""How an event lies in the ring buffer: read from the object's BTF, as a numpy type."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gadgetops.bpf.contract import Contract, Datasource, Field
from gadgetops.bpf.object import Object
from gadgetops.errors import TraceError

HEADER_BYTES: Final = 8
"""Bytes before each record in a ring buffer: length with two flags, and page offset."""

_COLUMNS: Final = {
    "timestamp_ns": "timestamp_raw",
    "pid": "proc.pid",
    "tid": "proc.tid",
    "operation": "operation_raw",
    "address": "addr",
    "size_bytes": "size",
    "stack_id": "ustack.stack_id",
    "lost": "lost",
    "caller": "caller",
    "slice": "slice",
}
_OPTIONAL: Final = frozenset({"stack_id", "lost", "caller", "slice"})


@dataclass(frozen=True)
class EventLayout:
    """
    Where the columns of a recording stand in one record.

    Attributes:
        map: Name of the ring buffer map.
        dtype: One record with its header; fields `header` and those of the recording's columns that exist.
        event_bytes: Length of a record without its header, before it is rounded up to 8.
        operations: Name of each operation, by its number; never empty.
    """

    map: str
    dtype: np.dtype[Any]
    event_bytes: int
    operations: tuple[str, ...]

    @classmethod
    def from_object(cls, obj: Object, datasource: str = "malloc") -> "EventLayout":
        """
        Return the layout of *datasource*'s events.

        Raises:
            TraceError: The object has no such stream, or it lacks a column.
        """
        source = Contract.from_object(obj).datasource(datasource)
        if source is None or source.map is None:
            raise TraceError(f"the object has no event stream {datasource!r}")
        fields = {column: _field(source, name, column) for column, name in _COLUMNS.items()}
        present = {column: field for column, field in fields.items() if field is not None}
        return cls(source.map, _dtype(source, present), source.size_bytes, _operations(present["operation"]))


def _field(source: Datasource, name: str, column: str) -> Field | None:
    field = source.field(name)
    if field is None and column not in _OPTIONAL:
        raise TraceError(f"event stream {source.name!r} has no field {name}")
    return field


def _dtype(source: Datasource, fields: dict[str, Field]) -> np.dtype[Any]:
    stride = HEADER_BYTES + -(-source.size_bytes // 8) * 8
    return np.dtype(
        {
            "names": ["header", *fields],
            "formats": ["<u4", *(f"<u{field.size_bytes}" for field in fields.values())],
            "offsets": [0, *(HEADER_BYTES + field.offset_bytes for field in fields.values())],
            "itemsize": stride,
        }
    )


def _operations(field: Field) -> tuple[str, ...]:
    if field.enum is None:
        raise TraceError(f"field {field.name} is no enum: its numbers have no names")
    names = {number: name for name, number in field.enum.values}
    return tuple(names.get(number, f"operation#{number}") for number in range(max(names) + 1))
