"""
What other tools' formats are made of: each stack's sums by process, with inlined functions told from callers,
and the allocations themselves, row by row.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from gadgetops.duckdb_sql import create_table, quoted
from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import ALL, Filters
from gadgetops.questions.asking.question import Amount, Question, asked, of_what_is_readable
from gadgetops.questions.asking.stacks_of import Frame, Stack, Stacks, stacks_of
from gadgetops.questions.exports.program import Program, program_of
from gadgetops.questions.texts import text
from gadgetops.recording.reader import Recording

RowFormat = Literal["csv", "ndjson", "parquet"]

_COPY: Final[dict[RowFormat, str]] = {
    "csv": "format csv, header true",
    "ndjson": "format json",
    "parquet": "format parquet, compression zstd",
}


@dataclass(frozen=True)
class Sample:
    """
    What one process allocated by one stack.

    Args:
        pid: The process.
        stack: The stack; its frames are those of all places.
        places: Leaf first; of each place the function that is there and those it was inlined into, innermost
            first. Empty if the stack is.
        allocated: All of it.
        live: What the program never released.
    """

    pid: int
    stack: Stack
    places: tuple[tuple[Frame, ...], ...]
    allocated: Amount
    live: Amount


@dataclass(frozen=True)
class Profile:
    """
    The sums of a recording.

    Args:
        certainty: How sure they are.
        first_ns: The first event, on the recording's clock: since boot.
        duration_ns: From the first to the last event.
        program: What was recorded.
        samples: Every stack of every process that allocated, most live bytes first, then most allocated.
    """

    certainty: Certainty
    first_ns: int
    duration_ns: int
    program: Program
    samples: tuple[Sample, ...]


@of_what_is_readable
def profile(recording: Recording, filters: Filters = ALL) -> Profile:
    """
    Return what the chosen allocations of *recording* come to, by stack and process.

    Raises:
        RecordingError: The question could not be answered.
    """
    with asked(recording, filters, "stack") as question:
        stacks = stacks_of(question.connection)
        samples = [_sample(stacks, *row) for row in question.rows("by_process")]
        program = program_of(recording, question.connection)
    return Profile(
        question.certainty,
        question.span.first_ns,
        question.span.duration_ns,
        program,
        tuple(sorted(samples, key=_rank)),
    )


def write_rows(recording: Recording, path: Path, row_format: RowFormat, filters: Filters = ALL) -> str:
    """
    Write the chosen allocations of *recording* to *path*, a row each, and return how sure they are.

    Rows are in no order; `seq` says it. They stream from disk to disk: memory does not grow with them.

    Raises:
        RecordingError: The recording could not be read, or *path* not be written.
    """
    with asked(recording, filters, "stack") as question:
        _create_stack_names(question)
        copied = f"copy ({text('allocation_rows')}) to {quoted(str(path))} ({_COPY[row_format]})"
        question.connection.execute(copied)
    return question.certainty.word


def _create_stack_names(question: Question) -> None:
    named = {number: group.stack for number, group in question.groups.items() if group.stack is not None}
    columns = {"group_id": "bigint", "stack": "varchar", "fingerprint": "varchar"}
    rows = ((number, stack.name, stack.fingerprint) for number, stack in named.items())
    create_table(question.connection, "stack_names", columns, rows)


def _sample(stacks: Stacks, stack_id: int, pid: int, *sums: int) -> Sample:
    """Return the sample of a row; groups of stacks are numbered by the first of their stack ids."""
    return Sample(pid, stacks[stack_id], stacks.places(stack_id), Amount(*sums[:2]), Amount(*sums[2:]))


def _rank(sample: Sample) -> tuple[int, int, str, int]:
    return (-sample.live.size_bytes, -sample.allocated.size_bytes, sample.stack.name, sample.pid)
