"""Leaks as text for people, what grows first, and as folded stacks."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

from gadgetops.questions.asking.certainty import Bounds
from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.asking.wrappers import wrappers
from gadgetops.questions.leaks.leaks import Amount, Leak, Leaks, total
from gadgetops.questions.leaks.rules import Kind
from gadgetops.report.drawing import Drawing
from gadgetops.units import format_bytes, format_duration, plural

Memory = Literal["heap", "mappings", "all"]
Sort = Literal["verdict", "bytes", "count", "age", "speed"]
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)
"""What rows are put in order by; `verdict` has what grows first."""

_OTHER: Final = {"heap": True, "mappings": False}
"""What is left out: whether it is a mapping."""
_CURVE_WIDTH: Final = 24
_FEW_FROM_STARTUP: Final = 3
_KEYS: Final[dict[Sort, Callable[[Leak], Any]]] = {
    "bytes": lambda leak: -leak.live_bytes,
    "count": lambda leak: -leak.live_count,
    "age": lambda leak: -leak.oldest_ns,
    "speed": lambda leak: -leak.trend.bytes_per_s,
}
_BELOW: Final[dict[Kind, str]] = {
    "growing": "that grow",
    "levelling": "that grow ever more slowly",
    "unclear": "of which nobody can tell yet",
    "plateau": "that do not grow any more",
    "recent": "in use at the end",
    "startup": "from start-up",
}


class View(NamedTuple):
    """
    Which stacks are shown, and how.

    Args:
        limit: So many rows; the lines below say what stands there.
        memory: Of the heap, of mappings, or of both.
        kinds: Verdicts that are shown; empty for all.
        sort: What rows are put in order by.
        drawing: How the course of each stack is drawn; None: not at all.
    """

    limit: int
    memory: Memory = "heap"
    kinds: tuple[Kind, ...] = ()
    sort: Sort = "verdict"
    drawing: Drawing | None = None


def leaks_as_text(leaks: Leaks, view: View) -> str:
    """Return *leaks* as lines: the totals, what is in doubt, and the stacks that *view* shows."""
    return "\n".join(_lines(leaks, view))


def folded(leak: Leak) -> str:
    """Return the stack of *leak* in one line, root first, frames parted by `;`."""
    frames = [frame_as_text(frame).replace(";", ":") for frame in reversed(leak.stack)]
    return ";".join(frames) or f"<{leak.no_stack}>"


def frame_as_text(frame: Frame) -> str:
    """Return `function file:line`, or as much of it as is known, or `module+0x…`, or `0x…`."""
    return printable(" ".join(filter(None, (frame.name, _where(frame)))))


def _lines(leaks: Leaks, view: View) -> Iterator[str]:
    yield from _head(leaks, view)
    chosen = chosen_leaks(leaks, view)
    folded_away = [] if view.kinds else _startup(chosen)
    rows = [leak for leak in chosen if leak not in folded_away]
    for leak in rows[: view.limit]:
        yield ""
        yield from _leak_lines(leak, view.drawing)
    yield from _before_exit(leaks, view, max(0, view.limit - len(rows)))
    below = [*_below(rows[view.limit :]), *_one_line(folded_away, "from start-up", "--kind startup")]
    if view.memory == "heap":
        below += [*_mappings(leaks)]
    if below:
        yield ""
        yield from below


def _before_exit(leaks: Leaks, view: View, limit: int) -> Iterator[str]:
    """Show what grew though the program released it at its end, in *limit* rows."""
    released = [leak for leak in leaks.before_exit if leak.is_mapping is not _OTHER.get(view.memory)]
    if not released or view.kinds:
        return
    growing = [leak for leak in released if leak.trend.kind in ("growing", "levelling")]
    of = f"of which {plural(len(growing), 'stack')} had grown" if growing else "nothing of which had grown"
    yield ""
    yield f"released at the program's end: {_amount(total(released))}, {of}"
    for leak in growing[:limit]:
        yield ""
        yield from _leak_lines(leak, view.drawing)
    if len(growing) > limit:
        yield from ("", f"{plural(len(growing) - limit, 'more stack')} that had grown; --limit shows them")


def _head(leaks: Leaks, view: View) -> Iterator[str]:
    part = {"heap": leaks.heap, "mappings": leaks.mappings}.get(view.memory)
    live, allocated = (leaks.live, leaks.allocated) if part is None else (part.live, part.allocated)
    yield f"{leaks.certainty.word}: {_amount(live)} not released, of {_amount(allocated)}"
    for reason in leaks.certainty.reasons:
        yield f"  {printable(reason)}"
    for note in leaks.certainty.notes:
        yield f"  note: {note}"
    if view.memory != "mappings":
        yield from _bounds_lines(leaks.heap_bounds if part is leaks.heap else leaks.bounds, live)
    for kept in leaks.kept:
        amount = _amount(Amount(kept.live_bytes, kept.live_count))
        yield f"  {kept.keeper} keeps {amount} more: {kept.what}"
    for each in leaks.suppressed:
        matched = f"{_amount(each.amount)} suppressed" if each.n_stacks else "matches nothing"
        yield f"  {each.suppression.place}: leak:{printable(each.suppression.pattern)}: {matched}"


def chosen_leaks(leaks: Leaks, view: View) -> list[Leak]:
    """Return what *view* chooses of *leaks*, in its order."""
    chosen = [leak for leak in leaks.leaks if leak.is_mapping is not _OTHER.get(view.memory)]
    if view.kinds:
        chosen = [leak for leak in chosen if leak.trend.kind in view.kinds]
    key = _KEYS.get(view.sort)
    return chosen if key is None else sorted(chosen, key=key)


def _startup(leaks: Sequence[Leak]) -> list[Leak]:
    """Return the stacks of start-up, unless they are so few that each can be shown."""
    found = [leak for leak in leaks if leak.trend.kind == "startup"]
    return found if len(found) > _FEW_FROM_STARTUP else []


def _below(rest: Sequence[Leak]) -> Iterator[str]:
    """Say what stands below the last row, kind by kind."""
    for kind, words in _BELOW.items():
        of_kind = [leak for leak in rest if leak.trend.kind == kind]
        yield from _one_line(of_kind, words, "--limit" if kind == "startup" else f"--kind {kind}")


def _one_line(leaks: Sequence[Leak], words: str, option: str) -> Iterator[str]:
    if leaks:
        stacks = plural(len(leaks), "more stack" if words != "from start-up" else "stack")
        yield f"{stacks} {words}, {_amount(total(leaks))}; {option} shows them"


def _mappings(leaks: Leaks) -> Iterator[str]:
    """Say what is mapped, by whom, in a line each."""
    left = [leak for leak in leaks.leaks if leak.is_mapping]
    owners = dict.fromkeys(leak.owner for leak in sorted(left, key=lambda leak: leak.owner or ""))
    for owner in owners:
        amount = total([leak for leak in left if leak.owner == owner])
        of = "" if owner is None else f", {owner}"
        mappings = f"{format_bytes(amount.size_bytes)} in {plural(amount.count, 'mapping')}{of}"
        yield f"besides the heap: {mappings}; --memory mappings shows them"


def _bounds_lines(found: Bounds, live: Amount) -> Iterator[str]:
    if found.at_least_bytes is None or found.at_least_count is None:
        yield "  lower bound unknown"
    elif (found.at_least_bytes, found.at_most_bytes) != (live.size_bytes,) * 2:
        least = _amount(Amount(found.at_least_bytes, found.at_least_count))
        most = "" if found.at_most_bytes is not None else "; upper bound unknown"
        yield f"  at least {least}{most}"


def _leak_lines(leak: Leak, drawing: Drawing | None) -> Iterator[str]:
    amount = _amount(Amount(leak.live_bytes, leak.live_count), leak.is_mapping)
    yield f"{amount}, {_age(leak)}{_at(leak)}"
    if leak.owner is not None:
        yield f"  {leak.owner}"
    if drawing is not None and leak.curve:
        yield f"  {drawing.sparkline(leak.curve, _CURVE_WIDTH)}"
    yield f"  {leak.trend.sentence}"
    if leak.no_stack is not None:
        yield f"  <{leak.no_stack}>"
    for frame in leak.stack:
        yield f"  {frame_as_text(frame)}"


def _at(leak: Leak) -> str:
    """Name the place, where it is not the first frame that stands below."""
    place = wrappers().place(leak.stack)
    return "" if place is None or place is leak.stack[0] else f", in {printable(place.name)}"


def _age(leak: Leak) -> str:
    """Return how old it is when the recording ends."""
    oldest, youngest = format_duration(leak.oldest_ns), format_duration(leak.youngest_ns)
    if leak.live_count == 1 or leak.oldest_ns == leak.youngest_ns or oldest == youngest:
        return f"{oldest} old"
    return f"{youngest} to {oldest} old" if leak.youngest_ns else f"up to {oldest} old"


def _amount(amount: Amount, is_mapping: bool = False) -> str:
    noun = "mapping" if is_mapping else "allocation"
    return f"{format_bytes(amount.size_bytes)} in {plural(amount.count, noun)}"


def _where(frame: Frame) -> str | None:
    """Return `file:line`, and for a function without one the module it is in."""
    if frame.file is not None:
        return frame.file if frame.line is None else f"{frame.file}:{frame.line}"
    return frame.module if frame.function is not None else None


def printable(text: str) -> str:
    """Return *text* without what a terminal would obey: names come from the traced program."""
    return "".join(character if character.isprintable() else "�" for character in text)
