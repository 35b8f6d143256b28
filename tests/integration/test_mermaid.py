"""What `docs` writes parses in Mermaid's own parser, whatever maps and programs are called."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from services.gadget_build import build_gadget
from services.planted import write_planted

from gadgetops.bpf.btf_ext import Line
from gadgetops.bpf.diagrams.complete import CompleteGraph, Held, Use
from gadgetops.bpf.diagrams.complete_markdown import complete_markdown
from gadgetops.bpf.diagrams.counts import Count, Counts, of_runs
from gadgetops.bpf.diagrams.graph import Edge, Graph
from gadgetops.bpf.diagrams.mermaid import flowchart, sequence
from gadgetops.bpf.maps import Map
from gadgetops.bpf.object import Object

ROOT = Path(__file__).parents[2]
NAMES = """
    end End END graph flowchart subgraph class classDef style call click href linkStyle default
    direction TB LR RL BT TD up down note Note box loop alt else opt par par_over and rect critical
    option break participant actor as create destroy activate deactivate link links properties
    details autonumber title accTitle accDescr over left right sequenceDiagram interpolate off on x
    o v ends end_ _end graph1 clickx boxed .rodata .bss ab.c a$b __proto__ constructor toString
    prototype undefined true null _self _blank _parent _top
"""
PARSER = """
import { JSDOM } from "jsdom";
import { readFileSync } from "node:fs";
const dom = new JSDOM("<!DOCTYPE html><body></body>");
globalThis.window = dom.window;
globalThis.document = dom.window.document;
globalThis.Option = dom.window.Option;
const mermaid = (await import("mermaid")).default;
const failed = [];
for (const [name, text] of Object.entries(JSON.parse(readFileSync(0, "utf8")))) {
  try { await mermaid.parse(text); } catch (error) { failed.push([name, String(error.message)]); }
}
console.log(JSON.stringify(failed));
"""


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Mermaid, from npm."""
    if shutil.which("npm") is None:
        pytest.skip("no `npm` on PATH")
    folder = tmp_path_factory.mktemp("mermaid")
    (folder / "parse.mjs").write_text(PARSER)
    quietly = ("--silent", "--no-audit", "--no-fund", "--no-save", "--prefer-offline")
    subprocess.run(
        ["npm", "install", *quietly, "--prefix", folder, "mermaid@11.17.2", "jsdom@26"],
        cwd=folder,
        check=True,
    )
    return folder


def refused(parser: Path, texts: dict[str, str]) -> list[str]:
    """Return the names of those *texts* that Mermaid does not parse."""
    argv = ["node", parser / "parse.mjs"]
    done = subprocess.run(
        argv, cwd=parser, input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    return [name for name, _ in json.loads(done.stdout)]


@pytest.mark.parametrize("draw", [flowchart, sequence])
def test_any_name_parses(parser: Path, draw) -> None:
    """As a map and as a program; the plain text, which is ig's, does not for some of them."""
    graphs = {name: Graph((name,), ("m",), (Edge(name, "Lookup", "m"),)) for name in NAMES.split()}
    graphs |= {f"map {name}": Graph(("p",), (name,), (Edge("p", "Delete", name),)) for name in NAMES.split()}
    assert refused(parser, {name: draw(graph, is_escaped=True) for name, graph in graphs.items()}) == []
    assert "map end" in refused(parser, {name: draw(graph) for name, graph in graphs.items()})


def test_our_own_diagrams_parse(parser: Path) -> None:
    blocks = (ROOT / "DEVELOPER.md").read_text().split("```mermaid\n")[1:]
    texts = {str(number): block.partition("```")[0] for number, block in enumerate(blocks)}
    assert len(texts) >= 2 and refused(parser, texts) == []


def test_the_chart_of_a_summary_parses(parser: Path, tmp_path: Path, gadgetops: Any) -> None:
    recording = write_planted(tmp_path / "r.gadgetrec", names={"audit": "`|</code>](x) **@you** <!--"})
    summary = tmp_path / "summary.md"
    assert gadgetops("report", recording, "--format", "markdown", "-o", summary).status == 0
    text = summary.read_text()
    assert refused(parser, {"chart": text.partition("```mermaid\n")[2].partition("```")[0]}) == []
    assert not re.search(r"@you|<!--|\*\*@|\]\(", text)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {row.count("|") for row in rows} == {5}


def test_complete_drawings_parse(parser: Path) -> None:
    """Whatever programs, maps and sections are called; their shapes are those that the legend names."""
    drawn = {name: drawing(CompleteGraph(**parts)) for name, parts in complete_parts().items()}
    assert refused(parser, drawn) == []


def complete_parts() -> dict[str, dict[str, Any]]:
    """Return the parts of complete graphs in which each of `NAMES` stands everywhere."""
    parts = {}
    for name in (*NAMES.split(), *('q"uote', "a|b", "<br>", "`x`", "semi;colon", "#35;", "tab\t")):
        maps = {name: Map(name, 13), "inner": Map("inner", 1, max_entries=3)}
        use = Use("p", "Lookup", name, Line(0, "", f"./{name}.c", 3))
        section = f"uprobe/{name}:f"
        parts[name] = {
            "programs": {"p": section, f"{name}_": section},
            "maps": maps,
            "uses": (use,),
            "held": (Held(name, "inner", None),),
            "runs_on": {"p": name},
        }
    return parts


def drawing(graph: CompleteGraph, counts: Counts | None = None) -> str:
    """Return the Mermaid text of *graph*."""
    return complete_markdown(graph, counts).partition("```mermaid\n")[2].partition("```")[0]


def counts_of(graph: CompleteGraph, obj: Object, runs: dict[str, int]) -> Counts:
    """Return counts of *runs*, with statistics of every map."""
    exact = {program: Count.exactly(number) for program, number in runs.items()}
    return Counts("counted", exact, of_runs(graph, obj.programs, runs), dict.fromkeys(graph.maps, "9 now"))


@pytest.mark.parametrize("name", ["ours", "maps_of_maps", "target_maps"])
def test_drawings_are_rendered_in_a_browser(parser: Path, name: str, tmp_path: Path) -> None:
    """All programs and maps are in the picture, and nothing is an error; ig's own drawings, too."""
    if name == "ours":
        object_file = build_gadget(tmp_path)
    else:
        object_file = ROOT / "tests" / "data" / "objects" / f"{name}.bpf.o"
    obj = Object.from_bytes(object_file.read_bytes())
    graph = CompleteGraph.from_object(obj)
    runs = {program: 1000 + number for number, program in enumerate(graph.programs)}
    pictures = {
        "complete": drawing(graph),
        "counted": drawing(graph, counts_of(graph, obj, runs)),
        "flowchart": flowchart(Graph.from_object(obj), is_escaped=True),
        "sequence": sequence(Graph.from_object(obj), is_escaped=True),
    }
    shown = rendered(parser, pictures, tmp_path)
    assert shown.keys() == pictures.keys()
    for program, section in graph.programs.items():
        assert all(program in text for text in shown.values())
        assert section in shown["complete"]
        assert f"{runs[program]:,}" in shown["counted"]
    for found in graph.maps.values():
        assert found.name in shown["complete"] and found.type_name in shown["complete"]
        assert (
            f"{found.name}{found.type_name}" in shown["counted"].replace(" ", "")
            and "9 now" in shown["counted"]
        )
    bounds = {str(count) for count in of_runs(graph, obj.programs, runs).values()}
    assert bounds and all(bound in shown["counted"] for bound in bounds)


def rendered(parser: Path, pictures: dict[str, str], folder: Path) -> dict[str, str]:
    """Return the words in each of *pictures*, drawn by Mermaid in Chromium, without an error."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no `chromium` on PATH: scripts/setup.sh test installs it")
    page_file = folder / "page.html"
    divisions = "".join(
        f'<pre class="mermaid" id="{key}">{html.escape(text)}</pre>' for key, text in pictures.items()
    )
    script = (parser / "node_modules/mermaid/dist/mermaid.min.js").as_uri()
    settings = "{startOnLoad: false, maxTextSize: 500000, maxEdges: 5000, securityLevel: 'strict'}"
    page_file.write_text(
        f'<!DOCTYPE html><meta charset="utf-8">{divisions}<script src="{script}"></script>'
        f"<script>mermaid.initialize({settings}); window.drawn = mermaid.run();</script>"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(offline=True)
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(page_file.as_uri())
        page.evaluate("window.drawn")
        words = {key: page.locator(f"#{key} svg").text_content() or "" for key in pictures}
        browser.close()
    assert troubles == []
    return words
