"""
Questions whose answer is the same few figures for each group, each declared in `FIGURE_QUESTIONS`.

Text, JSON, CSV, JSON Schema and the table in docs/answers.md are made from the declaration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import ALL, Filters, GroupBy
from gadgetops.questions.asking.groups import Group
from gadgetops.questions.asking.question import asked, of_what_is_readable
from gadgetops.recording.reader import Recording

Unit = Literal["bytes", "count"]


@dataclass(frozen=True)
class Figure:
    """
    One figure of each group.

    Args:
        name: Member of the JSON, column of the CSV and of the SQL.
        unit: What it counts.
        heading: Heading in a table for people.
        meaning: What it is, a sentence without a full stop, for docs/answers.md.
    """

    name: str
    unit: Unit
    heading: str
    meaning: str


@dataclass(frozen=True)
class FigureQuestion:
    """
    A question that answers with figures.

    Args:
        verb: Its verb, which is also the name of its text in sql/: `group_id` and the figures, in order.
        sentence: What the answer says first, with the totals by name: `{resize_count}`.
        figures: The figures; groups with most of the first one stand first, and those with none are left out.
    """

    verb: str
    sentence: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class FigureRow:
    """The figures of one group, in the order of the question's."""

    group: Group
    values: tuple[int, ...]


@dataclass(frozen=True)
class FigureAnswer:
    """
    The answer to a `FigureQuestion`.

    Args:
        question: The question.
        certainty: How sure it is.
        total: The figures of all groups together, in the order of the question's.
        rows: The groups, largest first figure first.
    """

    question: FigureQuestion
    certainty: Certainty
    total: tuple[int, ...]
    rows: tuple[FigureRow, ...]

    def to_json(self, limit: int | None = None) -> dict[str, Any]:
        """Return the first *limit* groups as the documented JSON."""
        return {
            **self.certainty.to_json(),
            "total": self.named(self.total),
            "groups": [{"group": row.group.to_json(), **self.named(row.values)} for row in self.rows[:limit]],
            "group_count": len(self.rows),
        }

    def named(self, values: Sequence[int]) -> dict[str, int]:
        """Return *values* by the names of the question's figures."""
        return {figure.name: value for figure, value in zip(self.question.figures, values, strict=True)}


FIGURE_QUESTIONS: Final[Mapping[str, FigureQuestion]] = {
    each.verb: each
    for each in (
        FigureQuestion(
            "resizes",
            "{resize_count} of {allocation_count} allocations were given to realloc, holding {resized_bytes}",
            (
                Figure("resized_bytes", "bytes", "held", "bytes that they held: at most so many were copied"),
                Figure("resize_count", "count", "resized", "allocations that were given to `realloc`"),
                Figure("allocation_count", "count", "of", "all allocations of the group"),
            ),
        ),
    )
}
"""By verb."""


@of_what_is_readable
def answer_figures(
    recording: Recording,
    question: FigureQuestion,
    filters: Filters = ALL,
    group_by: GroupBy | None = "stack",
) -> FigureAnswer:
    """
    Return the answer of *recording* to *question*, by group.

    Raises:
        RecordingError: The question could not be answered.
    """
    with asked(recording, filters, group_by) as asking:
        found = [
            FigureRow(asking.groups[group_id], tuple(values))
            for group_id, *values in asking.rows(question.verb)
        ]
    total = tuple(sum(values) for values in zip(*(row.values for row in found), strict=True))
    shown = [row for row in found if row.values[0]]
    shown.sort(key=lambda row: (*(-value for value in row.values), row.group.name))
    return FigureAnswer(question, asking.certainty, total or (0,) * len(question.figures), tuple(shown))
