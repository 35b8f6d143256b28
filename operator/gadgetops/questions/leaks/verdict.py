"""
Leak, cache or start-up? What the course of a stack's live bytes suggests, in a word and in a sentence.

A heuristic, and a pure function of a `Course`. It asks two clocks that follow what the program did
(`activity`), so that a starved machine, a pause, traffic that ended or one allocation a second do not change
the verdict. The rules are `rule_table.RULES`; docs/verdicts.md shows them.
"""

from typing import Any, Final, NamedTuple

from gadgetops.questions.leaks.activity import Activity
from gadgetops.questions.leaks.course import Course
from gadgetops.questions.leaks.course_words import rate
from gadgetops.questions.leaks.rule_table import RULES
from gadgetops.questions.leaks.rules import Kind, doubted
from gadgetops.units import format_duration

_MEANING: Final = {
    "growing": "likely a leak",
    "levelling": "grows ever more slowly",
    "plateau": "does not grow any more",
    "startup": "allocated once",
    "recent": "in use at the end",
    "unclear": "cannot tell",
}
_CACHE: Final = {
    "levelling": "grows ever more slowly, like a cache that fills",
    "plateau": "does not grow, like a full cache",
}
"""What is said instead of a stack whose blocks are released or replaced."""


class Trend(NamedTuple):
    """
    What the course of a stack's live bytes suggests.

    Args:
        kind: The rule that held.
        meaning: What that suggests, in words.
        reason: What was seen, in words.
        bytes_per_s: By how much it grew over the last half of the recording, a second of the wall clock.
        record_for_ns: How much longer to record for a verdict; None where there is one.
    """

    kind: Kind
    meaning: str
    reason: str
    bytes_per_s: int
    record_for_ns: int | None = None

    @property
    def sentence(self) -> str:
        """What it is taken for, and why."""
        return f"{self.meaning}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """Return it as the documented JSON."""
        return self._asdict()


def verdict(course: Course, activity: Activity) -> Trend:
    """Return what *course* suggests, by the rules of docs/verdicts.md."""
    found = next(finding for rule in RULES if (finding := rule.find(course, activity)) is not None)
    found = doubted(found, course, activity)
    meaning = _CACHE.get(found.kind) if course.replaces else None
    missing = found.missing_share
    wait_ns = None if missing is None else max(1_000_000_000, int(missing * activity.active_ns))
    if wait_ns is not None:
        found = found._replace(reason=f"{found.reason}; record for {format_duration(wait_ns)} more")
    return Trend(found.kind, meaning or _MEANING[found.kind], found.reason, rate(course, activity), wait_ns)


def without_releases(trend: Trend, why: str) -> Trend:
    """Return *trend* as one that cannot tell, since releases were not seen, as *why* says."""
    reason = f"{why}; of what was seen: {trend.reason}"
    return trend._replace(kind="unclear", meaning=_MEANING["unclear"], reason=reason, record_for_ns=None)
