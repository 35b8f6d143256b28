"""
A complete graph as Markdown: a flowchart, a legend of its shapes and arrows, and where each use stands.

Names become identifiers that Mermaid parses whatever they are; labels keep the names.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Final

from gadgetops.bpf.btf_ext import Line
from gadgetops.bpf.diagrams.complete import CompleteGraph, Use
from gadgetops.bpf.diagrams.counts import UNKNOWN, Counts
from gadgetops.bpf.diagrams.mermaid import identifiers
from gadgetops.bpf.maps import Map

LEGEND: Final = (
    "Rounded: what a program is attached to. Rectangle: a program. Cylinder: a map, with its type and most "
    "entries. Solid arrow: helpers that a program calls on a map, whether a branch leads there or not. "
    "Dotted arrow: a program is attached, or a map holds a map or program, at the index it bears."
)
COUNTS_LEGEND: Final = (
    "Numbers on solid arrows: how often the call was made; on dotted ones to programs: how often the program "
    "ran. ≤: at most so often, since a branch leads around the call; ≥: at least so often; none: not known."
)
_UNSAFE: Final = re.compile(r"[^\w .,:;/()\[\]+*=?!@-]")


def complete_markdown(graph: CompleteGraph, counts: Counts | None = None) -> str:
    """
    Return *graph* as Markdown, with *counts* if there are any; ends with a line feed.

    Links to source lines are relative to the gadget's folder, as the object names its sources; files outside
    of it are named without a link.
    """
    lines = ["```mermaid", *_flowchart(graph, counts), "```", "", f"_{LEGEND}_"]
    if counts is not None:
        lines += ["", f"_{_cell(counts.caption, is_code=False)}_", "", f"_{COUNTS_LEGEND}_"]
    if graph.uses:
        titles = ["program", "calls", "on map", *([] if counts is None else ["times"]), "source"]
        lines += ["", f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
        lines += [_row(use, counts) for use in graph.uses]
    return "".join(f"{line}\n" for line in lines)


def _flowchart(graph: CompleteGraph, counts: Counts | None) -> Iterator[str]:
    sections = dict.fromkeys(graph.programs.values())
    hooks = {section: f"hook {number}" for number, section in enumerate(sections, start=1)}
    names = {
        *graph.programs,
        *graph.maps,
        *(each.held for each in graph.held),
        *(use.map for use in graph.uses),
    }
    node = identifiers(names)
    of_hook = {hook: _free(hook.replace(" ", ""), set(node.values())) for hook in hooks.values()}
    yield "flowchart LR"
    for section, hook in hooks.items():
        yield f'{of_hook[hook]}(["{_label(section)}"])'
    for name, found in graph.maps.items():
        told = "" if counts is None else counts.maps.get(name, "")
        yield f'{node[name]}[("{_map_label(name, found)}{f"<br>{_label(told)}" if told else ""}")]'
    for program, section in graph.programs.items():
        yield f'{node[program]}["{_label(program)}"]'
        yield f"{of_hook[hooks[section]]} {_dotted(program, counts)} {node[program]}"
        for name, verbs in _verbs(graph.uses, program, counts).items():
            yield f'{node[program]} -- "{", ".join(verbs)}" --> {node[name]}'
        if program in graph.runs_on:
            yield f'{node[graph.runs_on[program]]} -. "each entry" .-> {node[program]}'
    for held in graph.held:
        label = "any" if held.position is None else str(held.position)
        yield f'{node[held.map]} -. "{label}" .-> {node[held.held]}'


def _free(identifier: str, taken: set[str]) -> str:
    while identifier in taken:
        identifier += "_"
    return identifier


def _dotted(program: str, counts: Counts | None) -> str:
    """Return the arrow from what *program* is attached to."""
    times = "" if counts is None else str(counts.runs.get(program, UNKNOWN))
    return f'-. "{times}" .->' if times else "-.->"


def _verbs(uses: Iterable[Use], program: str, counts: Counts | None) -> dict[str, list[str]]:
    """Return the verbs of *program* by map, in order of first use, each with its count if there are any."""
    found: dict[str, list[str]] = {}
    for use in uses:
        if use.program == program:
            found.setdefault(use.map, []).append(" ".join([use.verb, *_times(use, counts)]).strip())
    return found


def _times(use: Use, counts: Counts | None) -> list[str]:
    return [] if counts is None else [str(counts.uses.get(use[:3], UNKNOWN))]


def _map_label(name: str, found: Map) -> str:
    entries = f", {found.max_entries}" if found.max_entries else ""
    return f"{_label(name)}<br>{found.type_name}{entries}"


def _label(text: str) -> str:
    """Return *text* as a label: what Mermaid or HTML could take for its own becomes a numbered character."""
    return _UNSAFE.sub(lambda found: f"#{ord(found[0])};", text)


def _row(use: Use, counts: Counts | None) -> str:
    cells = [_cell(use.program), use.verb, _cell(use.map), *_times(use, counts), _place(use.line)]
    return f"| {' | '.join(cells)} |"


def _cell(text: str, *, is_code: bool = True) -> str:
    """Return *text* as code, or with what Markdown could take for its own escaped."""
    if is_code and not _UNSAFE.search(text):
        return f"`{text}`"
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text)


def _place(line: Line | None) -> str:
    if line is None or not line.file:
        return ""
    path = posixpath.normpath(line.file)
    shown = f"{posixpath.basename(path)}:{line.number}"
    is_here = not path.startswith(("/", "..")) and not re.search(r"[\s()<>|]", path)
    return f"[{shown}]({path}#L{line.number})" if is_here else _cell(shown)
