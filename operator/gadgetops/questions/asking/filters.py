"""
Which allocations a question is about, and how its answer is grouped.

A filter chooses allocations, by the allocating call: who made it, when, how large, from where. Of what it
chose a question still sees the release, whenever and by whomever that was. Values of one filter are
alternatives, different filters all have to hold.
"""

import re
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, get_args

from gadgetops.questions.asking.stacks_of import Frame

GroupBy = Literal["stack", "function", "module", "thread", "process", "container"]
GROUPINGS: Final[tuple[GroupBy, ...]] = get_args(GroupBy)
"""What answers can be grouped by; function and module are those of the innermost frame."""

MAX_BIGINT: Final = 2**63 - 1


class Filters(NamedTuple):
    """
    Which allocations are asked for; by default all.

    Args:
        pids: Of the process that allocated.
        tids: Of the thread that allocated.
        functions: Any frame of the stack is in such a function. A text with `*` or `?` is a pattern for the
            whole name (`*`: any text, `?`: any character); another is a part of it. Case counts.
        modules: The same, for the path of the executable or library that a frame is in, or the name of its
            file.
        since_ns: Not before this time, in nanoseconds since the first event of the recording.
        until_ns: Before this time; None for the end.
        min_size_bytes: Smallest size asked for.
        max_size_bytes: Largest one; None for any.
    """

    pids: tuple[int, ...] = ()
    tids: tuple[int, ...] = ()
    functions: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    since_ns: int = 0
    until_ns: int | None = None
    min_size_bytes: int = 0
    max_size_bytes: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every allocation is chosen."""
        return self == ALL

    def has_thread(self, pid: int, tid: int) -> bool:
        """Whether that thread's allocations are chosen."""
        return (not self.pids or pid in self.pids) and (not self.tids or tid in self.tids)

    def frame_tests(self) -> list[Callable[[Frame], bool]]:
        """Return tests that each have to hold for some frame of a chosen allocation's stack."""
        tests: list[Callable[[Frame], bool]] = []
        if self.functions:
            in_function = _matcher(self.functions)
            tests.append(lambda frame: frame.function is not None and in_function(frame.function))
        if self.modules:
            in_module = _matcher(self.modules)
            tests.append(lambda frame: frame.module is not None and _is_module(frame.module, in_module))
        return tests


ALL: Final = Filters()
"""No filter: every allocation."""


def _is_module(path: str, matches: Callable[[str], bool]) -> bool:
    return matches(path) or matches(path.rpartition("/")[2])


def _matcher(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Return whether a name is matched by one of *patterns*."""
    expression = re.compile("|".join(map(_expression, patterns)), re.DOTALL)
    return lambda name: expression.fullmatch(name) is not None


def _expression(pattern: str) -> str:
    if "*" in pattern or "?" in pattern:
        parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in pattern)
        return "".join(parts)
    return f".*{re.escape(pattern)}.*"
