"""
Following a recording as it grows: from what pairing has stored, never from events.

While a recorder runs, a process of its own pairs each segment (`questions.leaks.background`), and what is
left to do here is to read sums by stack and slot of time, which do not grow with the recording. Where nobody
pairs, this does. With filters the sums are made of the pairs, which takes longer as the recording grows.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gadgetops.errors import StorageError
from gadgetops.live.names import Names
from gadgetops.live.snapshot import LiveStack, Snapshot
from gadgetops.live.texts import rows, text
from gadgetops.pairing.pairs import connected, extend
from gadgetops.pairing.step import Extent
from gadgetops.pairing.store import State, Store, store_of
from gadgetops.questions.asking.certainty import Seen, certainty
from gadgetops.questions.asking.filters import ALL, Filters
from gadgetops.questions.asking.question import Amount, Question
from gadgetops.questions.asking.stacks_of import Stack
from gadgetops.questions.leaks.activity import Activity
from gadgetops.questions.leaks.leaks import Growth, Survivors, activity_of, course_of
from gadgetops.questions.leaks.verdict import verdict
from gadgetops.recording.reader import Recording, open_recording, read_header, recording_files
from gadgetops.recording.schema import SEGMENT_TABLES, SYMBOLS_NAME, parse_segment_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MOST: Final = 200
"""So many stacks are shown at most, of those with most live and of those that allocated most."""
_PATIENCE_S: Final = 10.0
"""How long another process is given to pair a segment, before it is done here."""
_FIRST_PATIENCE_S: Final = 2.0
"""The same for the first segment: until then there is nothing to see."""


class Follower:
    """
    A recording that may still grow.

    Args:
        path: Its folder.
        filters: Which allocations are shown.
    """

    def __init__(self, path: Path, filters: Filters = ALL) -> None:
        self.path = path
        self.filters = filters
        self._names = Names()
        self._shown: tuple[Any, ...] = ()
        self._last: Snapshot | None = None
        self._n_paired = -1
        self._waiting_since_s = time.monotonic()

    def poll(self) -> Snapshot | None:
        """
        Return what the recording comes to now; None if that is what it was the last time.

        Raises:
            RecordingError: It cannot be read.
            StorageError: There is no place to keep the pairs.
        """
        header, files = _header(self.path), _files(self.path)
        store = self._store()
        state = store.state()
        segments = files["events"]
        if self._is_behind(state, segments):
            extend(self.path)
            state = store.state()
        n_behind = len(segments) - len(state.made_from)
        is_ended = bool(header) and header.get("end") is not None and n_behind <= 0
        if not state.made_from and not is_ended:
            return None
        known = (len(state.made_from), is_ended, bool(files["symbols"]), self.filters)
        if known == self._shown:
            return None
        if files["symbols"] and not (self._shown and self._shown[2]):
            self._names.forget()
        found = self._snapshot(self._recording(header, files, is_ended=is_ended), store, state)
        self._shown = known
        self._last = replace(found, n_behind=max(0, n_behind), is_ended=is_ended)
        return self._last

    def threads(self) -> list[tuple[int, int, str]]:
        """
        Return process, thread and name of the process of all that allocated, who most first.

        Raises:
            RecordingError: It cannot be read.
        """
        store = self._store()
        state = store.state()
        recording = self._recording(_header(self.path), _files(self.path), is_ended=False)
        with self._connected(recording, store, state) as connection:
            from gadgetops.questions.texts import rows as question_rows  # noqa: PLC0415 - another `rows`

            comms = {int(pid): comm for pid, comm, _ in question_rows(connection, "process_names")}
            return [
                (int(pid), int(tid), comms.get(int(pid)) or "") for pid, tid, _ in rows(connection, "threads")
            ]

    def _store(self) -> Store:
        store = store_of(self.path)
        if store is None:
            hint = "set XDG_CACHE_HOME to a folder of yours"
            raise StorageError(self.path, "there is no place to keep what is paired", hint=hint)
        return store

    def _is_behind(self, state: State, segments: Sequence[Path]) -> bool:
        """Return whether there is something to pair and nobody seems to do it."""
        if len(state.made_from) != self._n_paired or len(state.made_from) >= len(segments):
            self._n_paired = len(state.made_from)
            self._waiting_since_s = time.monotonic()
            return False
        patience_s = _PATIENCE_S if state.made_from else _FIRST_PATIENCE_S
        return time.monotonic() - self._waiting_since_s > patience_s

    def _recording(
        self, header: dict[str, Any], files: dict[str, tuple[Path, ...]], *, is_ended: bool
    ) -> Recording:
        if is_ended:
            return open_recording(self.path)
        return Recording(self.path, header, files["events"], files, 1, None)

    @contextlib.contextmanager
    def _connected(self, recording: Recording, store: Store, state: State) -> Iterator["DuckDBPyConnection"]:
        with store.reading(_PATIENCE_S), connected(recording, store, state) as connection:
            # What is recorded needs the other processors more.
            connection.execute("set threads to 1")
            yield connection

    def _snapshot(self, recording: Recording, store: Store, state: State) -> Snapshot:
        extent = state.extent
        with self._connected(recording, store, state) as connection:
            _create_views(recording, connection, extent, self.filters)
            course = [tuple(map(int, row)) for row in rows(connection, "course")]
            [(live_bytes, live_count)] = rows(connection, "left_over")
            stacks = self._stacks(connection, extent, is_ended=recording.header.get("end") is not None)
        slots = _slots(extent)
        changes = Counter({row[0] // extent.width_ns: row[1] - row[3] for row in course})
        counts = Counter({row[0] // extent.width_ns: row[2] for row in course})
        first_ns = extent.last_ns if extent.first_ns is None else extent.first_ns
        duration_ns = extent.last_ns - first_ns
        return Snapshot(
            certainty(recording, Seen(extent.lost, extent.failed_stacks, extent.unseen_releases)),
            extent.n_events,
            duration_ns,
            self._events_per_s(extent.n_events, duration_ns),
            extent.width_ns,
            Amount(int(live_bytes), int(live_count)),
            Amount(sum(row[1] for row in course), sum(row[2] for row in course)),
            tuple(accumulate(changes[slot] for slot in slots)),
            tuple(counts[slot] for slot in slots),
            tuple(stacks),
            0,
            False,
        )

    def _events_per_s(self, n_events: int, duration_ns: int) -> float:
        last = self._last
        if last is not None and duration_ns > last.duration_ns:
            n_events, duration_ns = n_events - last.n_events, duration_ns - last.duration_ns
        return n_events * 1e9 / duration_ns if duration_ns else 0.0

    def _stacks(self, connection: "DuckDBPyConnection", extent: Extent, *, is_ended: bool) -> list[LiveStack]:
        found = {int(row[0]): tuple(map(int, row[1:])) for row in rows(connection, "ranked", most=_MOST)}
        stacks = self._names.stacks(connection, found, is_ended=is_ended)
        activity = activity_of(connection, extent)
        growth: dict[int, list[Growth]] = {}
        survivors: dict[int, list[Survivors]] = {}
        for row in rows(connection, "changes_of", ids=[*found]):
            growth.setdefault(int(row[0]), []).append(Growth(*map(int, row)))
        for row in rows(connection, "survivors_of", ids=[*found]):
            survivors.setdefault(int(row[0]), []).append(Survivors(*map(int, row)))
        # Equal to people, however many ids they have.
        alike: dict[tuple[Any, ...], list[int]] = {}
        for number, stack in stacks.items():
            key = tuple(frame.identity for frame in stack.frames) or (stack.no_stack,)
            alike.setdefault(key, []).append(number)
        shown = [
            _live_stack(
                stacks[numbers[0]],
                [found[number] for number in numbers],
                [row for number in numbers for row in growth.get(number, ())],
                [row for number in numbers for row in survivors.get(number, ())],
                activity,
                extent,
            )
            for numbers in alike.values()
        ]
        return sorted(
            shown, key=lambda each: (-each.live.size_bytes, -each.allocated.size_bytes, each.stack.name)
        )


def _live_stack(
    stack: Stack,
    sums: Sequence[tuple[int, ...]],
    growth: Sequence[Growth],
    survivors: Sequence[Survivors],
    activity: Activity,
    extent: Extent,
) -> LiveStack:
    allocated_bytes, allocated_count, _, live_bytes, live_count = map(sum, zip(*sums, strict=True))
    changes: Counter[int] = Counter()
    for change in growth:
        changes[change.slot_ns // extent.width_ns] += change.change_bytes
    return LiveStack(
        stack,
        Amount(live_bytes, live_count),
        Amount(allocated_bytes, allocated_count),
        verdict(course_of(survivors, growth, activity), activity),
        tuple(accumulate(changes[slot] for slot in _slots(extent))),
    )


def _slots(extent: Extent) -> range:
    width_ns = extent.width_ns
    return range((extent.first_ns or 0) // width_ns, extent.last_ns // width_ns + 1)


def _create_views(
    recording: Recording, connection: "DuckDBPyConnection", extent: Extent, filters: Filters
) -> None:
    """Create `growth` and `survivors` of what *filters* choose."""
    if filters.is_empty:
        connection.execute("create temp view growth as from stored_growth")
        connection.execute("create temp view survivors as from stored_survivors")
        return
    Question(recording, connection, extent, filters).group("stack")
    for name in ("growth", "survivors"):
        query = f"create temp table {name} as {text(f'chosen_{name}')}"
        connection.execute(query, {"width_ns": extent.width_ns, "width_seq": extent.width_seq})


def _header(path: Path) -> dict[str, Any]:
    """Return recording.json; empty while it is not there or being replaced."""
    return read_header(path)[0]


def _files(path: Path) -> dict[str, tuple[Path, ...]]:
    """Return the files of each table, in order; they appear whole, so none is opened for that."""
    found: dict[str, list[tuple[int, str]]] = {table: [] for table in SEGMENT_TABLES}
    names, _ = recording_files(path)
    for name in names:
        parsed = parse_segment_name(name)
        if parsed is not None:
            found[parsed[0]].append((parsed[1], name))
    files = {table: tuple(path / name for _, name in sorted(each)) for table, each in found.items()}
    return {**files, "symbols": (path / SYMBOLS_NAME,) if SYMBOLS_NAME in names else ()}
