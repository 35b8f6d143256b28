"""How live memory came and went, change by change: for formats that hold events rather than sums."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import ALL, Filters
from gadgetops.questions.asking.question import Question, Span, asked
from gadgetops.questions.asking.stacks_of import Frame, Stack, stacks_of
from gadgetops.questions.exports.program import Program, program_of
from gadgetops.questions.slots.resident import resident_rounds
from gadgetops.questions.texts import text
from gadgetops.recording.reader import Recording

if TYPE_CHECKING:
    import numpy as np

_AT_ONCE: Final = 100_000


class Origin(NamedTuple):
    """
    Where allocations come from.

    Args:
        stack: The stack.
        places: Its frames place by place, leaf first; of each the innermost inlined function first.
    """

    stack: Stack
    places: tuple[tuple[Frame, ...], ...]


class Change(NamedTuple):
    """
    Memory that came or went.

    Args:
        timestamp_ns: On the recording's clock.
        seq: The event; the largest number for what went without one, as by `exec`.
        group_id: Its origin.
        pid: The process.
        tid: The thread.
        address: Unique among what is live in the process.
        change_bytes: How much; what went is negative. Of 0 bytes, `is_release` tells.
        is_release: Whether it went.
    """

    timestamp_ns: int
    seq: int
    group_id: int
    pid: int
    tid: int
    address: int
    change_bytes: int
    is_release: bool


class History:
    """
    The changes of one recording.

    Args:
        certainty: How sure they are.
        span: When the events happened.
        program: What was recorded.
        origins: Where memory came from, by group id.
        resident: When it was measured how much the processes had in RAM, and how many bytes; ascending.
    """

    def __init__(self, recording: Recording, question: Question) -> None:
        connection = question.connection
        stacks = stacks_of(connection)
        self.certainty: Certainty = question.certainty
        self.span: Span = question.span
        self.program: Program = program_of(recording, connection)
        self.origins = {
            number: Origin(group.stack, stacks.places(number))
            for number, group in question.groups.items()
            if group.stack is not None
        }
        self.resident = resident_rounds(question)
        self._connection = connection
        connection.execute(f"create temp view pieces as {text('pieces')}")

    def changes(self) -> Iterator[list[Change]]:
        """Yield all changes in the order in which they happened, some at a time."""
        cursor = self._connection.execute(text("live_changes"))
        while found := cursor.fetchmany(_AT_ONCE):
            yield [Change(*row) for row in found]

    def columns(self) -> "dict[str, np.ndarray[Any, Any]]":
        """Return all changes as arrays, by the names of `Change`."""
        return self._connection.execute(text("live_changes")).fetchnumpy()


@contextlib.contextmanager
def history(recording: Recording, filters: Filters = ALL) -> Iterator[History]:
    """
    Give the changes that the chosen allocations of *recording* are.

    A mapping that was released in parts comes as so many pieces. What went with its process's exit stays.

    Raises:
        RecordingError: The question could not be answered.
    """
    with asked(recording, filters, "stack") as question:
        yield History(recording, question)
