"""Leaks as text for people, and as folded stacks."""

from collections.abc import Iterator

from gadgetops.analysis.leaks import Leak, Leaks
from gadgetops.analysis.stacks_of import Frame
from gadgetops.units import format_bytes, plural


def leaks_as_text(leaks: Leaks, *, limit: int) -> str:
    """Return *leaks* as lines: the total, what is in doubt, and the first *limit* stacks leaf first."""
    return "\n".join(_lines(leaks, limit))


def folded(leak: Leak) -> str:
    """Return the stack of *leak* in one line, root first, frames parted by `;`."""
    frames = [frame_as_text(frame).replace(";", ":") for frame in reversed(leak.stack)]
    return ";".join(frames) or f"<{leak.no_stack}>"


def frame_as_text(frame: Frame) -> str:
    """Return `function file:line`, or as much of it as is known, or `module+0x…`, or `0x…`."""
    return _printable(" ".join(filter(None, (_what(frame), _where(frame)))))


def _lines(leaks: Leaks, limit: int) -> Iterator[str]:
    total = f"{format_bytes(leaks.live.size_bytes)} in {plural(leaks.live.count, 'allocation')}"
    allocated = f"{format_bytes(leaks.allocated.size_bytes)} in {plural(leaks.allocated.count, 'allocation')}"
    yield f"{leaks.certainty}: {total} not released, of {allocated}"
    for reason in leaks.reasons:
        yield f"  {_printable(reason)}"
    if leaks.at_least is not None and leaks.at_least != leaks.live:
        least = leaks.at_least
        yield f"  at least {format_bytes(least.size_bytes)} in {plural(least.count, 'allocation')}"
    for leak in leaks.leaks[:limit]:
        yield ""
        yield from _leak_lines(leak)
    left_out = len(leaks.leaks) - limit
    if left_out > 0:
        yield f"\n{plural(left_out, 'more stack')}; --limit shows them"


def _leak_lines(leak: Leak) -> Iterator[str]:
    yield f"{format_bytes(leak.live_bytes)} in {plural(leak.live_count, 'allocation')}"
    if leak.no_stack is not None:
        yield f"  <{leak.no_stack}>"
    for frame in leak.stack:
        yield f"  {frame_as_text(frame)}"


def _what(frame: Frame) -> str:
    if frame.function is not None:
        return frame.function
    if frame.module is not None and frame.module_offset is not None:
        return f"{frame.module}+{frame.module_offset:#x}"
    return f"{frame.address:#x}" if frame.address else "<unknown>"


def _where(frame: Frame) -> str | None:
    """Return `file:line`, and for a function without one the module it is in."""
    if frame.file is not None:
        return frame.file if frame.line is None else f"{frame.file}:{frame.line}"
    return frame.module if frame.function is not None else None


def _printable(text: str) -> str:
    """Return *text* without what a terminal would obey: names come from the traced program."""
    return "".join(character if character.isprintable() else "�" for character in text)
