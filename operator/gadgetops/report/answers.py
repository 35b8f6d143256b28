"""
What all answers look like as text: the certainty first, then blocks of stacks, or a table of other groups.

Lines are cut nowhere, and hold nothing that a terminal would obey: names come from the traced program.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gadgetops.questions.asking.certainty import Certainty
from gadgetops.questions.asking.filters import GroupBy
from gadgetops.questions.asking.groups import Group
from gadgetops.questions.asking.question import Amount
from gadgetops.questions.figures import Figure, FigureAnswer
from gadgetops.report.leaks import frame_as_text
from gadgetops.units import format_bytes, format_count, plural


@dataclass(frozen=True)
class Entry:
    """
    One group of an answer.

    Args:
        group: The group.
        sentence: Its figures in words: what stands above a stack.
        cells: The same for the columns of a table.
    """

    group: Group
    sentence: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Forms:
    """
    One answer in the forms that a verb prints.

    Args:
        certainties: How sure each recording's side of the answer is.
        text: Returns the table for people, with the first N groups.
        json_value: Returns the documented JSON, with the first N groups; None for all.
        rows: Returns the rows of the CSV, of the first N groups; None for all.
        columns: Their keys, in order.
    """

    certainties: tuple[Certainty, ...]
    text: Callable[[int], str]
    json_value: Callable[[int | None], Any]
    rows: Callable[[int | None], Sequence[Mapping[str, Any]]]
    columns: tuple[str, ...]


def figure_forms(answer: FigureAnswer, group_by: GroupBy) -> Forms:
    """Return *answer* in its forms, which its question's figures describe."""
    figures = answer.question.figures

    def rows(limit: int | None) -> list[dict[str, Any]]:
        return [{**answer.named(row.values), "group": one_line(row.group)} for row in answer.rows[:limit]]

    return Forms(
        (answer.certainty,),
        text=lambda limit: "\n".join(_figure_lines(answer, group_by, limit)),
        json_value=answer.to_json,
        rows=rows,
        columns=(*(figure.name for figure in figures), "group"),
    )


def _figure_lines(answer: FigureAnswer, group_by: GroupBy, limit: int) -> Iterator[str]:
    figures = answer.question.figures
    totals = dict(zip((figure.name for figure in figures), _cells(figures, answer.total), strict=True))
    yield from head(answer.certainty, answer.question.sentence.format(**totals))
    entries = []
    for row in answer.rows:
        cells = _cells(figures, row.values)
        words = (f"{cell} {figure.heading}" for cell, figure in zip(cells, figures, strict=True))
        entries.append(Entry(row.group, ", ".join(words), cells))
    yield from entries_as_lines(entries, [*(figure.heading for figure in figures), group_by], limit)


def _cells(figures: Sequence[Figure], values: Sequence[int]) -> tuple[str, ...]:
    return tuple(
        format_bytes(value) if figure.unit == "bytes" else format_count(value)
        for figure, value in zip(figures, values, strict=True)
    )


def head(certainty: Certainty, sentence: str) -> Iterator[str]:
    """Yield the first lines of an answer: how sure it is, what it says, and what is in doubt."""
    yield f"{certainty.word}: {sentence}"
    for reason in certainty.reasons:
        yield f"  {printable(reason)}"
    for note in certainty.notes:
        yield f"  note: {note}"


def entries_as_lines(entries: Sequence[Entry], headings: Sequence[str], limit: int) -> Iterator[str]:
    """
    Yield the first *limit* groups: stacks as blocks, leaf first, and others as a table.

    Args:
        entries: All groups, in order.
        headings: Of their cells, and of the group.
        limit: How many are shown.
    """
    shown = entries[:limit]
    if any(entry.group.stack is not None for entry in shown):
        for entry in shown:
            yield from ("", entry.sentence, *stack_lines(entry.group))
    elif shown:
        yield ""
        yield from table([(*entry.cells, printable(entry.group.name)) for entry in shown], headings)
    yield from left_out(len(entries) - limit, headings[-1])


def left_out(count: int, what: str) -> Iterator[str]:
    """Yield how many more there are, if any."""
    if count > 0:
        yield ""
        yield f"{plural(count, f'more {what}')}; --limit shows them"


def stack_lines(group: Group) -> Iterator[str]:
    """Yield the frames of a stack leaf first, or why there are none."""
    stack = group.stack
    if stack is None or not stack.frames:
        yield f"  {printable(group.name)}"
    else:
        yield from (f"  {frame_as_text(frame)}" for frame in stack.frames)


def one_line(group: Group) -> str:
    """Return the group in one line: a stack root first with files and lines, frames parted by `;`."""
    if group.stack is None or not group.stack.frames:
        return printable(group.name)
    return ";".join(frame_as_text(frame).replace(";", ":") for frame in reversed(group.stack.frames))


def table(rows: Iterable[Sequence[str]], headings: Sequence[str]) -> Iterator[str]:
    """Yield *rows* under their headings, aligned: the last column to the left, figures to the right."""
    lines = [[heading.upper() for heading in headings], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        figures = [cell.rjust(width) for cell, width in zip(line[:-1], widths, strict=False)]
        yield "  ".join([*figures, line[-1]]).rstrip()


def properties(values: Mapping[str, str]) -> Iterator[str]:
    """Yield names and values beside each other."""
    width = max(map(len, values))
    yield from (f"{name.ljust(width)}  {value}" for name, value in values.items())


def amount_as_text(amount: Amount) -> str:
    """Return `1.50 MiB in 3 allocations`."""
    return f"{format_bytes(amount.size_bytes)} in {plural(amount.count, 'allocation')}"


def share_as_text(share: float) -> str:
    """Return *share*, from 0 to 1, as per cent; never 0 % or 100 % where it is only nearly so."""
    per_cent = 100 * share
    if 0 < per_cent < 0.1:
        return "<0.1 %"
    if 99.9 < per_cent < 100:
        return ">99.9 %"
    return f"{per_cent:.0f} %" if per_cent in (0, 100) else f"{per_cent:.1f} %"


def printable(text: str) -> str:
    """Return *text* without what a terminal would obey."""
    return "".join(character if character.isprintable() else "�" for character in text)
