"""Folded stacks, as flame graph tools read them: `root;…;leaf value`, a line each."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from gadgetops.questions.asking.groups import Group
from gadgetops.questions.asking.question import Amount
from gadgetops.questions.top import COUNTED, measured
from gadgetops.report.answers import printable
from gadgetops.report.exports.export import Export


def write(export: Export, path: Path) -> str:
    """
    Write what `export.by` measures of each stack to *path* and return how sure it is.

    Raises:
        RecordingError: The recording could not be read.
    """
    certainty, amounts = measured(export.recording, export.by, export.filters, "stack")
    lines = (f"{line}\n" for line in folded_lines(amounts, by_count=export.by in COUNTED))
    path.write_bytes("".join(lines).encode("utf-8", "replace"))
    return certainty.word


def folded_lines(amounts: Mapping[Group, Amount], *, by_count: bool) -> Iterator[str]:
    """
    Yield a line for each stack, those with most first; stacks that differ in nothing but lines are one.

    Args:
        amounts: What each stack has.
        by_count: Values are allocations, not bytes.
    """
    values: Counter[str] = Counter()
    for group, amount in amounts.items():
        values[printable(group.name)] += amount.count if by_count else amount.size_bytes
    for name, value in sorted(values.items(), key=lambda item: (-item[1], item[0])):
        yield f"{name} {value}"
