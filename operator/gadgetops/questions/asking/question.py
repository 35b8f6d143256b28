"""What all questions share: the recording's pairs, the filters as tables, and the answer's groups and
certainty."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from gadgetops.errors import RecordingError
from gadgetops.pairing.pairs import connected, stored
from gadgetops.pairing.step import Extent
from gadgetops.questions.asking.certainty import Seen, certainty
from gadgetops.questions.asking.filters import MAX_BIGINT, Filters, GroupBy
from gadgetops.questions.asking.groups import EVERYTHING, Group, Groups, group
from gadgetops.questions.asking.runtimes import notes_of
from gadgetops.questions.asking.stacks_of import stacks_of
from gadgetops.questions.texts import rows, text
from gadgetops.recording.reader import Recording

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Amount:
    """A number of allocations and their bytes together."""

    size_bytes: int
    count: int

    def __add__(self, other: "Amount") -> "Amount":
        """Return both together."""
        return Amount(self.size_bytes + other.size_bytes, self.count + other.count)

    def to_json(self) -> dict[str, int]:
        """Return it as the documented JSON."""
        return {"bytes": self.size_bytes, "count": self.count}


NOTHING = Amount(0, 0)


@dataclass(frozen=True)
class Span:
    """
    When a recording's events happened.

    Args:
        first_ns: The first one, on the recording's clock; every other time of an answer counts from here.
        last_ns: The last one; the same as `first_ns` if there is none.
    """

    first_ns: int
    last_ns: int

    @property
    def duration_ns(self) -> int:
        """From the first to the last event."""
        return self.last_ns - self.first_ns


class Question:
    """One question's connection: the recording's views, and `chosen`, the allocations that are asked
    about."""

    def __init__(
        self, recording: Recording, connection: "DuckDBPyConnection", extent: Extent, filters: Filters
    ) -> None:
        seen = Seen(extent.lost, extent.failed_stacks, extent.unseen_releases)
        self.certainty = certainty(recording, seen, self.notes(recording, connection))
        self.connection = connection
        self.filters = filters
        self.span = _span(extent)
        self.groups: Mapping[int, Group] = {0: EVERYTHING}

    def notes(self, recording: Recording, connection: "DuckDBPyConnection") -> tuple[str, ...]:
        """Return what of the program's memory the recording cannot show."""
        return notes_of(recording, connection)

    def group(self, group_by: GroupBy | None, *, calls: str = "allocations") -> None:
        """
        Group what is asked about, which is all that *calls* has: `allocations`, or what the text *calls*
        selects.

        Creates `bounds`, `grouped` (all allocations), `chosen` (those the filters chose), and of the latter
        `changes` and `lived`.
        """
        if calls != "allocations":
            self._create("table", calls, text(calls))
        self._create("view", "calls", f"from {calls}")
        found = self.grouped(group_by)
        found.create_tables(self.connection)
        self.groups = found.groups
        self._create("table", "bounds", _bounds(self.filters, self.span))
        self._create("view", "grouped", text("grouped"))
        self._create("view", "chosen", "from grouped where is_chosen")
        self._create("view", "changes", text("changes"))
        self._create("view", "lived", text("lived"))

    def grouped(self, group_by: GroupBy | None) -> Groups:
        """Return the groups of what the view `calls` has."""
        return group(self.connection, lambda: stacks_of(self.connection), self.filters, group_by)

    def rows(self, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of the text *name*; sums of any size as `int`."""
        found = rows(self.connection, name, **parameters)
        return [tuple(int(value) if isinstance(value, Decimal) else value for value in row) for row in found]

    def _create(self, kind: str, name: str, query: str) -> None:
        self.connection.execute(f"create or replace temp {kind} {name} as {query}")


def of_what_is_readable(
    ask: Callable[Concatenate[Recording, Parameters], Answer],
) -> Callable[Concatenate[Recording, Parameters], Answer]:
    """
    Make a question leave files with damaged pages out, which are then a reason for doubt.

    Only a question that failed has every page read.
    """

    @functools.wraps(ask)
    def answer(recording: Recording, /, *arguments: Parameters.args, **options: Parameters.kwargs) -> Answer:
        try:
            return ask(recording, *arguments, **options)
        except RecordingError:
            verified = recording.verified()
            if verified.problems == recording.problems:
                raise
            return ask(verified, *arguments, **options)

    return answer


def asked(
    recording: Recording, filters: Filters, group_by: GroupBy | None, *, calls: str = "allocations"
) -> contextlib.AbstractContextManager[Question]:
    """
    Give the question about the allocations of *recording* that *filters* choose, in groups.

    Raises:
        RecordingError: A query failed, as for want of space to spill to.
    """
    return ask_of(recording, filters, group_by, calls)


@functools.singledispatch
def ask_of(
    recording: Recording, filters: Filters, group_by: GroupBy | None, calls: str
) -> contextlib.AbstractContextManager[Question]:
    """Give the question as `asked` does; other kinds of recordings register theirs."""
    return _ask_one(recording, filters, group_by, calls)


@contextlib.contextmanager
def _ask_one(
    recording: Recording, filters: Filters, group_by: GroupBy | None, calls: str
) -> Iterator[Question]:
    with stored(recording) as (store, state), connected(recording, store, state) as connection:
        question = Question(recording, connection, state.extent, filters)
        question.group(group_by, calls=calls)
        yield question


def span_of(recording: Recording) -> Span:
    """
    Return when the events of *recording* happened.

    Raises:
        RecordingError: A query failed.
    """
    with stored(recording) as (_, state):
        return _span(state.extent)


def _span(extent: Extent) -> Span:
    return Span(extent.last_ns if extent.first_ns is None else extent.first_ns, extent.last_ns)


def _bounds(filters: Filters, span: Span) -> str:
    until_ns = MAX_BIGINT if filters.until_ns is None else min(span.first_ns + filters.until_ns, MAX_BIGINT)
    max_bytes = MAX_BIGINT if filters.max_size_bytes is None else min(filters.max_size_bytes, MAX_BIGINT)
    bounds = {
        "since_ns": min(span.first_ns + filters.since_ns, MAX_BIGINT),
        "until_ns": until_ns,
        "min_bytes": min(filters.min_size_bytes, MAX_BIGINT),
        "max_bytes": max_bytes,
    }
    return "select " + ", ".join(f"cast({value} as bigint) as {name}" for name, value in bounds.items())
