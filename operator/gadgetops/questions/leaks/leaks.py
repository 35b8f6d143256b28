"""
What the program never released, by stack: how much, since when, and whether it grows.

Answered from the sums by stack that pairing keeps, not from allocations; and the answer itself is kept beside
them, so that asking again reads one small file. Nothing heavy is imported before that has failed.
"""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gadgetops.errors import RecordingError
from gadgetops.questions.asking.certainty import Bounds, Certainty, Seen, bounds, certainty
from gadgetops.questions.asking.filters import ALL, Filters
from gadgetops.questions.asking.stacks_of import Frame, Stacks, stacks_of
from gadgetops.questions.leaks.kept import Kept, kept_for
from gadgetops.questions.leaks.suppressions import Suppression
from gadgetops.questions.leaks.trend import Course, Trend, trend
from gadgetops.questions.texts import rows, text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gadgetops.pairing.step import Extent
    from gadgetops.recording.reader import Recording

_ANSWER: Final = "pairs/leaks.json"
_ANSWER_VERSION: Final = 3


@dataclass(frozen=True)
class Amount:
    """A number of allocations and their bytes together."""

    size_bytes: int
    count: int


class Leak(NamedTuple):
    """
    What one stack allocated and nobody released.

    Args:
        live_bytes: In all; of a mapping released in part, the rest.
        live_count: Number of allocations.
        oldest_ns: How long before the end of the recording the first of them was allocated; as exact as a
            slot of time.
        youngest_ns: Likewise the last.
        trend: Whether it grows.
        stack: Frames leaf first; may be empty.
        no_stack: Why the stack is empty; None if it is not.
    """

    live_bytes: int
    live_count: int
    oldest_ns: int
    youngest_ns: int
    trend: Trend
    stack: tuple[Frame, ...]
    no_stack: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the leak as the documented JSON."""
        return {
            "bytes": self.live_bytes,
            "count": self.live_count,
            "oldest_ns": self.oldest_ns,
            "youngest_ns": self.youngest_ns,
            "trend": self.trend.to_json(),
            "stack": [frame.to_json() for frame in self.stack],
            "no_stack": self.no_stack,
        }


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
        bounds: Between what the truth lies.
        duration_ns: From the first to the last event.
        allocated: All allocations that succeeded.
        live: Those never released, suppressed ones included, and what the C library keeps left out.
        leaks: Largest first, then most, then by stack.
        suppressed: What each suppression took out of `leaks`, in their order.
        kept: What the C library keeps for itself, largest first.
    """

    certainty: Certainty
    bounds: Bounds
    duration_ns: int
    allocated: Amount
    live: Amount
    leaks: tuple[Leak, ...]
    suppressed: tuple[Suppressed, ...] = ()
    kept: tuple[Kept, ...] = ()

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
        amounts: dict[str, Amount] = {}
        for leak, what in zip(self.leaks, kept_for(self.leaks), strict=True):
            if what is None:
                left.append(leak)
                continue
            before = amounts.get(what, Amount(0, 0))
            amounts[what] = Amount(before.size_bytes + leak.live_bytes, before.count + leak.live_count)
        kept = [Kept(what, amount.size_bytes, amount.count) for what, amount in amounts.items()]
        found = self._replace(kept=tuple(sorted(kept, key=lambda each: (-each.live_bytes, each.what))))
        taken = found.kept_amount
        return found._replace(
            bounds=self.bounds.less(taken.size_bytes, taken.count),
            live=Amount(self.live.size_bytes - taken.size_bytes, self.live.count - taken.count),
            leaks=tuple(left),
        )

    def without(self, suppressions: Sequence[Suppression]) -> "Leaks":
        """Return the same without the stacks that *suppressions* match; each goes to the first that does."""
        taken: dict[Suppression, list[Leak]] = {suppression: [] for suppression in suppressions}
        left: list[Leak] = []
        for leak in self.leaks:
            first = next((each for each in suppressions if each.matches(leak.stack)), None)
            (left if first is None else taken[first]).append(leak)
        suppressed = tuple(
            Suppressed(suppression, _total(found), len(found)) for suppression, found in taken.items()
        )
        return self._replace(leaks=tuple(left), suppressed=suppressed)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as the documented JSON."""
        return {
            **self.certainty.to_json(),
            "duration_ns": self.duration_ns,
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
        }


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
            prefix, width = "chosen_", {"width_ns": extent.width_ns}
        survivors = [tuple(map(int, row)) for row in rows(connection, f"{prefix}leak_slots", **width)]
        live = Amount(sum(row[2] for row in survivors), sum(row[3] for row in survivors))
        [allocated] = rows(connection, f"{prefix}allocated")
        sure = certainty(recording, Seen(extent.lost, extent.failed_stacks, extent.unseen_releases))
        most_false = _most_false(connection, min(sure.lost, live.count), f"{prefix}leaked")
        growth = rows(connection, f"{prefix}leak_growth", **width)
        found = _by_stack(survivors, growth, stacks_of(connection), extent)
    first_ns = extent.last_ns if extent.first_ns is None else extent.first_ns
    return Leaks(
        certainty=sure,
        bounds=bounds(sure, (live.size_bytes, live.count), most_false),
        duration_ns=extent.last_ns - first_ns,
        allocated=Amount(int(allocated[0]), int(allocated[1])),
        live=live,
        leaks=tuple(sorted(found, key=_rank)),
    ).without_kept()


def _choose(
    recording: "Recording", connection: "DuckDBPyConnection", extent: "Extent", filters: Filters
) -> None:
    """Create `chosen`, whose groups are stacks."""
    from gadgetops.questions.asking.question import Question  # noqa: PLC0415

    Question(recording, connection, extent, filters).group("stack")


def _most_false(connection: "DuckDBPyConnection", n_lost: int, leaked: str) -> tuple[int, int]:
    """Return bytes and number of what as many lost events can have released at most."""
    if not n_lost:
        return 0, 0
    connection.execute(f"create temp view leaked as {text(leaked)}")
    [(size_bytes, count)] = rows(connection, "largest", n=n_lost)
    return int(size_bytes), int(count)


def _by_stack(
    survivors: Iterable[tuple[Any, ...]],
    growth: Iterable[tuple[Any, ...]],
    stacks: Stacks,
    extent: "Extent",
) -> Iterable[Leak]:
    """Yield one leak for all stacks that are equal to people."""
    width_ns = extent.width_ns
    rows_of: dict[int, list[tuple[Any, ...]]] = {}
    for row in survivors:
        rows_of.setdefault(row[0], []).append(row)
    merged = stacks.merged(rows_of)
    left: dict[int, Counter[int]] = {group: Counter() for group in merged.values()}
    changes: dict[int, Counter[int]] = {group: Counter() for group in merged.values()}
    live_bytes: Counter[int] = Counter()
    released: Counter[int] = Counter()
    for stack_id, found in rows_of.items():
        for _, slot_ns, size_bytes, count in found:
            left[merged[stack_id]][slot_ns // width_ns] += count
            live_bytes[merged[stack_id]] += size_bytes
    for stack_id, slot_ns, change_bytes, released_count in growth:
        changes[merged[stack_id]][slot_ns // width_ns] += int(change_bytes)
        released[merged[stack_id]] += released_count
    first_slot, last_slot = (extent.first_ns or 0) // width_ns, extent.last_ns // width_ns
    for group, slots in left.items():
        course = Course(
            first_slot,
            last_slot - first_slot + 1,
            width_ns,
            changes[group],
            slots,
            live_bytes[group],
            released[group],
        )
        stack = stacks[group]
        yield Leak(
            live_bytes[group],
            course.n_survivors,
            extent.last_ns - max(min(slots) * width_ns, extent.first_ns or 0),
            max(0, extent.last_ns - (max(slots) + 1) * width_ns),
            trend(course),
            stack.frames,
            stack.no_stack,
        )


def _rank(leak: Leak) -> tuple[Any, ...]:
    return (-leak.live_bytes, -leak.live_count, [repr(frame.identity) for frame in leak.stack])


def _total(leaks_: Iterable[Leak]) -> Amount:
    found = [*leaks_]
    return Amount(sum(leak.live_bytes for leak in found), sum(leak.live_count for leak in found))


def _stamps(path: Path) -> list[list[Any]] | None:
    """Return names, sizes and times of change of a recording's files; None if it is no folder."""
    try:
        with os.scandir(path) as entries:
            files = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
    except OSError:
        return None
    return sorted([name, status.st_size, status.st_mtime_ns] for name, status in files)


def _kept(path: Path) -> Leaks | None:
    """Return the answer that was given before, if the recording has not changed since."""
    try:
        document = json.loads((path / _ANSWER).read_bytes())
        if document["version"] != _ANSWER_VERSION or document["made_from"] != _stamps(path):
            return None
        return _from_document(document)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _keep(path: Path, stamps: list[list[Any]], found: Leaks) -> None:
    """Keep an answer, if there is a place for it; each frame is written once."""
    frames: dict[Frame, int] = {}
    for leak in found.leaks:
        for frame in leak.stack:
            frames.setdefault(frame, len(frames))
    document = {
        "version": _ANSWER_VERSION,
        "made_from": stamps,
        "certainty": found.certainty._asdict(),
        "bounds": found.bounds._asdict(),
        "allocated": vars(found.allocated),
        "live": vars(found.live),
        "duration_ns": found.duration_ns,
        "kept": [each._asdict() for each in found.kept],
        "frames": [*frames],
        "leaks": [
            {
                **leak._asdict(),
                "trend": leak.trend._asdict(),
                "stack": [frames[frame] for frame in leak.stack],
            }
            for leak in found.leaks
        ],
    }
    answer = path / _ANSWER
    temporary = answer.with_name(f"{answer.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(document), encoding="utf-8")
        temporary.replace(answer)


def _from_document(document: Mapping[str, Any]) -> Leaks:
    frames = [Frame(*row) for row in document["frames"]]
    sure = document["certainty"]
    return Leaks(
        certainty=Certainty(**{**sure, "reasons": tuple(sure["reasons"])}),
        bounds=Bounds(**document["bounds"]),
        duration_ns=document["duration_ns"],
        kept=tuple(Kept(**each) for each in document["kept"]),
        allocated=Amount(**document["allocated"]),
        live=Amount(**document["live"]),
        leaks=tuple(
            Leak(
                **{
                    **leak,
                    "trend": Trend(**leak["trend"]),
                    "stack": tuple(frames[number] for number in leak["stack"]),
                }
            )
            for leak in document["leaks"]
        ),
    )
