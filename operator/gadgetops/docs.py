"""
Generated regions of Markdown documents: what stands between two comments is written by the program, all else
by people.

    <!-- begin flowchart -->
    …
    <!-- end flowchart -->

Each comment stands on a line of its own and outside of code, as CommonMark has it. What follows the name in
the first one is a remark and kept. Content is indented as the first comment is, so that a region in a list
item stays there. Nothing outside of the regions is touched, not even line ends. A diagram depends on the
gadget alone, neither on the compiler nor on the architecture, so no region records what it was made with, and
the check says the same on every machine.

Which regions there are is for the caller, who gives each name's content; those of a gadget are made here.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

from gadgetops.bpf.contract import Contract
from gadgetops.bpf.diagrams import mermaid
from gadgetops.bpf.diagrams.complete import CompleteGraph
from gadgetops.bpf.diagrams.complete_markdown import complete_markdown
from gadgetops.bpf.diagrams.counts import Counts
from gadgetops.bpf.diagrams.graph import Graph
from gadgetops.bpf.object import Object
from gadgetops.errors import DriftError, MarkdownError, StorageError, UsageError
from gadgetops.whole_files import replacing_files

Content = Callable[[], str]
"""Makes the content of a region, line feeds after every line; called only if a document has that region."""
CountEdges = Callable[[Object, CompleteGraph], Counts]
"""Says how often the edges of an object's graph were taken."""

_MARK: Final = re.compile(r"\ufeff?(?P<indent>\s*)<!--\s*(?P<side>begin|end)\s+(?P<name>\S+)(\s.*)?-->\s*")
_CODE: Final = ("fence", "code_block")
"""How markdown-it calls blocks of code."""


@dataclass(frozen=True)
class Region:
    """
    A generated part of a document.

    Attributes:
        name: As both marks have it.
        begin: Index of the line that holds the first mark.
        end: Index of the line that holds the second.
    """

    name: str
    begin: int
    end: int


@dataclass(frozen=True)
class Document:
    """
    A Markdown document.

    Attributes:
        path: Its file.
        lines: All of it, each line with its own end.
        regions: In order; each name once.
    """

    path: Path
    lines: tuple[str, ...]
    regions: tuple[Region, ...]

    @classmethod
    def read(cls, path: Path) -> "Document":
        """
        Return the document in the file *path*.

        Raises:
            MarkdownError: It is no UTF-8 text, or its marks do not pair.
            StorageError: It cannot be read.
        """
        try:
            return cls.from_bytes(path, path.read_bytes())
        except OSError as error:
            raise StorageError.from_os_error(error, path) from error

    @classmethod
    def from_bytes(cls, path: Path, content: bytes) -> "Document":
        """Return the document of *content*; raise `MarkdownError` as `read` does."""
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise MarkdownError(path, line, "not UTF-8 text") from error
        lines = tuple(re.findall(r"[^\n]*\n|[^\n]+", text))
        return cls(path, lines, tuple(_regions(path, lines)))

    def content(self, region: Region) -> str:
        """Return what stands in *region*, with the line ends it has."""
        return "".join(self.lines[region.begin + 1 : region.end])

    def updated(self, contents: Mapping[str, Content]) -> "Document":
        """
        Return this document with the content of each region made anew.

        Args:
            contents: By name of the region.

        Raises:
            MarkdownError: A region has another name, or its content would not read as content.
        """
        made = [(region, self._made(region, contents)) for region in self.regions]
        lines: list[str] = []
        rest = 0
        for region, text in made:
            begin = self.lines[region.begin]
            line_end = "\r\n" if begin.endswith("\r\n") else "\n"
            indent = found["indent"] if (found := _MARK.fullmatch(begin)) else ""
            lines += self.lines[rest : region.begin + 1]
            lines += [f"{indent if line else ''}{line}{line_end}" for line in text.split("\n")[:-1]]
            rest = region.end
        return Document.from_bytes(self.path, "".join([*lines, *self.lines[rest:]]).encode())

    def _made(self, region: Region, contents: Mapping[str, Content]) -> str:
        line = region.begin + 1
        if region.name not in contents:
            nearest = difflib.get_close_matches(region.name, contents, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(contents)}"
            raise MarkdownError(self.path, line, f"unknown region {region.name!r}", hint=hint)
        text = contents[region.name]()
        if any(map(_MARK.fullmatch, text.split("\n"))):
            raise MarkdownError(self.path, line, f"the content of {region.name} holds a mark itself")
        return text


def write(documents: Sequence[Document], contents: Mapping[str, Content]) -> list[Path]:
    """
    Rewrite the regions of *documents*, all of them or none, and return the files that changed.

    Raises:
        UsageError: No document has a region.
        MarkdownError: A region is unknown.
        StorageError: A file cannot be written; nothing has changed then.
    """
    _require_regions(documents)
    updated = {document.path: (document, document.updated(contents)) for document in documents}
    changed = {
        path: "".join(new.lines).encode() for path, (old, new) in updated.items() if old.lines != new.lines
    }
    with replacing_files(changed):
        pass
    return list(changed)


def check(documents: Sequence[Document], contents: Mapping[str, Content]) -> list[DriftError]:
    """
    Return what `write` would change, an error for each file.

    Raises:
        UsageError: No document has a region.
        MarkdownError: A region is unknown.
    """
    _require_regions(documents)
    pairs = [(document, document.updated(contents)) for document in documents]
    return [_drift(old, new) for old, new in pairs if old.lines != new.lines]


def diagrams(
    read_object: Callable[[], Object], *, is_complete: bool = False, count: CountEdges | None = None
) -> dict[str, Content]:
    """
    Return the regions `flowchart` and `sequence` of a gadget.

    Args:
        read_object: Returns the gadget's object; called only if one of them is needed.
        is_complete: Draw in the flowchart what ig leaves out, too, with a legend and links to the source.
        count: Says how often each edge was taken, if the complete flowchart is to show it.
    """
    drawings = {"flowchart": mermaid.flowchart, "sequence": mermaid.sequence}
    regions: dict[str, Content] = {
        name: partial(_diagram, draw, read_object) for name, draw in drawings.items()
    }
    if is_complete:
        regions["flowchart"] = partial(_complete, read_object, count)
    return regions


def fenced(text: str, language: str) -> str:
    """Return *text* as a code block, whatever runs of backticks it holds."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`{3,}", text))])
    return f"{fence}{language}\n{text}{fence}\n"


def _diagram(draw: Callable[..., str], read_object: Callable[[], Object]) -> str:
    return fenced(draw(Graph.from_object(read_object()), is_escaped=True), "mermaid")


def _complete(read_object: Callable[[], Object], count: CountEdges | None) -> str:
    obj = read_object()
    runs_on = None if obj.btf is None else Contract.from_object(obj).target_maps
    graph = CompleteGraph.from_object(obj, runs_on)
    return complete_markdown(graph, None if count is None else count(obj, graph))


def _require_regions(documents: Sequence[Document]) -> None:
    if not any(document.regions for document in documents):
        names = ", ".join(str(document.path) for document in documents)
        raise UsageError(
            f"{names}: no generated region",
            hint="put `<!-- begin flowchart -->` and `<!-- end flowchart -->` where the diagram is to stand",
        )


def _regions(path: Path, lines: Sequence[str]) -> Iterator[Region]:
    """Yield the regions of *lines*; raise `MarkdownError` where marks do not pair."""
    seen: set[str] = set()
    begun: tuple[str, int] | None = None
    marks = {index: found for index, line in enumerate(lines) if (found := _MARK.fullmatch(line))}
    code = _lines_of_code(lines, marks) if marks else set()
    for index, mark in marks.items():
        if index in code:
            continue
        name = mark["name"]
        if mark["side"] == "begin":
            _check_begin(path, index, name, begun, seen)
            begun = name, index
            seen.add(name)
        else:
            yield Region(name, _check_end(path, index, name, begun), index)
            begun = None
    if begun is not None:
        raise MarkdownError(path, begun[1] + 1, f"region {begun[0]} has no end")


def _lines_of_code(lines: Sequence[str], marks: Mapping[int, re.Match[str]]) -> set[int]:
    """
    Return the indices of the *lines* that are code: fenced or indented, in lists and quotations as well.

    The content of regions is left out: it is generated, and a fence in it that was cut by hand would make all
    that follows code.
    """
    # Imported here: a document without marks needs none of it.
    from markdown_it import MarkdownIt  # noqa: PLC0415

    # A lone carriage return ends a line there, and not here.
    text = [line.rstrip("\r\n").replace("\r", " ") for line in lines]
    text[0] = text[0].removeprefix("\ufeff")
    for (begin, first), (end, second) in pairwise(marks.items()):
        if (first["side"], second["side"]) == ("begin", "end") and first["name"] == second["name"]:
            text[begin + 1 : end] = [""] * (end - begin - 1)
    tokens = MarkdownIt("commonmark").disable("inline").parse("\n".join(text))
    blocks = (token.map for token in tokens if token.type in _CODE and token.map)
    return {index for first, end in blocks for index in range(first, end)}


def _check_begin(path: Path, index: int, name: str, begun: tuple[str, int] | None, seen: set[str]) -> None:
    if begun is not None:
        raise MarkdownError(
            path, index + 1, f"region {name} begins inside {begun[0]}, which began in line {begun[1] + 1}"
        )
    if name in seen:
        raise MarkdownError(path, index + 1, f"region {name} is there already")


def _check_end(path: Path, index: int, name: str, begun: tuple[str, int] | None) -> int:
    if begun is None:
        raise MarkdownError(path, index + 1, f"region {name} ends, and has not begun")
    if begun[0] != name:
        raise MarkdownError(
            path, index + 1, f"expected the end of {begun[0]}, begun in line {begun[1] + 1}, got {name}"
        )
    return begun[1]


def _drift(old: Document, new: Document) -> DriftError:
    pairs = [
        (before.name, old.content(before), new.content(after))
        for before, after in zip(old.regions, new.regions, strict=True)
    ]
    changed = [(name, before, after) for name, before, after in pairs if before != after]
    sentences = (sentence for change in changed for sentence in _sentences(*change))
    return DriftError(
        old.path,
        [name for name, _, _ in changed],
        diff=_diff(old, new),
        changes=[*dict.fromkeys(sentences)],
    )


def _diff(old: Document, new: Document) -> str:
    lines = difflib.unified_diff(
        [line.rstrip("\n") for line in old.lines],
        [line.rstrip("\n") for line in new.lines],
        str(old.path),
        f"{old.path} (generated)",
        lineterm="",
    )
    return "".join(f"{line}\n" for line in lines)


_Fact = tuple[str, ...]
"""`("map", name)`, `("program", name)` or `("edge", program, verb, map)`."""

_NODE: Final = re.compile(r'(?P<id>\S+)\[(?P<round>\(?)"(?P<name>[^"]+)"\)?\]')
_PARTICIPANT: Final = re.compile(r"participant (?P<id>\S+)(?: as (?P<name>\S+))?")
_EDGE: Final = re.compile(r'(?P<program>\S+) -- "(?P<verbs>[^"]+)" --> (?P<map>\S+)')
_MESSAGE: Final = re.compile(r"(?P<program>\S+?)->>(?P<map>\S+): (?P<verbs>\w+)")
_BOX_OF_PROGRAMS: Final = "box eBPF Programs"

_VERBS: Final = {
    "Lookup": "looks up",
    "Update": "updates",
    "Delete": "deletes from",
    "EventOutput": "outputs to",
    "Push": "pushes to",
    "Pop": "pops from",
    "Peek": "peeks at",
    "LookupPercpu": "looks up, per CPU,",
}


def _sentences(name: str, before: str, after: str) -> Iterator[str]:
    """Yield what is said differently by the diagram *name*; nothing if it is none."""
    old, new = dict.fromkeys(_facts(before)), dict.fromkeys(_facts(after))
    if not new:
        return
    if old.keys() == new.keys():
        yield f"{name}: the same programs, maps and edges in another order or form"
    yield from (_sentence(fact, edge="no longer", node="gone") for fact in old if fact not in new)
    yield from (_sentence(fact, edge="now", node="new") for fact in new if fact not in old)


def _sentence(fact: _Fact, *, edge: str, node: str) -> str:
    if fact[0] != "edge":
        return f"{fact[0]} {fact[1]} is {node}"
    _, program, verb, name = fact
    return f"{program} {edge} {_VERBS.get(verb, f'does {verb} to')} {name}"


def _facts(text: str) -> Iterator[_Fact]:
    box = ""
    names = _names(text)
    for line in text.splitlines():
        if line.startswith("box "):
            box = line
        elif found := _EDGE.fullmatch(line) or _MESSAGE.fullmatch(line):
            ends = [names.get(found[end], found[end]) for end in ("program", "map")]
            yield from (("edge", ends[0], verb, ends[1]) for verb in found["verbs"].split("+"))
        elif found := _NODE.fullmatch(line):
            yield "map" if found["round"] else "program", found["name"]
        elif (found := _PARTICIPANT.fullmatch(line)) and box == _BOX_OF_PROGRAMS:
            yield "program", found["name"] or found["id"]


def _names(text: str) -> dict[str, str]:
    """Return the names of nodes and participants by their identifiers, where they differ."""
    found = (_NODE.fullmatch(line) or _PARTICIPANT.fullmatch(line) for line in text.splitlines())
    return {each["id"]: each["name"] for each in found if each and each["name"]}
