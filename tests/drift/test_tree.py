"""The tree is what it promises to be: layers, verbs, and no package that shadows the standard library's."""

import ast
import importlib
import importlib.metadata
import operator
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gadgetops import commands
from gadgetops.commands import VERBS

ROOT = Path(__file__).parents[2]
COMMANDS = ROOT / "operator" / "gadgetops" / "commands"
Gadgetops = Callable[..., "Result"]  # noqa: F821 - the class is conftest's


def test_operator_is_the_standard_librarys() -> None:
    """`operator/` is a folder: with an `__init__.py` it would take the place of the module of that name."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not Path(operator.__file__).is_relative_to(ROOT)


def test_imports_keep_to_their_layers() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


FORBIDDEN = [
    ("oci.content", "trace.recorder"),
    ("oci.content", "bpf.object"),
    ("oci.content", "gadget.media_types"),
    ("gadget.media_types", "questions.info"),
    ("gadget.media_types", "recording.schema"),
    ("bpf.btf", "oci.content"),
    ("bpf.btf", "gadget.media_types"),
    ("bpf.btf", "recording.schema"),
    ("trace.recorder", "oci.content"),
    ("trace.recorder", "pairing.pairs"),
    ("recording.schema", "stacks.unwinding.cfi"),
    ("stacks.unwinding.cfi", "trace.recorder"),
    ("stacks.naming.files", "stacks.unwinding.cfi"),
    ("pairing.step", "questions.info"),
    ("pairing.step", "trace.recorder"),
    ("questions.info", "report.info"),
    ("questions.info", "fleet.fleet"),
    ("questions.asking.filters", "questions.leaks.verdict"),
    ("report.info", "gadget.media_types"),
    ("commands.common.output", "commands.images.list"),
    ("commands.images.list", "commands.registry.login"),
    ("units", "process"),
    ("errors", "units"),
]
"""Module -> module that it may not import."""


def test_an_import_against_the_layers_is_noticed(tmp_path: Path) -> None:
    """Each of these, added to a copy of the package, is reported."""
    shutil.copytree(ROOT / "operator" / "gadgetops", tmp_path / "gadgetops")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for importer, imported in FORBIDDEN:
        with (tmp_path / "gadgetops" / f"{importer.replace('.', '/')}.py").open("a") as source:
            source.write(f"\nimport gadgetops.{imported}\n")
    lint = Path(sys.executable).with_name("lint-imports")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "400"}
    done = subprocess.run(
        [lint, "--no-cache"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout
    found = " ".join(done.stdout.split())
    missing = [pair for pair in FORBIDDEN if "gadgetops.{} -> gadgetops.{}".format(*pair) not in found]
    assert missing == []


def test_the_documents_tree_is_that_on_disk() -> None:
    """Every folder and module, with the first line of its docstring."""
    done = subprocess.run([sys.executable, ROOT / "scripts" / "tree.py"], check=False)
    assert done.returncode == 0


def test_no_folder_has_more_than_fifteen_modules() -> None:
    """Who opens it sees at a glance where to go."""
    package = ROOT / "operator" / "gadgetops"
    folders = [package, *(path for path in package.rglob("*") if path.is_dir())]
    sizes = {folder.name: len([*folder.glob("*.py")]) - 1 for folder in folders}
    assert {name: size for name, size in sizes.items() if size > 15} == {}


def test_each_module_with_a_command_is_a_verb_and_the_other_way_round() -> None:
    modules = {
        f"gadgetops.commands.{path.parent.name}.{path.stem}"
        for path in COMMANDS.glob("*/*.py")
        if "\ndef command(" in path.read_text()
    }
    assert modules == {commands.module_name(verb) for verb in VERBS}


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_is_called_as_its_module_says(verb: str) -> None:
    module = importlib.import_module(commands.module_name(verb))
    assert module.command.name == verb


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_with_an_example(verb: str, gadgetops: Gadgetops) -> None:
    result = gadgetops(verb, "--help")
    assert (result.status, result.err) == (0, "")
    assert f"\n  Example:\n    gadgetops {verb}" in result.out


def test_the_programs_help_lists_the_verbs(gadgetops: Gadgetops) -> None:
    out = gadgetops("--help").out
    assert all(f"  {verb} " in out and text in out for verb, text in VERBS.items())


def test_only_commands_print() -> None:
    """Results, messages and exit statuses are the command line's business."""
    package = ROOT / "operator" / "gadgetops"
    sources = [path for path in package.rglob("*.py") if COMMANDS not in path.parents]
    offenders = [
        path.name
        for path in sources
        if any(word in path.read_text() for word in ("import click", "sys.exit", "sys.stdout"))
        and path.name != "__main__.py"
    ]
    assert offenders == []
    assert callable(commands.main)


def test_what_is_imported_is_a_dependency() -> None:
    """Not only of the tests: the package runs without them. Only pytest imports the plugin for pytest."""
    package = ROOT / "operator" / "gadgetops"
    paths = (path for path in package.rglob("*.py") if path.name != "pytest_plugin.py")
    trees = [ast.parse(path.read_text()) for path in paths]
    names = {name.partition(".")[0] for tree in trees for name in _imported(tree)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    stated = [*project["dependencies"], *(text for extra in extras for text in extra)]
    declared = {re.split(r"[<>=;\[ ]", text, maxsplit=1)[0].lower() for text in stated}
    distributions = importlib.metadata.packages_distributions()
    used = {distributions[name][0].lower() for name in names - sys.stdlib_module_names - {"gadgetops"}}
    assert used - declared == set()


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
