"""What the documents say is what the program does."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gadgetops.bpf.diagrams import mermaid
from gadgetops.bpf.diagrams.graph import Graph
from gadgetops.bpf.object import Object
from gadgetops.commands import VERBS, VERBS_BY_ROOM
from gadgetops.docs import Document
from gadgetops.questions.leaks.owners import OWNERS
from gadgetops.questions.leaks.rule_table import rules_as_markdown

ROOT = Path(__file__).parents[2]
SEED = ROOT / "tests" / "data" / "seed"
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("2*.md"))
DIAGRAMS = {"flowchart": mermaid.flowchart, "sequence": mermaid.sequence}
CLANGS = [version for version in range(14, 40) if shutil.which(f"clang-{version}")]
Gadgetops = Callable[..., "Result"]  # noqa: F821 - the class is conftest's


def region(path: Path, name: str) -> str:
    document = Document.read(path)
    found = next(region for region in document.regions if region.name == name)
    return "".join(document.lines[found.begin + 1 : found.end])


@pytest.mark.parametrize("name", DIAGRAMS)
def test_the_diagrams_of_developer_md_are_the_seeds(name: str) -> None:
    """Those the project started from, line for line."""
    assert region(ROOT / "DEVELOPER.md", name) == f"```mermaid\n{(SEED / f'{name}.mmd').read_text()}```\n"


@pytest.mark.clang
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
@pytest.mark.parametrize("version", CLANGS)
def test_the_gadget_has_the_seeds_diagrams_under_every_clang(
    version: int,
    architecture: str,
    tmp_path: Path,
    gadgetops: Gadgetops,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLANG", f"clang-{version}")
    monkeypatch.setenv("LLVM_STRIP", f"llvm-strip-{version}")
    assert gadgetops("build", ROOT, "--arch", architecture, "--output", tmp_path).status == 0
    graph = Graph.from_object(Object.from_bytes((tmp_path / f"{architecture}.bpf.o").read_bytes()))
    for name, draw in DIAGRAMS.items():
        assert draw(graph) == (SEED / f"{name}.mmd").read_text()


@pytest.mark.clang
def test_generated_regions_are_up_to_date(gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = gadgetops("docs", "--check")
    assert result.status == 0, result.out


def test_every_decision_is_in_the_index() -> None:
    """By its date, in order, under its title."""
    lines = [
        f"- {path.name[:10]}: [{path.read_text().partition(chr(10))[0].removeprefix('# ')}]({path.name})"
        for path in DECISIONS
    ]
    index = (ROOT / "docs" / "decisions" / "README.md").read_text().splitlines()
    assert sorted(line for line in index if line.startswith("- ")) == sorted(lines)


def test_the_reference_shows_the_help_of_every_verb() -> None:
    """A region for each room of verbs, a heading in it for each verb."""
    document = Document.read(ROOT / "docs" / "cli.md")
    assert [found.name for found in document.regions] == [f"help:{room}" for room in VERBS_BY_ROOM]
    headings = [line.removeprefix("### ").strip() for line in document.lines if line.startswith("### ")]
    assert headings == [*VERBS]


def test_targets_the_documents_name_exist() -> None:
    """`make X` in prose is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in (ROOT / "README.md", ROOT / "DEVELOPER.md", *(ROOT / "docs").glob("*.md")):
        assert set(re.findall(r"`make ([a-z-]+)`", path.read_text())) <= targets


def test_paths_that_documents_for_developers_name_exist() -> None:
    """What looks like a path in code spans is one, from the root or from operator/gadgetops."""
    texts = [path.read_text() for path in (ROOT / "DEVELOPER.md", ROOT / "CONTRIBUTING.md", *DECISIONS)]
    named = re.findall(r"`([\w.-]+/[\w./-]*)`", "".join(texts))
    bases = (ROOT, ROOT / "operator" / "gadgetops", ROOT / "gadget" / "include")
    assert named
    assert [path for path in named if not any((base / path).exists() for base in bases)] == []


def test_ci_runs_the_tests_of_the_readme_and_nothing_else() -> None:
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert [line for line in script if "make" in line and not line.startswith("#")] == ["exec make test"]
    assert "`make test`" in (ROOT / "README.md").read_text()


DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_project_resolve(path: Path) -> None:
    """To files that exist, and to headings that they have, named as GitHub names them."""
    links = re.findall(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]*))?\)", path.read_text())
    broken = [f"{name}#{heading}" for name, heading in links if not _leads_somewhere(path, name, heading)]
    assert broken == []


def _leads_somewhere(path: Path, name: str, heading: str) -> bool:
    target = path.parent / name if name else path
    if not heading:
        return target.exists()
    titles = re.findall(r"^#+ +(.*)$", target.read_text(), re.MULTILINE)
    return heading in [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def test_the_rules_of_verdicts_are_those_of_the_program() -> None:
    """With their numbers, in their order."""
    assert f"\n\n{rules_as_markdown()}\n" in (ROOT / "docs" / "verdicts.md").read_text()


def test_owners_of_mappings_are_in_the_table() -> None:
    """Each name of the program's table, whole or with others of its kind."""
    text = (ROOT / "docs" / "verdicts.md").read_text()
    missing = [owner.name for owner in OWNERS if owner.name.partition(" (")[0] not in text]
    assert not missing
