"""The rules of verdicts in their order, with the words by which docs/verdicts.md describes them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from gadgetops.questions.leaks import rules
from gadgetops.questions.leaks.activity import Activity
from gadgetops.questions.leaks.course import Course
from gadgetops.questions.leaks.rules import Finding, Kind


class Rule(NamedTuple):
    """
    One rule of the table.

    Args:
        kinds: What it may find.
        holds: When it finds something, in words.
        suggests: What that suggests, in words.
        find: Returns what it finds; None leaves it to the next rule.
    """

    kinds: tuple[Kind, ...]
    holds: str
    suggests: str
    find: Callable[[Course, Activity], Finding | None]


RULES: Final = (
    Rule(("unclear",), "nothing is left", "nothing", rules.find_nothing),
    Rule(
        ("startup",),
        "all that is left was allocated in start-up, or in the first tenth on both clocks, and the recording "
        "goes on",
        "allocated once",
        rules.find_startup,
    ),
    Rule(
        ("recent",),
        f"all that is left was allocated lately, and {rules.MANY_RELEASED} times as many were released "
        "before; or more are in use than half-way, but each for no longer than then",
        "in use at the end",
        rules.find_in_use,
    ),
    Rule(
        ("growing", "unclear"),
        "as much was released as is left, but the lowest points rise by what is left in the end, at one "
        f"pace: a buffer that is flushed but for some blocks. Fewer than {rules.ENOUGH_STEPS} such steps are "
        "`unclear`",
        "a leak",
        rules.find_rising,
    ),
    Rule(
        ("plateau",),
        "as much was released as is left, and over the last half it grew by a twentieth at most on both "
        "clocks",
        "a full cache",
        rules.find_full,
    ),
    Rule(
        ("plateau",),
        "all was kept at first, and since then as much is released as allocated: a cache that was full late",
        "a full cache",
        rules.find_evicting,
    ),
    Rule(
        ("plateau", "startup", "unclear", "levelling", "growing"),
        "live bytes hardly ever fall (a tenth of what is added at most), or what is left is nearly all that "
        "is ever live: then each new high is a *step*",
        "by its steps, below",
        rules.find_steady,
    ),
    Rule(
        ("plateau", "unclear", "levelling", "growing"),
        "it adds and releases: each clock is asked, and the clearer answer counts",
        "by its growth, below",
        rules.find_mixed,
    ),
)
"""The first that finds something counts, and the last always does."""

STEPS: Final = {
    "`plateau`, `startup`": (
        f"no step for {rules.LONG:.0%} of the recording, and for {rules.OVERDUE} times the longest wait "
        f"between two steps (after {rules.OFTEN} waits {rules.OVERDUE_OFTEN} times; lists that grow by a "
        "factor: their next step), on both clocks; `startup` if the last one was in the first "
        f"{rules.EARLY:.0%}"
    ),
    "`unclear`": (
        f"fewer than {rules.ENOUGH_STEPS} steps (or {rules.FEW_STEPS} that are not regular): the answer says "
        "how much longer to record"
    ),
    "`levelling`": (
        "less is added in the younger half than in the older one, significantly, in bytes and blocks, on "
        "both clocks, and less and less within the younger half"
    ),
    "`growing`": "all else",
}
"""How steps are judged, in words."""

GROWTH: Final = {
    "`plateau`": "over the last half it grew by a twentieth at most, or it was as much before",
    "`unclear`": (
        f"fewer than {rules.FEW} allocations are left; or growth may be chance; or most of what is older was "
        "released"
    ),
    "`levelling`, `growing`": "as of steps",
}
"""How growth is judged where blocks are released, too, in words."""


def rules_as_markdown() -> str:
    """Return the tables of docs/verdicts.md."""
    first = [(", ".join(f"`{kind}`" for kind in rule.kinds), rule.holds, rule.suggests) for rule in RULES]
    return "\n".join(
        (
            _table(("`kind`", "holds if", "suggests"), first),
            "Of a stack that goes up in steps:\n",
            _table(("`kind`", "holds if"), STEPS.items()),
            "Of a stack that adds and releases:\n",
            _table(("`kind`", "holds if"), GROWTH.items()),
        )
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (columns, ["---"] * len(columns), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
