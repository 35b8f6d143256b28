"""
pprof's profile.proto (https://github.com/google/pprof, proto/profile.proto), written field by field: a dozen
messages of integers and lists need no library.
"""

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.exports.profile import Profile, Sample, profile
from gadgetops.report.answers import printable
from gadgetops.report.exports.export import Export

SAMPLE_TYPES: Final = (
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
)
"""The values of a sample, under the names that pprof gives those of a heap profile."""

_VARINT, _BYTES = 0, 2


def write(export: Export, path: Path) -> str:
    """
    Write the sums by stack to *path* and return how sure they are.

    Raises:
        RecordingError: The recording could not be read.
    """
    found = profile(export.recording, export.filters)
    path.write_bytes(to_pprof(found))
    return found.certainty.word


def to_pprof(found: Profile) -> bytes:
    """
    Return *found* as a gzipped pprof profile.

    Functions that were inlined are lines of one location. A location's address is the offset into its module,
    as memory is not laid out alike in all processes; the label `pid` tells them apart. In use is what was
    never released. The program's executable is the first mapping, by which pprof names the profile.
    """
    tables = _Tables(found)
    samples = [tables.sample(sample) for sample in found.samples]
    fields = [
        *(_message(1, _value_type(tables, *each)) for each in SAMPLE_TYPES),
        *(_message(2, sample) for sample in samples),
        *(_message(3, mapping) for mapping in tables.mappings(found.program.path)),
        *(_message(4, location) for location in tables.locations),
        *(_message(5, function) for function in tables.functions),
        _number(9, found.program.started_at_ns),
        _number(10, found.duration_ns),
        _message(11, _value_type(tables, "space", "bytes")),
        _number(12, 1),
        _number(14, tables.text("inuse_space")),
    ]
    # The texts come last: the fields above have added to them.
    fields += [_message(6, text.encode("utf-8", "replace")) for text in tables.texts]
    return gzip.compress(b"".join(fields), mtime=0)


class _Tables:
    """What samples refer to by number; all but texts count from 1."""

    def __init__(self, profile: Profile) -> None:
        self.texts: dict[str, int] = {"": 0}
        self.locations: list[bytes] = []
        self.functions: list[bytes] = []
        self._build_ids = profile.program.build_ids
        self._location_ids: dict[tuple[Frame, ...], int] = {}
        self._function_ids: dict[tuple[str, str], int] = {}
        self._module_ids: dict[str, int] = {}
        self._module_ends: dict[str, int] = {}

    def text(self, text: str) -> int:
        """Return the number of *text*."""
        return self.texts.setdefault(text, len(self.texts))

    def sample(self, sample: Sample) -> bytes:
        """Return a sample's message; its locations are leaf first."""
        places = sample.places or ((Frame(sample.stack.name, None, None, None, None, 0),),)
        values = (
            *(sample.allocated.count, sample.allocated.size_bytes),
            *(sample.live.count, sample.live.size_bytes),
        )
        label = _number(1, self.text("pid")) + _number(3, sample.pid)
        return _packed(1, map(self._location, places)) + _packed(2, values) + _message(3, label)

    def mappings(self, program: str | None) -> Iterator[bytes]:
        """Yield the modules' messages, that of *program* first: by it pprof names the whole."""
        if program is not None and program not in self._module_ids:
            self._module_ids[program] = len(self._module_ids) + 1
        for path, number in sorted(self._module_ids.items(), key=lambda item: item[0] != program):
            yield b"".join(
                (
                    *(_number(1, number), _number(3, self._module_ends.get(path, 0) + 1)),
                    *(_number(5, self.text(path)), _number(6, self.text(self._build_ids.get(path, "")))),
                    *(_number(field, 1) for field in (7, 8, 9, 10)),
                )
            )

    def _location(self, place: tuple[Frame, ...]) -> int:
        if place not in self._location_ids:
            self._location_ids[place] = len(self._location_ids) + 1
            frame = place[-1]
            offset = frame.address if frame.module_offset is None else frame.module_offset
            head = (
                _number(1, self._location_ids[place]) + _number(2, self._module(frame)) + _number(3, offset)
            )
            self.locations.append(head + b"".join(_message(4, self._line(each)) for each in place))
        return self._location_ids[place]

    def _line(self, frame: Frame) -> bytes:
        return _number(1, self._function(frame)) + _number(2, frame.line or 0)

    def _function(self, frame: Frame) -> int:
        key = (printable(frame.name), frame.file or "")
        if key not in self._function_ids:
            number = self._function_ids[key] = len(self._function_ids) + 1
            name = self.text(key[0])
            fields = (_number(1, number), _number(2, name), _number(3, name), _number(4, self.text(key[1])))
            self.functions.append(b"".join(fields))
        return self._function_ids[key]

    def _module(self, frame: Frame) -> int:
        """Return the number of the frame's module; 0 where it is unknown."""
        if frame.module is None:
            return 0
        end = max(self._module_ends.get(frame.module, 0), frame.module_offset or 0)
        self._module_ends[frame.module] = end
        return self._module_ids.setdefault(frame.module, len(self._module_ids) + 1)


def _value_type(tables: _Tables, kind: str, unit: str) -> bytes:
    return _number(1, tables.text(kind)) + _number(2, tables.text(unit))


def _varint(value: int) -> bytes:
    """Return *value* as protobuf has it; negative ones as the unsigned 64 bits with the same pattern."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _number(field: int, value: int) -> bytes:
    """Return a field; none for 0, the default."""
    return _varint(field << 3 | _VARINT) + _varint(value) if value else b""


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content


def _packed(field: int, values: Iterable[int]) -> bytes:
    return _message(field, b"".join(map(_varint, values)))
