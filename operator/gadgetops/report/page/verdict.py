"""What stands first in a report: whether there is a leak, in a sentence."""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from gadgetops.questions.leaks.leaks import Leak, Leaks
from gadgetops.units import format_bytes, plural

Level = Literal["leak", "perhaps", "none", "unknown"]

GROWING: Final = "growing"
_SLOWING: Final = "levelling"


class Verdict(NamedTuple):
    """
    What a recording says.

    Args:
        level: How bad it is.
        sentence: The same in words.
    """

    level: Level
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return it as a report's page reads it."""
        return self._asdict()


def verdict(answers: Sequence[Leaks]) -> Verdict:
    """Return the verdict on the recordings that *answers* are about."""
    if all(answer.certainty.word == "inconclusive" for answer in answers):
        return Verdict("unknown", "Nothing was recorded, so there is no verdict.")
    # As `leaks`: of the heap. Mappings are in the list, with who maps them.
    leaks = [leak for answer in answers for leak in answer.leaks if not leak.is_mapping]
    live_bytes = sum(answer.heap.live.size_bytes for answer in answers)
    return _of_growth(answers, leaks, live_bytes) or _without_growth(leaks, live_bytes)


def _of_growth(answers: Sequence[Leaks], leaks: Sequence[Leak], live_bytes: int) -> Verdict | None:
    if growing := _of_kind(GROWING, leaks):
        return Verdict("leak", f"Likely a leak: {_grow(growing)}, with {_of(growing, live_bytes)}.")
    if ended := _of_kind(GROWING, [leak for answer in answers for leak in answer.before_exit]):
        words = f"{_grow(ended)} until the program released all at its end"
        return Verdict("perhaps", f"Perhaps a leak: {words}.")
    if slowing := _of_kind(_SLOWING, leaks):
        words = f"{_grow(slowing)} but may level off, with {_of(slowing, live_bytes)}"
        return Verdict("perhaps", f"Perhaps a leak: {words}.")
    return None


def _without_growth(leaks: Sequence[Leak], live_bytes: int) -> Verdict:
    if not leaks:
        return Verdict("none", "No leak: everything that was allocated on the heap was released.")
    left = f"{format_bytes(live_bytes)} in {plural(len(leaks), 'place')}"
    if len(_of_kind("unclear", leaks)) == len(leaks):
        return Verdict("unknown", f"Not released: {left}. The recording does not show whether it grows.")
    return Verdict("none", f"No leak seen: nothing grows. Not released: {left}.")


def _of_kind(kind: str, leaks: Sequence[Leak]) -> list[Leak]:
    return [leak for leak in leaks if leak.trend.kind == kind]


def _grow(leaks: Sequence[Leak]) -> str:
    return "1 place grows" if len(leaks) == 1 else f"{plural(len(leaks), 'place')} grow"


def _of(leaks: Sequence[Leak], live_bytes: int) -> str:
    held = sum(leak.live_bytes for leak in leaks)
    return f"{format_bytes(held)} of the {format_bytes(live_bytes)} that were not released"
