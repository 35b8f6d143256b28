"""Perfetto's trace format: live memory over time as counters, and a heap profile of each process."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gadgetops.errors import UsageError
from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.exports.profile import Profile, Sample, profile
from gadgetops.questions.timeline import Timeline, timeline
from gadgetops.report.answers import printable
from gadgetops.report.exports.export import Export

_SEQUENCE: Final = 1
_TRACKS: Final = {1: ("live bytes", "live_bytes"), 2: ("live allocations", "live_count")}
"""Number of each counter's track -> its name, and the series of the timeline."""


_MOMENTS: Final = 2000
"""How many points the counters have."""


def write(export: Export, path: Path) -> str:
    """
    Write counters and heap profiles to *path* and return how sure they are.

    Raises:
        RecordingError: The recording could not be read.
        UsageError: The package `perfetto` is not installed.
    """
    found = profile(export.recording, export.filters)
    path.write_bytes(to_perfetto(found, timeline(export.recording, _MOMENTS, export.filters)))
    return found.certainty.word


def to_perfetto(found: Profile, over_time: Timeline) -> bytes:
    """
    Return *found* and *over_time* as a trace that ui.perfetto.dev opens.

    Times are those of the recording, nanoseconds since boot, which is Perfetto's default clock. In the heap
    profile, freed is what the program released.

    Raises:
        UsageError: The package `perfetto` is not installed.
    """
    try:
        from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as proto  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            "--to perfetto needs the package `perfetto`", hint="install gadgetops[perfetto]"
        ) from error
    trace = proto.Trace()
    _add_counters(trace, proto, over_time, found.first_ns)
    _add_heap_profile(trace, found)
    return bytes(trace.SerializeToString())


def _add_counters(trace: Any, proto: Any, over_time: Timeline, first_ns: int) -> None:
    for uuid, (name, series) in _TRACKS.items():
        track = trace.packet.add(trusted_packet_sequence_id=_SEQUENCE).track_descriptor
        track.uuid = uuid
        track.name = name
        is_bytes = series == "live_bytes"
        counter = proto.CounterDescriptor
        track.counter.unit = counter.UNIT_SIZE_BYTES if is_bytes else counter.UNIT_COUNT
        start_ns = first_ns + over_time.start_ns
        for bucket, value in enumerate(getattr(over_time.total, series)):
            packet = trace.packet.add(trusted_packet_sequence_id=_SEQUENCE)
            packet.timestamp = start_ns + (bucket + 1) * over_time.width_ns - 1
            packet.track_event.type = proto.TrackEvent.TYPE_COUNTER
            packet.track_event.track_uuid = uuid
            packet.track_event.counter_value = value


def _add_heap_profile(trace: Any, found: Profile) -> None:
    """Add the stacks and then each process's part, in one packet: what a packet interns is for it, too."""
    packet = trace.packet.add(trusted_packet_sequence_id=_SEQUENCE + 1)
    end_ns = packet.timestamp = found.first_ns + found.duration_ns
    packet.sequence_flags = 1  # SEQ_INCREMENTAL_STATE_CLEARED: numbers begin here
    interned = _Interned(packet.interned_data, found.program.build_ids)
    packet.profile_packet.index = 0
    for pid, samples in _by_process(found):
        dump = packet.profile_packet.process_dumps.add(pid=pid, timestamp=end_ns, heap_name="malloc")
        for sample in samples:
            dump.samples.add(
                callstack_id=interned.stack(sample),
                self_allocated=sample.allocated.size_bytes,
                self_freed=sample.allocated.size_bytes - sample.live.size_bytes,
                alloc_count=sample.allocated.count,
                free_count=sample.allocated.count - sample.live.count,
            )


def _by_process(found: Profile) -> Iterator[tuple[int, list[Sample]]]:
    for pid in sorted({sample.pid for sample in found.samples}):
        yield pid, [sample for sample in found.samples if sample.pid == pid]


class _Interned:
    """What a packet names by number, from 1."""

    def __init__(self, data: Any, build_ids: Mapping[str, str]) -> None:
        self._data = data
        self._build_ids = build_ids
        self._numbers: dict[Any, int] = {}

    def stack(self, sample: Sample) -> int:
        """Return the number of a stack; its frames are root first."""
        frames = sample.stack.frames or (Frame(sample.stack.name, None, None, None, None, 0),)
        numbers = [self._frame(frame) for frame in reversed(frames)]
        return self._number(("stack", *numbers), self._data.callstacks, frame_ids=numbers)

    def _frame(self, frame: Frame) -> int:
        place = frame.address if frame.module_offset is None else frame.module_offset
        return self._number(
            ("frame", frame),
            self._data.frames,
            function_name_id=self._text("function", self._data.function_names, printable(frame.name)),
            mapping_id=self._module(frame.module or ""),
            rel_pc=place % (1 << 64),
        )

    def _module(self, path: str) -> int:
        build_id = bytes.fromhex(self._build_ids.get(path, ""))
        return self._number(
            ("module", path),
            self._data.mappings,
            build_id=self._number(("build id", build_id), self._data.build_ids, str=build_id),
            path_string_ids=[
                self._text("path", self._data.mapping_paths, part) for part in path.split("/") if part
            ],
        )

    def _text(self, kind: str, table: Any, text: str) -> int:
        content = text.encode("utf-8", "replace")
        return self._number((kind, content), table, str=content)

    def _number(self, key: Any, table: Any, **fields: Any) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers) + 1
            table.add(iid=self._numbers[key], **fields)
        return self._numbers[key]
