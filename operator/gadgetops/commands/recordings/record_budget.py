"""What `gadgetops record` may cost processes that run already: said, asked about, or refused."""

import sys
from typing import TYPE_CHECKING, Final

import click

from gadgetops.commands.common import messages
from gadgetops.errors import TooExpensive, TraceError, UsageError

if TYPE_CHECKING:
    from gadgetops.trace.cost.pace import Budget
    from gadgetops.trace.targets.base import Target

DEFAULT_PERCENT: Final = 20
_REFUSED_ABOVE: Final = 2.0
"""How many times as slow a target may become that nobody at a terminal has agreed to."""


def agreed_budget(
    target: "Target", *, collect_stacks: bool, max_percent: float | None, is_forced: bool
) -> "Budget | None":
    """
    Say what recording *target* costs, and return what it may cost; None for whatever it does.

    Args:
        target: Runs already.
        collect_stacks: Whether stacks are recorded.
        max_percent: What `--max-slowdown` says; None if it was not given.
        is_forced: Whether `--force` was.

    Raises:
        TooExpensive: It costs too much, and nobody is there to ask.
        UsageError: Somebody was asked, and wants nothing recorded.
    """
    from gadgetops.trace.cost.pace import Budget
    from gadgetops.trace.cost.price import price_of, said_slowdown
    from gadgetops.trace.processes import is_alive

    try:
        price = price_of(target.counted(), collect_stacks=collect_stacks)
    except TraceError as error:
        if all(map(is_alive, target.pids())):
            messages.warn(f"what tracing costs is not known: {error.problem}")
        return None
    messages.say(price.sentence)
    allowed = 1 + (DEFAULT_PERCENT if max_percent is None else max_percent) / 100
    budget = Budget(allowed, price)
    if is_forced:
        return None
    if not budget.needs_windows:
        return budget
    if max_percent is None:
        if sys.stdin.isatty() and sys.stderr.isatty():
            if _wants_everything(said_slowdown(allowed)):
                return None
        elif price.slowdown > _REFUSED_ABOVE:
            raise TooExpensive(
                price.sentence,
                hint=f"--max-slowdown {DEFAULT_PERCENT}% records a part of the time, --force everything",
            )
    share = f"{budget.duty:.0%} of the time"
    messages.say(
        f"recording in windows, {share}, to slow it by at most {said_slowdown(allowed)}:"
        " what happens between them is not seen (--force records everything)"
    )
    return budget


def _wants_everything(allowed: str) -> bool:
    """Ask what to do, and return whether to record everything whatever it costs."""
    choice = click.prompt(
        f"That is more than {allowed}. Record in [w]indows that keep it below, [e]verything, or [n]othing?",
        type=click.Choice(["w", "e", "n"]),
        default="w",
        show_choices=False,
        err=True,
    )
    if choice == "n":
        raise UsageError("nothing was recorded")
    return bool(choice == "e")
