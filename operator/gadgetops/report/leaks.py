"""Leaks as text for people, and as folded stacks."""

from collections.abc import Iterator

from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.leaks.leaks import Amount, Leak, Leaks
from gadgetops.units import format_bytes, format_duration, plural


def leaks_as_text(leaks: Leaks, *, limit: int) -> str:
    """Return *leaks* as lines: the total, what is in doubt, and the first *limit* stacks leaf first."""
    return "\n".join(_lines(leaks, limit))


def folded(leak: Leak) -> str:
    """Return the stack of *leak* in one line, root first, frames parted by `;`."""
    frames = [frame_as_text(frame).replace(";", ":") for frame in reversed(leak.stack)]
    return ";".join(frames) or f"<{leak.no_stack}>"


def frame_as_text(frame: Frame) -> str:
    """Return `function file:line`, or as much of it as is known, or `module+0x…`, or `0x…`."""
    return _printable(" ".join(filter(None, (frame.name, _where(frame)))))


def _lines(leaks: Leaks, limit: int) -> Iterator[str]:
    of = _amount(leaks.allocated)
    yield f"{leaks.certainty.word}: {_amount(leaks.live)} not released, of {of}"
    for reason in leaks.certainty.reasons:
        yield f"  {_printable(reason)}"
    yield from _bounds_lines(leaks)
    for kept in leaks.kept:
        amount = _amount(Amount(kept.live_bytes, kept.live_count))
        yield f"  the C library keeps {amount} more: {kept.what}"
    for each in leaks.suppressed:
        matched = f"{_amount(each.amount)} suppressed" if each.n_stacks else "matches nothing"
        yield f"  {each.suppression.place}: leak:{_printable(each.suppression.pattern)}: {matched}"
    for leak in leaks.leaks[:limit]:
        yield ""
        yield from _leak_lines(leak)
    left_out = len(leaks.leaks) - limit
    if left_out > 0:
        yield f"\n{plural(left_out, 'more stack')}; --limit shows them"


def _bounds_lines(leaks: Leaks) -> Iterator[str]:
    found = leaks.bounds
    if found.at_least_bytes is None or found.at_least_count is None:
        yield "  how much it is at least, nobody can say"
    elif (found.at_least_bytes, found.at_most_bytes) != (leaks.live.size_bytes,) * 2:
        least = _amount(Amount(found.at_least_bytes, found.at_least_count))
        most = "" if found.at_most_bytes is not None else ", and at most what nobody can say"
        yield f"  at least {least}{most}"


def _leak_lines(leak: Leak) -> Iterator[str]:
    yield f"{_amount(Amount(leak.live_bytes, leak.live_count))}, {_age(leak)}"
    yield f"  {leak.trend.sentence}"
    if leak.no_stack is not None:
        yield f"  <{leak.no_stack}>"
    for frame in leak.stack:
        yield f"  {frame_as_text(frame)}"


def _age(leak: Leak) -> str:
    """Return how old it is when the recording ends."""
    oldest, youngest = format_duration(leak.oldest_ns), format_duration(leak.youngest_ns)
    if leak.live_count == 1 or leak.oldest_ns == leak.youngest_ns or oldest == youngest:
        return f"{oldest} old"
    return f"{youngest} to {oldest} old" if leak.youngest_ns else f"up to {oldest} old"


def _amount(amount: Amount) -> str:
    return f"{format_bytes(amount.size_bytes)} in {plural(amount.count, 'allocation')}"


def _where(frame: Frame) -> str | None:
    """Return `file:line`, and for a function without one the module it is in."""
    if frame.file is not None:
        return frame.file if frame.line is None else f"{frame.file}:{frame.line}"
    return frame.module if frame.function is not None else None


def _printable(text: str) -> str:
    """Return *text* without what a terminal would obey: names come from the traced program."""
    return "".join(character if character.isprintable() else "�" for character in text)
