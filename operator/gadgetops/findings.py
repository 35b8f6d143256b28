"""One line of what `doctor` says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gadgetops.errors import GadgetOpsError

State = Literal["works", "limited", "missing", "unknown"]
"""`limited`: it works with less; `unknown`: something else that is missing keeps it from being asked."""


@dataclass(frozen=True)
class Finding:
    """
    What was found of one thing.

    Attributes:
        area: What it is needed for: `recording`, `stacks`, `containers`, `images`, `process` …
        name: The thing.
        state: Whether it is there.
        detail: What was found.
        remedy: The one thing to do about it; None where nothing has to be done.
        is_needed: Whether `record` ends with an error without it.
    """

    area: str
    name: str
    state: State
    detail: str
    remedy: str | None = None
    is_needed: bool = False

    @property
    def prevents_recording(self) -> bool:
        """Whether `record` ends with an error because of it."""
        return self.is_needed and self.state == "missing"


def asked(
    area: str, name: str, ask: Callable[[], str], *, is_needed: bool = False, otherwise: State = "missing"
) -> Finding:
    """
    Return what *ask* found: its text, or the error that it raised and the hint of it.

    Args:
        area: As of `Finding`.
        name: As of `Finding`.
        ask: Code that a recording runs, too.
        is_needed: As of `Finding`.
        otherwise: The state after an error.
    """
    try:
        return Finding(area, name, "works", ask(), is_needed=is_needed)
    except GadgetOpsError as error:
        return Finding(area, name, otherwise, error.problem, error.hint, is_needed=is_needed)
