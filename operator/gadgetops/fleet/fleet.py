"""
Many recordings as one: the questions' SQL, asked of all of them together, by DuckDB here or by Spark.

What each recording numbers for itself (events, stacks, processes, threads) gets the recording's number in
front, so that nothing meets that does not belong together; times count from each recording's first event. The
views that come of this have the names and columns of a single recording's, and the questions' texts are the
same.
Recordings are paired one by one, and what is paired is kept beside each.
"""

import contextlib
import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol, cast

from gadgetops.duckdb_sql import create_table
from gadgetops.errors import RecordingError, UsageError
from gadgetops.fleet.pairing_pool import pair_all
from gadgetops.pairing.pairs import create_pair_views, stored
from gadgetops.pairing.step import STORED, Extent
from gadgetops.pairing.store import State, Store
from gadgetops.questions.asking.certainty import Certainty, Seen, certainty
from gadgetops.questions.asking.filters import GROUPINGS, Filters, GroupBy
from gadgetops.questions.asking.groups import NO_CONTAINER, Group, Groups, group
from gadgetops.questions.asking.question import Question, ask_of
from gadgetops.questions.asking.stacks_of import Frame, Stacks, stacks_of
from gadgetops.questions.texts import rows
from gadgetops.recording import operations
from gadgetops.recording.reader import Recording, open_recording
from gadgetops.recording.schema import (
    EVENT_COLUMNS,
    FAILED_STACK,
    NO_STACK,
    PROCESS_COLUMNS,
    RESIDENT_COLUMNS,
)

LABEL: Final = "label:"
"""A grouping by a label begins so; the label's key follows."""
FLEET_GROUPINGS: Final = ("recording", "host", "image")
"""What recordings are grouped by besides labels and `GROUPINGS`."""

_TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "events": EVENT_COLUMNS,
    "processes": PROCESS_COLUMNS,
    "resident": RESIDENT_COLUMNS,
    **{f"stored_{table}": columns for table, columns in STORED.items()},
}
"""View -> columns of what is read from files."""
_ID_BITS: Final = 32
_SEQ_BITS: Final = 44
"""So many bits a recording's own numbers have; events, of which there may be more than 2^32, have more."""
_IDS: Final = frozenset({"pid", "parent_pid", "tid", "released_tid", "stack_id"})
_SEQS: Final = frozenset({"seq", "released_seq", "allocation_seq"})
_TIMES: Final = frozenset({"timestamp_ns", "released_ns", "first_ns", "last_ns"})
_NO_LIFE: Final = -(2**63) + 1
"""A life whose beginning is not known, as in `sql/lives.sql`."""


class Engine(Protocol):
    """What runs SQL over many files."""

    def check_pairs(self, recording: Path, folder: Path) -> None:
        """Raise `RecordingError` unless what runs queries can read the pairs of *recording* in *folder*."""

    def connect(self) -> contextlib.AbstractContextManager[Any]:
        """Give a connection, whose `execute` is that of DuckDB's."""

    def read(self, connection: Any, view: str, paths: Sequence[Path], columns: Mapping[str, str]) -> None:
        """Create *view* of the rows in *paths*, with `file_name` as `file_name` gives it; may be empty."""

    def file_name(self, path: Path) -> str:
        """Return what the rows of *path* have as their `file_name`."""


@dataclass(frozen=True)
class Fleet(Recording):
    """
    Several recordings.

    Args:
        members: The recordings, in the order of their paths.
        engine: Runs the queries.
        unreadable: Why recordings that match the pattern are not among the members, a sentence each.
    """

    members: tuple[Recording, ...] = field(default=(), kw_only=True)
    engine: Engine = field(kw_only=True)
    unreadable: tuple[str, ...] = field(default=(), kw_only=True)

    def verified(self) -> "Fleet":
        """Return the fleet without files that have damaged pages; every page of every member is read."""
        members = tuple(member.verified() for member in self.members)
        return fleet(self.path, members, self.engine, self.unreadable)


def open_fleet(pattern: Path, engine: Engine) -> Fleet:
    """
    Return the recordings whose folders match *pattern*: `*` any text, `**` any folders.

    A recording that cannot be read is left out, and named in the answers.

    Raises:
        RecordingError: There is none, or none can be read.
    """
    names = glob.glob(str(pattern), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    found = sorted(Path(name) for name in names if Path(name).is_dir())
    if not found:
        raise RecordingError(
            pattern, "no such recording", hint="quote the pattern, as 'fleet/**/*.gadgetrec'"
        )
    members: list[Recording] = []
    errors: list[RecordingError] = []
    for path in found:
        try:
            members.append(open_recording(path))
        except RecordingError as error:
            errors.append(error)
    if not members:
        raise errors[0]
    return fleet(pattern, members, engine, tuple(error.problem for error in errors))


def fleet(
    path: Path, members: Sequence[Recording], engine: Engine, unreadable: tuple[str, ...] = ()
) -> Fleet:
    """Return *members* as one recording called *path*; *unreadable* as of `Fleet`."""
    missing = [member.n_missing for member in members]
    return Fleet(
        path=path,
        header={},
        segments=(),
        tables={},
        n_events=sum(member.n_events for member in members),
        n_missing=None if None in missing else sum(each or 0 for each in missing),
        problems=tuple(f"{member.path}: {problem}" for member in members for problem in member.problems),
        members=tuple(members),
        engine=engine,
        unreadable=unreadable,
    )


def fleet_groupings(members: Sequence[Recording]) -> tuple[str, ...]:
    """Return what *members* can be grouped by: `FLEET_GROUPINGS`, and each label that one of them has."""
    keys = sorted({key for member in members for key in _of(member.header.get("labels"))})
    return (*FLEET_GROUPINGS, *(f"{LABEL}{key}" for key in keys))


def is_fleet_grouping(group_by: str | None) -> bool:
    """Return whether *group_by* is about whole recordings."""
    return group_by in FLEET_GROUPINGS or (group_by or "").startswith(LABEL)


@ask_of.register
@contextlib.contextmanager
def _ask_fleet(
    recording: Fleet, filters: Filters, group_by: GroupBy | None, calls: str
) -> Iterator[Question]:
    pair_all(recording.members)
    with contextlib.ExitStack() as stack:
        recording, states = _paired(recording, stack)
        extents = [state.extent for _, state in states]
        files = [
            {
                "events": member.tables["events"],
                "processes": member.tables["processes"],
                "resident": member.tables["resident"],
                **{f"stored_{table}": paths for table, paths in store.paths(state).items()},
            }
            for member, (store, state) in zip(recording.members, states, strict=True)
        ]
        connection = stack.enter_context(recording.engine.connect())
        _create_views(recording.engine, connection, files, extents)
        question = _FleetQuestion(recording, connection, extents, filters)
        question.group(group_by, calls=calls)
        yield question


def _paired(fleet_: Fleet, stack: contextlib.ExitStack) -> tuple[Fleet, list[tuple[Store, State]]]:
    """
    Return *fleet_* without the members that cannot be paired, and the pairs of the others, held by *stack*.

    Raises:
        RecordingError: None can be paired, or the engine cannot read the pairs of one.
    """
    members, states = [], []
    errors: list[RecordingError] = []
    for member in fleet_.members:
        try:
            store, state = stack.enter_context(stored(member))
        except RecordingError as error:
            errors.append(error)
            continue
        fleet_.engine.check_pairs(member.path, store.folder)
        members.append(member)
        states.append((store, state))
    if not members:
        raise errors[0]
    unreadable = (*fleet_.unreadable, *(error.problem for error in errors))
    return fleet(fleet_.path, members, fleet_.engine, unreadable), states


def _create_views(
    engine: Engine, connection: Any, files: Sequence[Mapping[str, Sequence[Path]]], extents: Sequence[Extent]
) -> None:
    for view, columns in _TABLES.items():
        paths = [path for member in files for path in member.get(view, ())]
        engine.read(connection, f"every_{view}", paths, columns)
    numbered = [
        (engine.file_name(path), number, extents[number].first_ns or 0)
        for number, member in enumerate(files)
        for view in _TABLES
        for path in member.get(view, ())
    ]
    kinds = {"file_name": "varchar", "recording": "bigint", "begin_ns": "bigint"}
    create_table(connection, "recording_files", kinds, numbered)
    for view, columns in _TABLES.items():
        selected = ", ".join(f"{_unique(name)} as {name}" for name in columns)
        joined = f"every_{view} inner join recording_files using (file_name)"
        query = f"select {selected} from {joined}"  # noqa: S608 - our own names
        connection.execute(f"create temp view {view} as {query}")
    connection.execute(operations.VIEW)
    create_pair_views(connection)


def _unique(column: str) -> str:
    """Return what gives a column's value, so that it is no other recording's, in SQL."""
    if column in _IDS:
        return f"cast({column} as bigint) + recording * {1 << _ID_BITS}"
    if column in _SEQS:
        return f"{column} + recording * {1 << _SEQ_BITS}"
    if column in _TIMES:
        return f"{column} - begin_ns"
    if column == "life_ns":
        return f"case when life_ns = {_NO_LIFE} then life_ns else life_ns - begin_ns end"
    return column


class _FleetQuestion(Question):
    """A question over a fleet's views."""

    def __init__(
        self, recording: Fleet, connection: Any, extents: Sequence[Extent], filters: Filters
    ) -> None:
        durations = [(each.last_ns - each.first_ns) if each.first_ns is not None else 0 for each in extents]
        super().__init__(recording, connection, Extent(first_ns=0, last_ns=max(durations)), filters)
        self.certainty = _certainty(recording, extents)
        self._fleet = recording

    def notes(self, recording: Recording, connection: Any) -> tuple[str, ...]:
        """Return nothing: each recording says for itself what it cannot show."""
        return ()

    def grouped(self, group_by: GroupBy | None) -> Groups:
        """Return the groups of the calls; those of threads and processes have their recording's name."""
        members = _Members(self._fleet.members)
        by_stack = group_by in ("stack", "function", "module")
        # A filter by process or thread means the numbers that the recording has.
        only_stacks = self.filters._replace(pids=(), tids=())
        found = group(
            self.connection,
            lambda: members.stacks,
            only_stacks,
            cast("GroupBy", group_by) if by_stack else None,
        )
        threads = {
            thread: (number, self.filters.has_thread(*(_own(each) for each in thread)))
            for thread, (number, _) in found.of_thread.items()
        }
        if by_stack or group_by is None:
            return Groups(found.of_stack, threads, found.groups)
        named = {thread: members.group(self.connection, *thread, group_by) for thread in threads}
        numbers = {each: number for number, each in enumerate(dict.fromkeys(named.values()))}
        return Groups(
            found.of_stack,
            {thread: (numbers[named[thread]], is_chosen) for thread, (_, is_chosen) in threads.items()},
            {number: each for each, number in numbers.items()},
        )


class _Members:
    """What the groups of a fleet are named after."""

    def __init__(self, members: Sequence[Recording]) -> None:
        self._members = members
        self._processes: dict[int, tuple[str | None, str | None]] | None = None

    @cached_property
    def stacks(self) -> Stacks:
        """The stacks of all members, with the ids that the views have."""
        frame_ids: dict[int, Sequence[int]] = {}
        frames: dict[int, tuple[Frame, ...]] = {}
        for number, member in enumerate(self._members):
            base = number << _ID_BITS
            with member.connect() as connection:
                own = stacks_of(connection)
                ids = [int(row[0]) for row in rows(connection, "stacks")]
            frames |= {base + frame_id: each for frame_id, each in own.frames.items()}
            frame_ids |= {base + each: [base + frame for frame in own.frame_ids(each)] for each in ids}
        return _FleetStacks(frame_ids, frames)

    def group(self, connection: Any, pid: int, tid: int, group_by: str) -> Group:
        """Return the group of a thread."""
        member = self._members[pid >> _ID_BITS]
        if is_fleet_grouping(group_by):
            return Group(_property(member, group_by))
        comm, container = self._process(connection, pid)
        if group_by == "container":
            return Group(container or NO_CONTAINER)
        numbers = f"{_own(pid)}/{_own(tid)}" if group_by == "thread" else f"{_own(pid)}"
        return Group(
            " ".join(filter(None, (f"{member.path.name}:{numbers}", comm))),
            pid=_own(pid),
            tid=_own(tid) if group_by == "thread" else None,
        )

    def _process(self, connection: Any, pid: int) -> tuple[str | None, str | None]:
        if self._processes is None:
            found = rows(connection, "process_names")
            self._processes = {int(each): (comm, container) for each, comm, container in found}
        return self._processes.get(pid, (None, None))


class _FleetStacks(Stacks):
    """Stacks of several recordings: why one has no frames depends on its number in its recording."""

    def __getitem__(self, stack_id: int) -> Any:
        """Return the stack with that id."""
        own = _own(stack_id)
        return super().__getitem__(own if own in (NO_STACK, FAILED_STACK) else stack_id)


def _own(number: int) -> int:
    """Return a recording's own number of what has this one in the fleet; -1 and -2 belong to stacks."""
    low = number & ((1 << _ID_BITS) - 1)
    return low - (1 << _ID_BITS) if low >= 1 << (_ID_BITS - 1) else low


def _property(member: Recording, group_by: str) -> str:
    """Return what recordings are grouped by."""
    header = member.header
    if group_by.startswith(LABEL):
        key = group_by.removeprefix(LABEL)
        return str(_of(header.get("labels")).get(key, f"<no label {key}>"))
    if group_by == "host":
        return str(_of(header.get("host")).get("name", "<unknown>"))
    if group_by == "image":
        image = _of(header.get("image"))
        return str(image.get("reference") or image.get("digest") or "<unknown>")
    return str(member.path)


def _of(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _certainty(asked_of: Fleet, extents: Sequence[Extent]) -> Certainty:
    """Return how sure answers from all members are: as sure as the least sure one; each says why."""
    members = asked_of.members
    found = [
        certainty(member, Seen(extent.lost, extent.failed_stacks, extent.unseen_releases))
        for member, extent in zip(members, extents, strict=True)
    ]
    words = {each.word for each in found}
    return Certainty(
        word="certain"
        if words == {"certain"} and not asked_of.unreadable
        else "inconclusive"
        if words == {"inconclusive"}
        else "possible",
        reasons=(
            *(f"left out: {each}" for each in asked_of.unreadable),
            *(
                f"{member.path}: {reason}"
                for member, each in zip(members, found, strict=True)
                for reason in each.reasons
            ),
        ),
        lost=sum(each.lost for each in found),
        knows_lost=all(each.knows_lost for each in found),
        failed_stacks=sum(each.failed_stacks for each in found),
        is_sample=any(each.is_sample for each in found),
    )


def check_group_by(group_by: str) -> None:
    """
    Raise unless answers can be grouped by *group_by*.

    Raises:
        UsageError: They cannot.
    """
    if group_by not in GROUPINGS and not is_fleet_grouping(group_by):
        known = ", ".join((*GROUPINGS, *FLEET_GROUPINGS, f"{LABEL}KEY"))
        raise UsageError(f"--group-by {group_by}: no such grouping", hint=f"there are {known}")
