"""The workflows, the action and the hooks: sound, pinned, and used by this repository itself."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide-gadget.md"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.7"
"""The newest that Debian 12's Go 1.19 builds; its module says Go 1.18."""


TOOLS = ROOT / "build/tools/actionlint-1.7.7"


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The linter, built by Go from a pinned version, and kept for the next run."""
    program = TOOLS / "actionlint"
    if not program.exists():
        _build(program, tmp_path_factory.mktemp("go"))
    return program


def _build(program: Path, scratch: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("no `go` on PATH to build actionlint")
    # Tests have a home of their own: what Go downloads and compiles is kept there with it.
    own = {"GOBIN": str(scratch), "GOPATH": str(scratch / "path"), "GOCACHE": str(scratch / "cache")}
    settings = own | {"GOFLAGS": "-modcacherw", "GOTOOLCHAIN": "local"}
    argv = [go, "install", ACTIONLINT]
    built = subprocess.run(argv, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    program.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_name(f"actionlint_{os.getpid()}")
    shutil.copy(scratch / program.name, unfinished)
    unfinished.replace(program)


def lint(actionlint: Path, folder: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    """Run the linter in *folder*, a repository."""
    argv = [actionlint, "-no-color", *files]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


def test_actionlint_finds_nothing(actionlint: Path) -> None:
    done = lint(actionlint, ROOT, *WORKFLOWS)
    assert done.returncode == 0, done.stdout


def yaml_in_readme(start: str) -> str:
    """Return the code block of docs/guide-gadget.md that begins with *start*."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if block.startswith(start))


def test_the_workflow_of_the_readme_is_sound_and_uses_inputs_that_there_are(
    actionlint: Path, tmp_path: Path
) -> None:
    text = yaml_in_readme("name: gadget")
    path = tmp_path / "gadget.yml"
    path.write_text(text)
    done = lint(actionlint, tmp_path, path)
    assert done.returncode == 0, done.stdout
    given = yaml.safe_load(text)["jobs"]["image"]["steps"][1]["with"]
    assert given.keys() <= yaml.safe_load((ROOT / "action.yml").read_text())["inputs"].keys()


def test_the_hooks_of_the_readme_are_those_there_are() -> None:
    (repository,) = yaml.safe_load(yaml_in_readme("repos:"))["repos"]
    assert [hook["id"] for hook in repository["hooks"]] == [*hooks()]


def test_actionlint_would_find_something(actionlint: Path, tmp_path: Path) -> None:
    """An input that the action does not have is an error: the linter does read action.yml."""
    (tmp_path / ".github/workflows").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    shutil.copy(ROOT / "action.yml", tmp_path)
    text = (ROOT / ".github/workflows/gadget.yml").read_text()
    path = tmp_path / ".github/workflows/gadget.yml"
    path.write_text(text.replace("docs: DEVELOPER.md", "dogs: DEVELOPER.md"))
    done = lint(actionlint, tmp_path, path)
    assert done.returncode == 1
    assert '"dogs"' in done.stdout


def test_actions_of_others_are_pinned_by_their_full_version() -> None:
    text = "\n".join(path.read_text() for path in WORKFLOWS)
    used = re.findall(r"^ *(?:- )?uses: *(\S+)", text, re.MULTILINE)
    pinned = re.compile(r"\./|.+@(v\d+\.\d+\.\d+|[0-9a-f]{40})")
    assert "./" in used
    assert [use for use in used if not pinned.fullmatch(use)] == []


def test_the_scripts_of_the_action_are_valid_shell(tmp_path: Path) -> None:
    for step in yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]:
        script = tmp_path / f"{step['id']}.sh"
        script.write_text(f"#!/bin/bash\n{step['run']}")
        checked = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr


def hooks() -> dict[str, dict]:
    return {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}


@pytest.mark.clang
@pytest.mark.parametrize(
    ("hook", "file", "old", "new"),
    [
        ("gadgetops-docs", "DEVELOPER.md", '"Delete"', '"Update"'),
        ("gadgetops-artifacthub", "artifacthub-pkg.yml", "name: trace-malloc", "name: other"),
    ],
)
def test_a_hook_passes_on_this_repository_and_fails_on_drift(
    hook: str, file: str, old: str, new: str, tmp_path: Path
) -> None:
    """Its entry, run as pre-commit does: in the repository, by the environment that the project installs."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("gadget", "build.yaml", "build-ustack.yaml", "DEVELOPER.md", "artifacthub-pkg.yml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    entry = shlex.split(hooks()[hook]["entry"])
    entry[0] = str(Path(sys.executable).with_name(entry[0]))

    def run() -> int:
        return subprocess.run(entry, cwd=folder, capture_output=True, check=False).returncode

    assert run() == 0
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    assert run() == 3


def test_hooks_look_at_the_files_that_decide() -> None:
    """What is generated, and what it is generated from."""
    decide = {
        "gadgetops-docs": [
            "gadget/program.bpf.c",
            "gadget/include/vmlinux.h",
            "README.md",
            "build-ustack.yaml",
        ],
        "gadgetops-artifacthub": ["gadget/gadget.yaml", "artifacthub-pkg.yml", "build.yaml"],
    }
    for name, files in decide.items():
        assert [file for file in files if not re.search(hooks()[name]["files"], file)] == []
        assert not hooks()[name]["pass_filenames"]
        assert not re.search(hooks()[name]["files"], "operator/gadgetops/docs.py")
