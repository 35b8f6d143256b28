"""What `docs` writes parses in Mermaid's own parser, whatever maps and programs are called."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from services.planted import write_planted

from gadgetops.bpf.diagrams.graph import Edge, Graph
from gadgetops.bpf.diagrams.mermaid import flowchart, sequence

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
