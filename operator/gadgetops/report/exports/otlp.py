"""
OpenTelemetry profiles (opentelemetry/proto/profiles/v1development), by the package `opentelemetry-proto`.

A process is a resource, and each of `SAMPLE_TYPES` a profile of it: a profile there has one type of value.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gadgetops import __version__
from gadgetops.errors import UsageError
from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.exports.profile import Profile, Sample, profile
from gadgetops.report.answers import printable
from gadgetops.report.exports.export import Export

if TYPE_CHECKING:
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import ProfilesDictionary

SAMPLE_TYPES: Final = (
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
)
"""What profiles hold, and in which unit, as Pyroscope and Parca name it."""

_MOST_SAMPLES: Final = 5_000
"""So many stacks go into one request: receivers take 4 MiB at once unless told otherwise."""


def write(export: Export, path: Path) -> str:
    """
    Write a `ProfilesData` to *path*, as protobuf, and return how sure it is.

    Raises:
        RecordingError: The recording could not be read.
        UsageError: The package `opentelemetry-proto` is not installed.
    """
    check_installed()
    found = profile(export.recording, export.filters)
    path.write_bytes(to_otlp(found, found.samples))
    return found.certainty.word


def check_installed() -> None:
    """
    Check that the package is there.

    Raises:
        UsageError: It is not.
    """
    try:
        import opentelemetry.proto.profiles.v1development.profiles_pb2  # noqa: F401, PLC0415
    except ImportError as error:
        raise UsageError(
            "--to otlp needs the package `opentelemetry-proto`", hint="install gadgetops[otlp]"
        ) from error


def requests_of(found: Profile) -> Iterator[bytes]:
    """Yield the messages that an endpoint takes one by one; together they hold *found*."""
    for start in range(0, len(found.samples), _MOST_SAMPLES):
        yield to_otlp(found, found.samples[start : start + _MOST_SAMPLES])


def to_otlp(found: Profile, samples: Sequence[Sample]) -> bytes:
    """Return *samples* of *found* as a `ProfilesData`, which reads as a request to export it, too."""
    from opentelemetry.proto.profiles.v1development import profiles_pb2 as proto  # noqa: PLC0415

    data = proto.ProfilesData()
    dictionary = _Dictionary(data.dictionary, found)
    for pid in sorted({sample.pid for sample in samples}):
        own = [sample for sample in samples if sample.pid == pid]
        resource = data.resource_profiles.add()
        _describe(resource.resource, found, pid)
        scope = resource.scope_profiles.add()
        scope.scope.name, scope.scope.version = "gadgetops", __version__
        values = [
            ("alloc_objects", [sample.allocated.count for sample in own]),
            ("alloc_space", [sample.allocated.size_bytes for sample in own]),
            ("inuse_objects", [sample.live.count for sample in own]),
            ("inuse_space", [sample.live.size_bytes for sample in own]),
        ]
        stacks = [dictionary.stack(sample) for sample in own]
        for name, counted in values:
            # A profile that has no samples would have Parca refuse all of them.
            if not any(counted):
                continue
            _add_profile(scope.profiles.add(), found, dictionary, (name, stacks, counted))
    return bytes(data.SerializeToString(deterministic=True))


def _describe(resource: Any, found: Profile, pid: int) -> None:
    path = found.program.path
    texts = {
        "service.name": found.program.name_of(pid),
        "process.executable.name": None if path is None else path.rpartition("/")[2],
        "process.executable.path": path if path and path.startswith("/") else None,
    }
    for key, text in texts.items():
        if text is not None:
            resource.attributes.add(key=key).value.string_value = printable(text)
    resource.attributes.add(key="process.pid").value.int_value = pid


def _add_profile(
    added: Any, found: Profile, dictionary: "_Dictionary", part: tuple[str, list[int], list[int]]
) -> None:
    name, stacks, values = part
    added.sample_type.type_strindex = dictionary.text(name)
    added.sample_type.unit_strindex = dictionary.text(dict(SAMPLE_TYPES)[name])
    # Parca refuses profiles without a period, and Pyroscope names them after it. Every allocation was seen.
    added.period_type.type_strindex = dictionary.text("space")
    added.period_type.unit_strindex = dictionary.text("bytes")
    added.period = 1
    added.time_unix_nano = found.program.started_at_ns
    added.duration_nano = found.duration_ns
    # 16 bytes that are not all zero; the same for the same recording, so that sending twice is seen.
    added.profile_id = _profile_id(found, name)
    for stack, value in zip(stacks, values, strict=True):
        if value:
            added.samples.add(stack_index=stack, values=[value])


def _profile_id(found: Profile, name: str) -> bytes:
    import hashlib  # noqa: PLC0415 - takes longer than `--help`

    known = f"{found.program.started_at_ns} {found.first_ns} {found.duration_ns} {name}"
    return hashlib.sha256(known.encode()).digest()[:16]


class _Dictionary:
    """What profiles refer to by number; entry 0 of each table stands for nothing."""

    def __init__(self, tables: "ProfilesDictionary", found: Profile) -> None:
        self._tables = tables
        self._build_ids = found.program.build_ids
        self._numbers: dict[Any, int] = {}
        tables.string_table.append("")
        for table in ("mapping", "location", "function", "link", "attribute", "stack"):
            getattr(tables, f"{table}_table").add()

    def text(self, text: str) -> int:
        """Return the number of *text*."""
        if not text:
            return 0
        key = ("text", text)
        if key not in self._numbers:
            self._numbers[key] = len(self._tables.string_table)
            self._tables.string_table.append(text.encode("utf-8", "replace").decode())
        return self._numbers[key]

    def stack(self, sample: Sample) -> int:
        """Return the number of a stack; its locations are leaf first."""
        places = sample.places or ((Frame(sample.stack.name, None, None, None, None, 0),),)
        locations = [self._location(place) for place in places]
        return self._number(("stack", *locations), self._tables.stack_table, location_indices=locations)

    def _location(self, place: tuple[Frame, ...]) -> int:
        key = ("location", place)
        if key in self._numbers:
            return self._numbers[key]
        frame = place[-1]
        mapping = self._mapping(frame.module)
        functions = [(self._function(each), each.line or 0) for each in place]
        address = frame.address if frame.module_offset is None else frame.module_offset
        number = self._number(
            key, self._tables.location_table, mapping_index=mapping, address=address % (1 << 64)
        )
        for function, line in functions:
            self._tables.location_table[number].lines.add(function_index=function, line=line)
        return number

    def _function(self, frame: Frame) -> int:
        name, file = self.text(printable(frame.name)), self.text(printable(frame.file or ""))
        return self._number(
            ("function", name, file),
            self._tables.function_table,
            name_strindex=name,
            system_name_strindex=name,
            filename_strindex=file,
        )

    def _mapping(self, path: str | None) -> int:
        if path is None:
            return 0
        build_id = self._build_ids.get(path)
        attributes = [] if build_id is None else [self._build_id(build_id)]
        return self._number(
            ("mapping", path),
            self._tables.mapping_table,
            filename_strindex=self.text(printable(path)),
            attribute_indices=attributes,
        )

    def _build_id(self, build_id: str) -> int:
        name = self.text("process.executable.build_id.gnu")
        number = self._number(("build id", build_id), self._tables.attribute_table, key_strindex=name)
        self._tables.attribute_table[number].value.string_value = build_id
        return number

    def _number(self, key: Any, table: Any, **fields: Any) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(table)
            table.add(**fields)
        return self._numbers[key]
