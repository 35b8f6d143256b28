"""A gate's verdict for people: as text, and as Markdown for a pull request."""

from collections.abc import Iterator
from typing import Final

from gadgetops.questions.leaks.budget import IN_BYTES, MEMORY, NAMES, Finding, Gate
from gadgetops.report.leaks import folded, frame_as_text
from gadgetops.units import format_bytes, format_count

_WORDS = {"ok": "ok", "exceeded": "exceeded for certain", "inconclusive": "possibly exceeded"}
_HEADINGS = {"ok": "within budget", "exceeded": "over budget", "inconclusive": "inconclusive"}
_SHOWN_FRAMES = 3

WHAT: Final = {
    **{str(name): text for name, text in NAMES.items()},
    "baseline": "bytes never released above the baseline",
}
"""What each finding is about, in words."""


def gate_as_text(gate: Gate, *, limit: int) -> str:
    """Return the verdict, each budget in a line, and the first *limit* stacks of what is exceeded."""
    return "\n".join(_lines(gate, limit))


def gate_as_markdown(gate: Gate, name: str, *, limit: int) -> str:
    """Return the same as a summary of the recording called *name*."""
    return "\n".join(_markdown_lines(gate, name, limit)) + "\n"


def finding_as_text(finding: Finding) -> str:
    """Return a budget and what was found in one line."""
    found = f"{WHAT[finding.name]}: {_amount(finding, finding.value)}"
    return f"{_WORDS[finding.verdict]}: {found}{_allowed(finding)}{_bounds(finding)}"


def _lines(gate: Gate, limit: int) -> Iterator[str]:
    is_whole = gate.certainty.word == "certain"
    yield gate.verdict if is_whole else f"{gate.verdict}: something is missing from the recording"
    for reason in gate.certainty.reasons:
        yield f"  {reason}"
    for finding in gate.findings:
        yield finding_as_text(finding)
    yield from memory_lines(gate)
    for finding in gate.findings:
        for leak in finding.evidence[:limit]:
            yield ""
            yield f"{finding.name}: {format_bytes(leak.live_bytes)} in {format_count(leak.live_count)}"
            yield from (f"  {frame_as_text(frame)}" for frame in leak.stack)
            if leak.no_stack is not None:
                yield f"  <{leak.no_stack}>"


def memory_lines(gate: Gate) -> Iterator[str]:
    """Say which memory each budget limits, in one line for all of the same."""
    names: dict[str, list[str]] = {}
    for finding in gate.findings:
        names.setdefault(MEMORY.get(finding.name, "the heap"), []).append(finding.name)
    for memory, found in names.items():
        yield f"  {', '.join(found)}: of {memory}"


def _markdown_lines(gate: Gate, name: str, limit: int) -> Iterator[str]:
    yield f"### Memory of `{_code(name)}`: {_HEADINGS[gate.verdict]}"
    yield ""
    yield "| budget | found | at least | at most | allowed | |"
    yield "|---|---:|---:|---:|---:|---|"
    for finding in gate.findings:
        values = (finding.value, finding.at_least, finding.at_most, finding.limit)
        cells = ("?" if value is None else _amount(finding, value) for value in values)
        yield f"| {finding.name} | {' | '.join(cells)} | {_WORDS[finding.verdict]} |"
    yield from (f"\n{line.strip()}" for line in memory_lines(gate))
    for reason in gate.certainty.reasons:
        yield f"\n{gate.certainty.word}: {reason}"
    for finding in gate.findings:
        yield from _details(finding, limit)


def _details(finding: Finding, limit: int) -> Iterator[str]:
    if not finding.evidence:
        return
    yield f"\n<details><summary>{finding.name}: {format_count(len(finding.evidence))} stacks</summary>\n"
    yield "| bytes | count | stack |"
    yield "|---:|---:|---|"
    for leak in finding.evidence[:limit]:
        stack = ";".join(folded(leak).split(";")[-_SHOWN_FRAMES:])
        yield f"| {format_bytes(leak.live_bytes)} | {format_count(leak.live_count)} | `{_code(stack)}` |"
    yield "\n</details>"


def _amount(finding: Finding, value: int) -> str:
    return format_bytes(value) if finding.name in IN_BYTES else format_count(value)


def _allowed(finding: Finding) -> str:
    return "" if finding.name == "baseline" else f", allowed {_amount(finding, finding.limit)}"


def _bounds(finding: Finding) -> str:
    if finding.at_least == finding.at_most == finding.value:
        return ""
    least, most = (
        "nobody can say" if value is None else _amount(finding, value)
        for value in (finding.at_least, finding.at_most)
    )
    return f" (at least {least}, at most {most})"


def _code(text: str) -> str:
    """Return *text* as it may stand between backticks in a table."""
    return text.replace("`", "'").replace("|", "\\|").replace("\n", " ")
