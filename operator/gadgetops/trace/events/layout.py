"""How an event lies in the ring buffer: read from the object's BTF, as a numpy type."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from gadgetops.bpf.contract import Contract, Datasource, Field
from gadgetops.bpf.object import Object
from gadgetops.errors import TraceError

if TYPE_CHECKING:
    import numpy as np

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
        fields: Of an event, by the recording's columns; those that exist.
        event_bytes: Length of a record without its header, before it is rounded up to 8.
        operations: Name of each operation, by its number; never empty.
    """

    map: str
    fields: Mapping[str, Field]
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
        return cls(source.map, present, source.size_bytes, _operations(present["operation"]))

    @cached_property
    def dtype(self) -> "np.dtype[Any]":
        """One record with its header: `header`, and the fields by the names of their columns."""
        # Imported here: a gadget begins to load before numpy is there.
        import numpy as np  # noqa: PLC0415

        return np.dtype(
            {
                "names": ["header", *self.fields],
                "formats": ["<u4", *(f"<u{field.size_bytes}" for field in self.fields.values())],
                "offsets": [0, *(HEADER_BYTES + field.offset_bytes for field in self.fields.values())],
                "itemsize": HEADER_BYTES + -(-self.event_bytes // 8) * 8,
            }
        )


def _field(source: Datasource, name: str, column: str) -> Field | None:
    field = source.field(name)
    if field is None and column not in _OPTIONAL:
        raise TraceError(f"event stream {source.name!r} has no field {name}")
    return field


def _operations(field: Field) -> tuple[str, ...]:
    if field.enum is None:
        raise TraceError(f"field {field.name} is no enum: its numbers have no names")
    names = {number: name for name, number in field.enum.values}
    return tuple(names.get(number, f"operation#{number}") for number in range(max(names) + 1))
