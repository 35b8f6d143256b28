"""Folded stacks, as flame graph tools read them: `root;…;leaf value`, a line each."""

from collections import Counter
from collections.abc import Iterator, Mapping

from gadgetops.questions.asking.groups import Group
from gadgetops.questions.asking.question import Amount
from gadgetops.report.answers import printable


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
