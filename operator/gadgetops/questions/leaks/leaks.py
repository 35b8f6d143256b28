"""
What the program never released, by stack: how much, since when, and whether it grows.

Blocks of the heap and mappings are two things: each stack is of the one or of the other.

Answered from the sums by stack that pairing keeps, not from allocations; and the answer itself is kept beside
them, so that asking again reads one small file. Nothing heavy is imported before that has failed.
"""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from gadgetops.errors import RecordingError
from gadgetops.pairing.place import folder_of, read_sealed, write_sealed
from gadgetops.questions.asking.certainty import Bounds, Certainty, Seen, bounds, certainty
from gadgetops.questions.asking.filters import ALL, Filters
from gadgetops.questions.asking.runtimes import notes_of
from gadgetops.questions.asking.stacks_of import Frame, Stacks, stacks_of
from gadgetops.questions.asking.windows import UNSEEN_RELEASES, windows_of
from gadgetops.questions.leaks.activity import Activity, Cell
from gadgetops.questions.leaks.course import Course, curve
from gadgetops.questions.leaks.kept import Kept, kept_for
from gadgetops.questions.leaks.owners import owner_of
from gadgetops.questions.leaks.rules import Kind
from gadgetops.questions.leaks.suppressions import Suppression
from gadgetops.questions.leaks.verdict import Trend, verdict, without_releases
from gadgetops.questions.texts import rows, text
from gadgetops.recording.files import NotRegularFile, Stamp, stamp

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gadgetops.pairing.step import Extent
    from gadgetops.recording.reader import Recording

_ANSWER: Final = "leaks.json"
_ANSWER_VERSION: Final = 11

_FEW_AT_THE_END: Final = 16
"""Fewer blocks released last may be those of the last request."""

SCHEMA_VERSION: Final = 2
"""Of the JSON: 2 tells the heap from mappings, has the growing stacks first, and a verdict in words."""

_ORDER: Final[tuple[Kind, ...]] = ("growing", "levelling", "unclear", "plateau", "recent", "startup")
_LEFT: Final = frozenset({"unclear", "plateau", "recent"})


@dataclass(frozen=True)
class Amount:
    """A number of allocations and their bytes together."""

    size_bytes: int
    count: int

    def __add__(self, other: "Amount") -> "Amount":
        """Return both together."""
        return Amount(self.size_bytes + other.size_bytes, self.count + other.count)


@dataclass(frozen=True)
class Part:
    """
    The heap, or the mappings.

    Args:
        allocated: All allocations that succeeded.
        live: Those never released, suppressed ones included, and what the C library keeps left out.
    """

    allocated: Amount
    live: Amount

    def without(self, taken: Amount) -> "Part":
        """Return the same with less live."""
        left = Amount(self.live.size_bytes - taken.size_bytes, self.live.count - taken.count)
        return Part(self.allocated, left)

    def to_json(self) -> dict[str, int]:
        """Return it as the documented JSON."""
        return {
            "allocated_bytes": self.allocated.size_bytes,
            "allocated_count": self.allocated.count,
            "live_bytes": self.live.size_bytes,
            "live_count": self.live.count,
        }


class Leak(NamedTuple):
    """
    What one stack allocated and nobody released.

    Args:
        live_bytes: In all; of a mapping released in part, the rest.
        live_count: Number of allocations.
        oldest_ns: How long before the end of the recording the first of them was allocated.
        youngest_ns: Likewise the last.
        trend: Whether it grows.
        stack: Frames leaf first; may be empty.
        no_stack: Why the stack is empty; None if it is not.
        is_mapping: Whether these are mappings, not blocks of the heap.
        owner: Who maps them for itself, if that is not the program.
        curve: Its live bytes at equal distances of time; empty where that is not known.
    """

    live_bytes: int
    live_count: int
    oldest_ns: int
    youngest_ns: int
    trend: Trend
    stack: tuple[Frame, ...]
    no_stack: str | None
    is_mapping: bool = False
    owner: str | None = None
    curve: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the leak as the documented JSON."""
        return {
            "bytes": self.live_bytes,
            "count": self.live_count,
            "memory": "mapping" if self.is_mapping else "heap",
            "owner": self.owner,
            "oldest_ns": self.oldest_ns,
            "youngest_ns": self.youngest_ns,
            "trend": self.trend.to_json(),
            "stack": [frame.to_json() for frame in self.stack],
            "no_stack": self.no_stack,
        }


class Survivors(NamedTuple):
    """A row of `leak_slots`: what one stack allocated in one cell, and is left."""

    stack_id: int
    is_mapping: int
    slot_ns: int
    slot_seq: int
    live_bytes: int
    live_count: int
    first_ns: int
    last_ns: int


class Growth(NamedTuple):
    """A row of `leak_growth`: how one stack's live bytes changed in one cell."""

    stack_id: int
    is_mapping: int
    slot_ns: int
    slot_seq: int
    change_bytes: int
    allocated_count: int
    released_count: int


class Suppressed(NamedTuple):
    """What one suppression took out of an answer."""

    suppression: Suppression
    amount: Amount
    n_stacks: int

    def to_json(self) -> dict[str, Any]:
        """Return it as the documented JSON."""
        return {
            "pattern": self.suppression.pattern,
            "place": self.suppression.place,
            "bytes": self.amount.size_bytes,
            "count": self.amount.count,
            "stacks": self.n_stacks,
        }


class Leaks(NamedTuple):
    """
    What the program never released, and how far that can be believed.

    Args:
        certainty: How sure it is.
        bounds: Between what the truth lies, heap and mappings together.
        heap_bounds: The same of the heap alone.
        duration_ns: From the first to the last event.
        heap: What the malloc family gave.
        mappings: What mmap() gave.
        leaks: What grows first, then what is left of a time, then start-up; of each the largest first.
        suppressed: What each suppression took out of `leaks`, in their order.
        kept: What the C library keeps for itself, largest first.
        before_exit: What processes had before they released all at their end; as `leaks`. Empty with filters.
    """

    certainty: Certainty
    bounds: Bounds
    heap_bounds: Bounds
    duration_ns: int
    heap: Part
    mappings: Part
    leaks: tuple[Leak, ...]
    suppressed: tuple[Suppressed, ...] = ()
    kept: tuple[Kept, ...] = ()
    before_exit: tuple[Leak, ...] = ()

    @property
    def allocated(self) -> Amount:
        """All that was allocated, heap and mappings together."""
        return self.heap.allocated + self.mappings.allocated

    @property
    def live(self) -> Amount:
        """All that was never released, heap and mappings together."""
        return self.heap.live + self.mappings.live

    @property
    def released(self) -> Amount:
        """What was allocated and is neither live nor kept; a mapping released in part counts as live."""
        kept = self.kept_amount
        return Amount(
            self.allocated.size_bytes - self.live.size_bytes - kept.size_bytes,
            self.allocated.count - self.live.count - kept.count,
        )

    @property
    def kept_amount(self) -> Amount:
        """All that the C library keeps."""
        return Amount(sum(each.live_bytes for each in self.kept), sum(each.live_count for each in self.kept))

    def without_kept(self) -> "Leaks":
        """Return the same with what the C library keeps told from what is the program's."""
        left: list[Leak] = []
        taken: dict[str, list[Leak]] = {}
        for leak, what in zip(self.leaks, kept_for(self.leaks), strict=True):
            (left if what is None else taken.setdefault(what, [])).append(leak)
        kept = [Kept(what, *vars(total(found)).values()) for what, found in taken.items()]
        leaks_ = [leak for found in taken.values() for leak in found]
        whole = total(leaks_)
        of_heap = total([leak for leak in leaks_ if not leak.is_mapping])
        of_mappings = total([leak for leak in leaks_ if leak.is_mapping])
        return self._replace(
            bounds=self.bounds.less(whole.size_bytes, whole.count),
            heap_bounds=self.heap_bounds.less(of_heap.size_bytes, of_heap.count),
            heap=self.heap.without(of_heap),
            mappings=self.mappings.without(of_mappings),
            leaks=tuple(left),
            kept=tuple(sorted(kept, key=lambda each: (-each.live_bytes, each.what))),
        )

    def without(self, suppressions: Sequence[Suppression]) -> "Leaks":
        """Return the same without the stacks that *suppressions* match; each goes to the first that does."""
        taken: dict[Suppression, list[Leak]] = {suppression: [] for suppression in suppressions}
        left: list[Leak] = []
        for leak in self.leaks:
            first = next((each for each in suppressions if each.matches(leak.stack)), None)
            (left if first is None else taken[first]).append(leak)
        suppressed = tuple(
            Suppressed(suppression, total(found), len(found)) for suppression, found in taken.items()
        )
        others = (
            leak for leak in self.before_exit if not any(each.matches(leak.stack) for each in suppressions)
        )
        return self._replace(leaks=tuple(left), suppressed=suppressed, before_exit=tuple(others))

    def to_json(self) -> dict[str, Any]:
        """Return all of it as the documented JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            **self.certainty.to_json(),
            "duration_ns": self.duration_ns,
            "heap": {**self.heap.to_json(), **self.heap_bounds.to_json()},
            "mappings": self.mappings.to_json(),
            "allocated_bytes": self.allocated.size_bytes,
            "allocated_count": self.allocated.count,
            "released_bytes": self.released.size_bytes,
            "released_count": self.released.count,
            "live_bytes": self.live.size_bytes,
            "live_count": self.live.count,
            **self.bounds.to_json(),
            "kept": [
                {"what": each.what, "bytes": each.live_bytes, "count": each.live_count} for each in self.kept
            ],
            "suppressions": [each.to_json() for each in self.suppressed],
            "leaks": [leak.to_json() for leak in self.leaks],
            "before_exit": [leak.to_json() for leak in self.before_exit],
        }


_NOTHING: Final = Amount(0, 0)


def leaks_in(path: Path, filters: Filters = ALL) -> Leaks:
    """
    Return what was never released of what *filters* choose in the recording in the folder *path*, by stack.

    Files with damaged pages are left out, and are then a reason for doubt.

    Raises:
        RecordingError: It cannot be read, or the question could not be answered, as for want of space.
        StorageError: The folder cannot be read.
    """
    kept = _kept(path) if filters.is_empty else None
    if kept is not None:
        return kept
    # Imported here: DuckDB takes as long to start as all the rest of a question that was asked before.
    from gadgetops.recording.reader import open_recording  # noqa: PLC0415

    if not filters.is_empty:
        return leaks(open_recording(path), filters)
    # Taken before: what changes in the meantime makes the answer an old one.
    stamps = _stamps(path)
    found = leaks(open_recording(path))
    if stamps is not None:
        _keep(path, stamps, found)
    return found


def leaks(recording: "Recording", filters: Filters = ALL) -> Leaks:
    """
    Return what was never released in *recording*, by stack; as `leaks_in`, from what pairing keeps.

    With *filters* it is answered from the allocations that they choose.

    Raises:
        RecordingError: The question could not be answered, as for want of space to spill to.
    """
    try:
        return _leaks(recording, filters)
    except RecordingError:
        verified = recording.verified()
        if verified.problems == recording.problems:
            return _leaks(recording, filters)
        return _leaks(verified, filters)


def _leaks(recording: "Recording", filters: Filters) -> Leaks:
    from gadgetops.pairing.pairs import connected, stored  # noqa: PLC0415

    with stored(recording) as (store, state), connected(recording, store, state) as connection:
        extent = state.extent
        if filters.is_empty:
            prefix, width = "", {}
        else:
            _choose(recording, connection, extent, filters)
            prefix, width = "chosen_", {"width_ns": extent.width_ns, "width_seq": extent.width_seq}
        survivors = [Survivors(*map(int, row)) for row in rows(connection, f"{prefix}leak_slots", **width)]
        allocated = {
            bool(row[0]): Amount(int(row[1]), int(row[2])) for row in rows(connection, f"{prefix}allocated")
        }
        seen = Seen(extent.lost, extent.failed_stacks, extent.unseen_releases)
        sure = certainty(recording, seen, notes_of(recording, connection))
        live = {is_mapping: _live(survivors, is_mapping) for is_mapping in (False, True)}
        whole = live[False] + live[True]
        connection.execute(f"create temp view leaked as {text(f'{prefix}leaked')}")
        bounds_of = bounds(sure, (whole.size_bytes, whole.count), _most_false(connection, sure.lost, whole))
        most_false = _most_false(connection, sure.lost, live[False], "largest_blocks")
        heap_bounds = bounds(sure, (live[False].size_bytes, live[False].count), most_false)
        growth = [Growth(*map(int, row)) for row in rows(connection, f"{prefix}leak_growth", **width)]
        activity = activity_of(connection, extent)
        closing = [Survivors(*map(int, row)) for row in rows(connection, "closing_slots")]
        closing = closing if filters.is_empty else []
        stacks = stacks_of(connection)
        found = [*_by_stack(survivors, growth, stacks, activity, closing)]
        ended = [*_by_stack(closing, growth, stacks, activity, survivors)]
        ended = [*_endings(ended)]
    if windows_of(recording.header) is not None:
        found, ended = [*map(_in_windows, found)], [*map(_in_windows, ended)]
    return Leaks(
        certainty=sure,
        bounds=bounds_of,
        heap_bounds=heap_bounds,
        duration_ns=activity.end_ns - activity.first_ns,
        heap=Part(allocated.get(False, _NOTHING), live[False]),
        mappings=Part(allocated.get(True, _NOTHING), live[True]),
        leaks=tuple(sorted(found, key=_rank)),
        before_exit=tuple(sorted(ended, key=_rank)),
    ).without_kept()


def _endings(ended: Sequence[Leak]) -> Sequence[Leak]:
    """Return what of *ended* tells of an ending: all, but of a few blocks only what had grown."""
    if total(ended).count >= _FEW_AT_THE_END:
        return ended
    return [leak for leak in ended if leak.trend.kind in ("growing", "levelling")]


def _in_windows(leak: Leak) -> Leak:
    """Return *leak* without a verdict that rests on releases which nobody saw."""
    return leak._replace(trend=without_releases(leak.trend, UNSEEN_RELEASES))


def activity_of(connection: "DuckDBPyConnection", extent: "Extent") -> Activity:
    """Return the clocks of the recording whose views *connection* has."""
    found = rows(connection, "activity")
    cells = [
        Cell((slot_ns, slot_seq), int(count), first_ns, int(new))
        for slot_ns, slot_seq, count, first_ns, new in found
    ]
    return Activity(cells, extent.last_ns)


def _live(survivors: Iterable["Survivors"], is_mapping: bool) -> Amount:
    found = [row for row in survivors if row.is_mapping == is_mapping]
    return Amount(sum(row.live_bytes for row in found), sum(row.live_count for row in found))


def _choose(
    recording: "Recording", connection: "DuckDBPyConnection", extent: "Extent", filters: Filters
) -> None:
    """Create `chosen`, whose groups are stacks."""
    from gadgetops.questions.asking.question import Question  # noqa: PLC0415

    Question(recording, connection, extent, filters).group("stack")


def _most_false(
    connection: "DuckDBPyConnection", n_lost: int, live: Amount, query: str = "largest"
) -> tuple[int, int]:
    """Return bytes and number of what as many lost events can have released at most."""
    n_releases = min(n_lost, live.count)
    if not n_releases:
        return 0, 0
    [(size_bytes, count)] = rows(connection, query, n=n_releases)
    return int(size_bytes), int(count)


def _by_stack(
    shown: Sequence[Survivors],
    growth: Iterable[Growth],
    stacks: Stacks,
    activity: Activity,
    others: Sequence[Survivors] = (),
) -> Iterator[Leak]:
    """
    Yield one leak for all stacks of *shown* that are equal to people, of the heap and of mappings.

    Args:
        shown: What each leak is of.
        growth: How live bytes changed, of *shown* and *others* together.
        stacks: The recording's.
        activity: Its clocks.
        others: What else was live when the program's own releases ended.
    """
    merged = stacks.merged({row.stack_id for row in (*shown, *others)})
    shown_of, others_of, growth_of = (
        _grouped(shown, merged),
        _grouped(others, merged),
        _grouped(growth, merged),
    )
    for group, left in shown_of.items():
        course = course_of([*left, *others_of.get(group, ())], growth_of.get(group, ()), activity)
        stack, is_mapping = stacks[group[0]], bool(group[1])
        yield Leak(
            sum(row.live_bytes for row in left),
            sum(row.live_count for row in left),
            max(0, activity.end_ns - min(row.first_ns for row in left)),
            max(0, activity.end_ns - max(row.last_ns for row in left)),
            verdict(course, activity),
            stack.frames,
            stack.no_stack,
            is_mapping,
            owner_of(stack.frames) if is_mapping else None,
            curve(course, activity),
        )


Row = TypeVar("Row", Survivors, Growth)


def _grouped(found: Iterable[Row], merged: Mapping[int, int]) -> dict[tuple[int, int], list[Row]]:
    """Return rows by stack and memory; those of no stack in *merged* are left out."""
    groups: dict[tuple[int, int], list[Row]] = {}
    for row in found:
        if row.stack_id in merged:
            groups.setdefault((merged[row.stack_id], row.is_mapping), []).append(row)
    return groups


def course_of(survivors: Sequence[Survivors], growth: Iterable[Growth], activity: Activity) -> Course:
    """Return the course of one stack from the rows that pairing keeps of it."""
    left: Counter[int] = Counter()
    kept: Counter[int] = Counter()
    changes: Counter[int] = Counter()
    allocated: Counter[int] = Counter()
    released: Counter[int] = Counter()
    for row in survivors:
        number = activity.number((row.slot_ns, row.slot_seq))
        left[number] += row.live_count
        kept[number] += row.live_bytes
    for change in growth:
        number = activity.number((change.slot_ns, change.slot_seq))
        changes[number] += change.change_bytes
        allocated[number] += change.allocated_count
        released[number] += change.released_count
    return Course(
        changes,
        left,
        kept,
        allocated,
        released,
        sum(row.live_bytes for row in survivors),
        min((row.first_ns for row in survivors), default=activity.end_ns),
        max((row.last_ns for row in survivors), default=activity.end_ns),
    )


def _rank(leak: Leak) -> tuple[Any, ...]:
    kind = leak.trend.kind
    group = _ORDER.index("unclear" if kind in _LEFT else kind)
    speed = leak.trend.bytes_per_s if kind == "growing" else 0
    stack = [repr(frame.identity) for frame in leak.stack]
    return (group, -speed, -leak.live_bytes, -leak.live_count, leak.is_mapping, stack)


def total(leaks_: Iterable[Leak]) -> Amount:
    """Return what *leaks_* come to."""
    found = [*leaks_]
    return Amount(sum(leak.live_bytes for leak in found), sum(leak.live_count for leak in found))


def _stamps(path: Path) -> list[Stamp] | None:
    """Return what the files of a recording are known by; None if it is not a folder."""
    found = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                with contextlib.suppress(NotRegularFile):
                    found.append(stamp(path / entry.name))
    except OSError:
        return None
    return sorted(found)


def _kept(path: Path) -> Leaks | None:
    """Return the answer that was given before, if the recording has not changed since."""
    folder = folder_of(path)
    try:
        document = json.loads(b"" if folder is None else read_sealed(folder / _ANSWER))
        made_from = [Stamp(*row) for row in document["made_from"]]
        if document["version"] != _ANSWER_VERSION or made_from != _stamps(path):
            return None
        return _from_document(document)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _keep(path: Path, stamps: list[Stamp], found: Leaks) -> None:
    """Keep an answer, if there is a place for it; each frame is written once."""
    frames: dict[Frame, int] = {}
    for leak in (*found.leaks, *found.before_exit):
        for frame in leak.stack:
            frames.setdefault(frame, len(frames))

    def kept(leaks_: Iterable[Leak]) -> list[dict[str, Any]]:
        return [
            {
                **leak._asdict(),
                "trend": leak.trend._asdict(),
                "stack": [frames[frame] for frame in leak.stack],
            }
            for leak in leaks_
        ]

    document = {
        "version": _ANSWER_VERSION,
        "made_from": stamps,
        "certainty": found.certainty._asdict(),
        "bounds": found.bounds._asdict(),
        "heap_bounds": found.heap_bounds._asdict(),
        "heap": [vars(found.heap.allocated), vars(found.heap.live)],
        "mappings": [vars(found.mappings.allocated), vars(found.mappings.live)],
        "duration_ns": found.duration_ns,
        "kept": [each._asdict() for each in found.kept],
        "frames": [*frames],
        "leaks": kept(found.leaks),
        "before_exit": kept(found.before_exit),
    }
    folder = folder_of(path)
    if folder is not None:
        with contextlib.suppress(OSError):
            write_sealed(folder / _ANSWER, json.dumps(document).encode())


def _from_document(document: Mapping[str, Any]) -> Leaks:
    frames = [Frame(*row) for row in document["frames"]]
    sure = document["certainty"]

    def made(leak: Mapping[str, Any]) -> Leak:
        stack = tuple(frames[number] for number in leak["stack"])
        parts = {"trend": Trend(**leak["trend"]), "stack": stack, "curve": tuple(leak["curve"])}
        return Leak(**{**leak, **parts})

    return Leaks(
        certainty=Certainty(
            **{**sure, "reasons": tuple(sure["reasons"]), "notes": tuple(sure["notes"])},
        ),
        bounds=Bounds(**document["bounds"]),
        heap_bounds=Bounds(**document["heap_bounds"]),
        duration_ns=document["duration_ns"],
        kept=tuple(Kept(**each) for each in document["kept"]),
        heap=Part(*(Amount(**amount) for amount in document["heap"])),
        mappings=Part(*(Amount(**amount) for amount in document["mappings"])),
        leaks=tuple(made(leak) for leak in document["leaks"]),
        before_exit=tuple(made(leak) for leak in document["before_exit"]),
    )
