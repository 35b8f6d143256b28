"""`artifacthub`: the file that Artifact Hub reads, written from gadget.yaml and checked against it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MINIMAL = ROOT / "tests/data/gadgets/minimal"
IMAGE = "ghcr.io/me/minimal:v1.2.0"
FILE = "artifacthub-pkg.yml"
Gadgetops = Callable[..., "Result"]  # noqa: F821 - the class is conftest's


@pytest.fixture
def gadget(tmp_path: Path, gadgetops: Gadgetops) -> Path:
    """A gadget with a package."""
    gadget = shutil.copytree(MINIMAL, tmp_path / "gadget")
    assert gadgetops("artifacthub", gadget, "--version", "v1.2.0", "--image", IMAGE).status == 0
    return gadget


def package(gadget: Path) -> dict:
    return yaml.safe_load((gadget / FILE).read_text())


def change(path: Path, old: str, new: str) -> None:
    """Replace *old*, which must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_artifact_hub_requires_comes_from_gadget_yaml(gadget: Path) -> None:
    """The keys that its package metadata calls required, and how to find, run and link to the gadget."""
    found = package(gadget)
    assert (found["version"], found["name"], found["displayName"]) == ("1.2.0", "minimal", "minimal")
    assert found["description"] == "reports releases of memory"
    assert found["homeURL"] == "https://example.org/"
    assert found["containersImages"] == [
        {"name": "gadget", "image": IMAGE, "platforms": ["linux/amd64", "linux/arm64"]}
    ]
    assert {link["name"]: link["url"] for link in found["links"]} == {
        "source": "https://example.org/source",
        "documentation": "https://example.org/docs",
    }
    assert f"ig run {IMAGE}\n" in found["install"]


def test_writing_again_changes_nothing(gadget: Path, gadgetops: Gadgetops) -> None:
    before = (gadget / FILE).read_bytes()
    again = gadgetops("artifacthub", gadget)
    assert (again.status, again.err) == (0, "")
    assert (gadget / FILE).read_bytes() == before
    assert gadgetops("artifacthub", gadget, "--check").status == 0


def test_a_check_fails_with_3_when_gadget_yaml_has_changed(gadget: Path, gadgetops: Gadgetops) -> None:
    """It shows the difference, and writes nothing."""
    change(gadget / "gadget.yaml", "reports releases of memory", "says what is released")
    before = (gadget / FILE).read_bytes()
    checked = gadgetops("artifacthub", gadget, "--check")
    assert checked.status == 3
    assert "-description: reports releases of memory\n+description: says what is released\n" in checked.out
    assert checked.err.endswith(": out of date: description\nrun `gadgetops artifacthub` to rewrite it\n")
    assert (gadget / FILE).read_bytes() == before
    gadgetops("artifacthub", gadget)
    assert gadgetops("artifacthub", gadget, "--check").status == 0


def test_what_people_wrote_is_kept(gadget: Path, gadgetops: Gadgetops) -> None:
    """Keys that are not derived, links of other names, further images."""
    values = package(gadget)
    values |= {"license": "Apache-2.0", "category": "security", "provider": {"name": "me"}}
    values["links"].append({"name": "chat", "url": "https://example.org/chat"})
    values["containersImages"].append({"name": "other", "image": "ghcr.io/me/other:v1"})
    (gadget / FILE).write_text(yaml.safe_dump(values))
    gadgetops("artifacthub", gadget, "--version", "1.3.0", "--image", IMAGE.replace("1.2", "1.3"))
    after = package(gadget)
    assert (after["license"], after["category"], after["provider"]) == (
        "Apache-2.0",
        "security",
        {"name": "me"},
    )
    assert after["links"][-1]["name"] == "chat"
    assert after["containersImages"][1]["name"] == "other"
    assert after["containersImages"][0]["image"].endswith(":v1.3.0")
    assert after["version"] == "1.3.0"


def test_annotations_of_gadget_yaml_serve_both_the_image_and_the_package(
    gadget: Path, gadgetops: Gadgetops
) -> None:
    change(
        gadget / "gadget.yaml",
        "annotations:\n  org.example.tier",
        "annotations:\n  io.artifacthub.package.keywords: memory, leak\n"
        "  org.opencontainers.image.licenses: MIT\n  org.example.tier",
    )
    assert gadgetops("artifacthub", gadget).status == 0
    assert (package(gadget)["keywords"], package(gadget)["license"]) == (["memory", "leak"], "MIT")


def test_the_time_is_that_of_the_version(
    gadget: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It changes with the version alone, and is SOURCE_DATE_EPOCH's where that is set."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    before = package(gadget)["createdAt"]
    assert gadgetops("artifacthub", gadget, "--check").status == 0
    gadgetops("artifacthub", gadget, "--version", "1.2.1")
    assert package(gadget)["createdAt"] == "2023-11-14T22:13:20Z" != before


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("version: 1.2.0", "version: '1.2'", "version: expected a version by SemVer 2"),
        (
            "category: monitoring-logging",
            "category: fun",
            "expected one of Artifact Hub's categories",
        ),
        ("displayName:", "displayname:", "displayname: unknown key (did you mean 'displayName'?)"),
        ("url: https://example.org/docs", "url: docs", "expected a URL, got 'docs'"),
    ],
)
def test_what_artifact_hub_would_not_take_is_an_error(
    gadget: Path, gadgetops: Gadgetops, old: str, new: str, problem: str
) -> None:
    change(gadget / FILE, old, new)
    checked = gadgetops("artifacthub", gadget, "--check")
    assert checked.status == 1
    assert problem in checked.err


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("description: reports releases of memory\n", "", "gadget.yaml: description: to be filled in"),
        (
            "https://example.org/docs",
            "'TODO: Fill it'",
            "gadget.yaml: documentationURL: to be filled in (line",
        ),
    ],
)
def test_what_gadget_yaml_does_not_say_yet_is_asked_for_there(
    gadget: Path, gadgetops: Gadgetops, old: str, new: str, problem: str
) -> None:
    change(gadget / "gadget.yaml", old, new)
    done = gadgetops("artifacthub", gadget)
    assert done.status == 1
    assert problem in done.err


def test_a_first_package_needs_a_version_and_an_image(gadget: Path, gadgetops: Gadgetops) -> None:
    (gadget / FILE).unlink()
    done = gadgetops("artifacthub", gadget, "--version", "1.0.0")
    assert done.status == 2
    assert "the image is not known\npass --image" in done.err
    assert "the version is not known" in gadgetops("artifacthub", gadget, "--image", IMAGE).err
    assert not (gadget / FILE).exists()


def test_the_projects_own_package_is_up_to_date(gadgetops: Gadgetops) -> None:
    checked = gadgetops("artifacthub", ROOT, "--check")
    assert checked.status == 0, checked.out
