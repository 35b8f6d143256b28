"""Perfetto's trace format: live memory over time as counters, and a heap profile of each process."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gadgetops.errors import UsageError
from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.profile import Profile, Sample
from gadgetops.questions.timeline import Timeline
from gadgetops.report.answers import printable

_SEQUENCE: Final = 1
_TRACKS: Final = {1: ("live bytes", "live_bytes"), 2: ("live allocations", "live_count")}
"""Number of each counter's track -> its name, and the series of the timeline."""


def to_perfetto(profile: Profile, timeline: Timeline) -> bytes:
    """
    Return *profile* and *timeline* as a trace that ui.perfetto.dev opens.

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
    _add_counters(trace, proto, timeline, profile.first_ns)
    _add_heap_profile(trace, profile)
    return bytes(trace.SerializeToString())


def _add_counters(trace: Any, proto: Any, timeline: Timeline, first_ns: int) -> None:
    for uuid, (name, series) in _TRACKS.items():
        track = trace.packet.add(trusted_packet_sequence_id=_SEQUENCE).track_descriptor
        track.uuid = uuid
        track.name = name
        is_bytes = series == "live_bytes"
        counter = proto.CounterDescriptor
        track.counter.unit = counter.UNIT_SIZE_BYTES if is_bytes else counter.UNIT_COUNT
        start_ns = first_ns + timeline.start_ns
        for bucket, value in enumerate(getattr(timeline.total, series)):
            packet = trace.packet.add(trusted_packet_sequence_id=_SEQUENCE)
            packet.timestamp = start_ns + (bucket + 1) * timeline.width_ns - 1
            packet.track_event.type = proto.TrackEvent.TYPE_COUNTER
            packet.track_event.track_uuid = uuid
            packet.track_event.counter_value = value


def _add_heap_profile(trace: Any, profile: Profile) -> None:
    """Add the stacks and then each process's part, in one packet: what a packet interns is for it, too."""
    packet = trace.packet.add(trusted_packet_sequence_id=_SEQUENCE + 1)
    end_ns = packet.timestamp = profile.first_ns + profile.duration_ns
    packet.sequence_flags = 1  # SEQ_INCREMENTAL_STATE_CLEARED: numbers begin here
    interned = _Interned(packet.interned_data, profile.build_ids)
    packet.profile_packet.index = 0
    for pid, samples in _by_process(profile):
        dump = packet.profile_packet.process_dumps.add(pid=pid, timestamp=end_ns, heap_name="malloc")
        for sample in samples:
            dump.samples.add(
                callstack_id=interned.stack(sample),
                self_allocated=sample.allocated.size_bytes,
                self_freed=sample.allocated.size_bytes - sample.live.size_bytes,
                alloc_count=sample.allocated.count,
                free_count=sample.allocated.count - sample.live.count,
            )


def _by_process(profile: Profile) -> Iterator[tuple[int, list[Sample]]]:
    for pid in sorted({sample.pid for sample in profile.samples}):
        yield pid, [sample for sample in profile.samples if sample.pid == pid]


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
            function_name_id=self._text(self._data.function_names, printable(frame.name)),
            mapping_id=self._module(frame.module or ""),
            rel_pc=place % (1 << 64),
        )

    def _module(self, path: str) -> int:
        build_id = bytes.fromhex(self._build_ids.get(path, ""))
        return self._number(
            ("module", path),
            self._data.mappings,
            build_id=self._number(("build id", build_id), self._data.build_ids, str=build_id),
            path_string_ids=[self._text(self._data.mapping_paths, part) for part in path.split("/") if part],
        )

    def _text(self, table: Any, text: str) -> int:
        content = text.encode("utf-8", "replace")
        return self._number((id(table), content), table, str=content)

    def _number(self, key: Any, table: Any, **fields: Any) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers) + 1
            table.add(iid=self._numbers[key], **fields)
        return self._numbers[key]
