"""The action's own steps, run as GitHub's runner runs them, against a git repository and a real registry."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from services.planted import write_planted
from services.registry import PASSWORD, USERNAME, RunningRegistry

ROOT = Path(__file__).parents[2]
MINIMAL = ROOT / "tests/data/gadgets/minimal"
KEY_PASSWORD = "only the key knows"
EXPRESSION = re.compile(r"\$\{\{ *(\S+?) *\}\}")

pytestmark = pytest.mark.clang


@dataclass
class Run:
    """What a run of the action left: whether it failed and where, outputs by step, and all it printed."""

    failed: str | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    printed: str = ""


class Runner:
    """As much of GitHub's runner as a composite action of shell steps needs."""

    def __init__(self, folder: Path, repository: Path, environment: dict[str, str]) -> None:
        self.action = yaml.safe_load((ROOT / "action.yml").read_text())
        self.folder = folder
        self.repository = repository
        self.environment = environment

    def __call__(self, ref_type: str, ref_name: str, **inputs: str) -> Run:
        """Run all steps but the installation, with *inputs* (`_` for `-`)."""
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        assert given.keys() <= self.action["inputs"].keys()
        values = {f"inputs.{name}": str(each["default"]) for name, each in self.action["inputs"].items()}
        values |= {f"inputs.{name}": value for name, value in given.items()}
        github = {"GITHUB_REF_TYPE": ref_type, "GITHUB_REF_NAME": ref_name, "GITHUB_SHA": self._commit()}
        github["GADGETOPS_PLAIN_HTTP"] = values["inputs.image"].partition("/")[0]
        run = Run()
        for step in self.action["runs"]["steps"]:
            if step["id"] == "install" or not self._is_wanted(step, values):
                continue
            status = self._step(step, values, github, run)
            if status != 0:
                run.failed = step["id"]
                return run
        return run

    def _is_wanted(self, step: dict[str, Any], values: dict[str, str]) -> bool:
        condition = step.get("if")
        if condition is None:
            return True
        name, empty = re.fullmatch(r"(\S+) != ('')", condition).groups()
        return empty == "''" and values[name] != ""

    def _step(self, step: dict[str, Any], values: dict[str, str], github: dict[str, str], run: Run) -> int:
        script, output = self.folder / "script.sh", self.folder / "output"
        script.write_text(step["run"])
        output.write_text("")
        own = {name: EXPRESSION.sub(lambda it: values[it[1]], text) for name, text in step["env"].items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
            cwd=self.repository,
            env={
                **self.environment,
                **github,
                **own,
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        run.printed += done.stdout
        for line in output.read_text().splitlines():
            name, _, value = line.partition("=")
            run.outputs[name] = values[f"steps.{step['id']}.outputs.{name}"] = value
        return done.returncode

    def _commit(self) -> str:
        return git(self.repository, "rev-parse", "HEAD").strip()


def git(folder: Path, *arguments: str) -> str:
    """Run git as a person whom the machine's settings do not concern."""
    settings = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *settings, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path, gadgetops, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a gadget and a document whose diagram is up to date."""
    folder = shutil.copytree(MINIMAL, tmp_path / "repository")
    (folder / "README.md").write_text("# Minimal\n\n<!-- begin flowchart -->\n<!-- end flowchart -->\n")
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        assert gadgetops("docs").status == 0
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "a gadget")
    return folder


@pytest.fixture
def arguments_seen(tmp_path: Path) -> Path:
    """Where the arguments of every call of gadgetops are logged."""
    return tmp_path / "arguments"


@pytest.fixture
def action(tmp_path: Path, repository: Path, arguments_seen: Path) -> Runner:
    """The action on the repository, with a gadgetops that logs its arguments."""
    (tmp_path / "bin").mkdir()
    logging = tmp_path / "bin" / "gadgetops"
    logging.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$*" >>{arguments_seen}\nexec {sys.executable} -m gadgetops "$@"\n'
    )
    logging.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    paths = f"{logging.parent}:{environment['PATH']}"
    docker = str(tmp_path / "docker")
    return Runner(
        tmp_path,
        repository,
        environment | {"PATH": paths, "RUNNER_TEMP": str(tmp_path), "DOCKER_CONFIG": docker},
    )


@pytest.fixture
def key(tmp_path: Path, gadgetops, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key to sign with; the public one beside it."""
    monkeypatch.setenv("GADGETOPS_KEY_PASSWORD", KEY_PASSWORD)
    assert gadgetops("keygen", "--output", tmp_path / "release").status == 0
    return tmp_path / "release.key"


def secrets(key: Path) -> dict[str, str]:
    """Return the inputs that are secrets."""
    return {
        "username": USERNAME,
        "password": PASSWORD,
        "signing_key": key.read_text(),
        "signing_key_password": KEY_PASSWORD,
    }


def test_a_tag_is_built_checked_signed_attested_and_pushed(
    action: Runner,
    key: Path,
    password_registry: RunningRegistry,
    gadgetops,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments_seen: Path,
) -> None:
    """What lies in the registry is verified by the public key; no secret was an argument or was printed."""
    image = f"{password_registry.host}/action/minimal"
    run = action("tag", "v1.0.0", image=image, **secrets(key))
    assert run.failed is None, run.printed
    assert run.outputs["reference"] == f"{image}:v1.0.0"
    assert run.outputs["pushed"] == "true"
    monkeypatch.setenv("GADGETOPS_STORE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    pulled = gadgetops("pull", f"{image}:v1.0.0", "--plain-http", password_registry.host)
    assert pulled.status == 0, pulled.err
    assert run.outputs["digest"] in pulled.out
    verified = gadgetops(
        "verify", f"{image}:v1.0.0", "--key", key.with_suffix(".pub"), "--attestations", "--format", "json"
    )
    assert verified.status == 0, verified.err
    assert "https://slsa.dev/provenance/v1" in verified.out
    for secret in (PASSWORD, KEY_PASSWORD, key.read_text().splitlines()[1]):
        assert secret not in arguments_seen.read_text() + run.printed
    assert list(tmp_path.glob("signing-key.*")) == []


def test_a_branch_is_built_and_checked_and_not_pushed(
    action: Runner, key: Path, password_registry: RunningRegistry, arguments_seen: Path
) -> None:
    run = action("branch", "main", image=f"{password_registry.host}/action/branch", **secrets(key))
    assert run.failed is None, run.printed
    assert run.outputs["pushed"] == "false"
    assert re.fullmatch(r".*/action/branch:sha-[0-9a-f]{12}", run.outputs["reference"])
    calls = [line.split()[0] for line in arguments_seen.read_text().splitlines()]
    assert calls == ["build", "docs"]


def test_a_document_out_of_date_fails_before_anything_is_pushed(
    action: Runner, key: Path, repository: Path, password_registry: RunningRegistry, arguments_seen: Path
) -> None:
    readme = repository / "README.md"
    readme.write_text(readme.read_text().replace('"Lookup"', '"Update"'))
    run = action("tag", "v1.0.0", image=f"{password_registry.host}/action/drift", **secrets(key))
    assert run.failed == "docs"
    assert "trace_free now looks up sizes" in run.printed
    assert "push" not in arguments_seen.read_text()


def test_a_field_that_is_gone_since_the_last_release_fails(
    action: Runner, repository: Path, registry: RunningRegistry
) -> None:
    image = f"{registry.host}/action/compared"
    first = action("tag", "v1.0.0", image=image)
    assert first.failed is None, first.printed
    source, metadata = repository / "program.bpf.c", repository / "gadget.yaml"
    source.write_text(
        source.read_text().replace("__u64 size;", "__u64 n;").replace("event->size", "event->n")
    )
    metadata.write_text(metadata.read_text().replace("      size:\n", "      n:\n"))
    second = action("tag", "v1.0.1", image=image, compare_with=f"{image}:v1.0.0")
    assert second.failed == "compare"
    assert "renamed field: size -> n" in second.printed
    assert "1 breaking change" in second.printed


@pytest.mark.parametrize(
    ("ref_name", "tag", "expected"),
    [
        ("v1", "", "v1"),
        ("release/v1.2+build.3", "", "release-v1.2-build.3"),
        ("v1", "feature/x", "feature-x"),
        ("v1", ".x", "x"),
        ("v" * 200, "", "v" * 128),
    ],
)
def test_what_references_cannot_have_is_replaced(
    action: Runner, ref_name: str, tag: str, expected: str
) -> None:
    """Owners of repositories may have capitals, git's tags slashes and plus signs."""
    run = action("tag", ref_name, tag=tag, image="registry.example/INTO-CPS-Association/mine", push="false")
    assert run.failed is None, run.printed
    assert run.outputs["reference"] == f"registry.example/into-cps-association/mine:{expected}"


def test_a_push_without_an_image_is_refused_in_words(action: Runner) -> None:
    run = action("branch", "main", push="true")
    assert run.failed == "push"
    assert "::error::there is no image to push to" in run.printed


def test_no_expression_is_part_of_a_script_and_every_input_is_described() -> None:
    """A value that becomes part of a script is run as one; variables are not."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"]
        assert step["shell"] == "bash"
    assert all(each["description"] for each in action["inputs"].values())
    used = set(re.findall(r"inputs\.([a-z-]+)", (ROOT / "action.yml").read_text()))
    assert used == action["inputs"].keys()


def test_the_installation_pins_every_version_of_the_lock(tmp_path: Path) -> None:
    """The line that makes constraints of the lock leaves out hashes, and nothing else."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    (line,) = re.findall(r"^sed .*$", action["runs"]["steps"][0]["run"], re.MULTILINE)
    environment = {**os.environ, "ACTION_PATH": str(ROOT), "RUNNER_TEMP": str(tmp_path)}
    subprocess.run(["bash", "-ec", line], env=environment, check=True)
    pinned = (tmp_path / "gadgetops-versions.txt").read_text().splitlines()
    locked = (ROOT / "requirements/dev.txt").read_text()
    assert len(pinned) == len(re.findall(r"^[A-Za-z0-9]\S*==", locked, re.MULTILINE)) > 0
    assert not any("--hash" in line or line.endswith("\\") for line in pinned)


def test_the_summary_shows_the_verdict_on_recordings(
    action: Runner, repository: Path, tmp_path: Path
) -> None:
    (repository / "build").mkdir()
    write_planted(repository / "build" / "a server.gadgetrec")
    run = action("branch", "main", recordings="build/*.gadgetrec", push="false")
    assert run.failed is None, run.printed
    summary = (tmp_path / "summary.md").read_text()
    assert "**Likely a leak: 3 places grow" in summary
    assert "```mermaid\nxychart-beta" in summary
    names = {path.name for path in Path(run.outputs["report"]).iterdir()}
    assert names == {"report.html", "heap.svg", "flamegraph.svg", "summary.md"}
