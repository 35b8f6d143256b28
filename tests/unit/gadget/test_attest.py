"""Provenance and bill of materials: of what was built again, complete, and always the same."""

import hashlib
import json
import shutil
import subprocess
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest
import referencing

from gadgetops.errors import DigestMismatch
from gadgetops.gadget.building.build import build
from gadgetops.gadget.building.buildfile import BuildFile
from gadgetops.gadget.origin.materials import Materials
from gadgetops.gadget.origin.provenance import provenance
from gadgetops.gadget.origin.sbom import sbom
from gadgetops.oci.image import Image
from gadgetops.oci.layout.layout import Layout

MINIMAL = Path(__file__).parents[2] / "data" / "gadgets" / "minimal"
EPOCH = "1700000000"

pytestmark = pytest.mark.clang


@pytest.fixture(autouse=True)
def _epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)


def built(folder: Path, architectures: tuple[str, ...] = ("amd64",)) -> Image:
    """Build the gadget in *folder* into a layout beside it."""
    layout = Layout.open(folder.with_suffix(".layout"), create=True)
    made = build(BuildFile.read(folder), architectures)
    for descriptor, content in made.image.contents:
        layout.add(descriptor, [content])
    layout.publish({}, [made.image.index])
    return Image.load(layout, made.image.index.digest)


def copied(folder: Path) -> Path:
    """Return a copy of the gadget `minimal` with a build.yaml."""
    shutil.copytree(MINIMAL, folder)
    (folder / "build.yaml").write_text("ebpfsource: program.bpf.c\nmetadata: gadget.yaml\n")
    return folder


@pytest.fixture
def gadget(tmp_path: Path) -> Path:
    """A gadget outside of any repository."""
    return copied(tmp_path / "gadget")


def attested(folder: Path) -> tuple[dict, dict]:
    """Return provenance and bill of materials of the gadget in *folder*."""
    image = built(folder)
    materials = Materials.of(image, BuildFile.read(folder))
    return provenance(materials), sbom(image, materials)


def test_every_file_is_named_with_its_digest(gadget: Path) -> None:
    """Source, headers of the gadget and of libbpf, gadget.yaml, build.yaml; the digests are sha256sum's."""
    made, parts = attested(gadget)
    digests = {
        each["name"]: each["digest"]["sha256"] for each in made["buildDefinition"]["resolvedDependencies"]
    }
    own = {"build.yaml", "gadget.yaml", "program.bpf.c", "include/minimal.h"}
    assert own < digests.keys()
    assert "/usr/include/bpf/bpf_helpers.h" in digests
    for name, digest in digests.items():
        output = subprocess.run(
            ["sha256sum", gadget / name], capture_output=True, text=True, check=True
        ).stdout
        assert output.partition(" ")[0] == digest
    listed = {
        each["name"]: each["hashes"][0]["content"]
        for each in parts["components"]
        if each["bom-ref"].startswith("source:")
    }
    assert listed == digests


def test_compiler_options_and_builder_are_named(gadget: Path) -> None:
    """With the versions that the tools say of themselves."""
    made, parts = attested(gadget)
    version = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True).stdout
    builder = made["runDetails"]["builder"]
    assert builder["version"]["clang"] == version.splitlines()[0]
    assert set(builder["version"]) == {"gadgetops", "clang", "llvm-strip"}
    definition = made["buildDefinition"]
    assert definition["externalParameters"]["architectures"] == ["amd64"]
    assert "-D__TARGET_ARCH_x86" in definition["internalParameters"]["options"]["amd64"]
    (clang,) = [each for each in parts["components"] if each["name"] == "clang"]
    assert (clang["version"], clang["scope"]) == (version.splitlines()[0], "excluded")


def test_objects_are_those_of_the_image(gadget: Path) -> None:
    """Their digests are those of its layers."""
    image = built(gadget)
    parts = sbom(image, Materials.of(image, BuildFile.read(gadget)))
    layers = {f"{each}.bpf.o": image.manifest(each).layers[0].digest for each in image.architectures}
    objects = [each for each in parts["components"] if each["bom-ref"].startswith("object:")]
    assert {each["name"]: f"sha256:{each['hashes'][0]['content']}" for each in objects} == layers
    assert parts["metadata"]["component"]["bom-ref"] == image.digest


def test_they_are_the_same_wherever_the_gadget_lies(tmp_path: Path) -> None:
    """No path of the machine, no moment but SOURCE_DATE_EPOCH, nothing random."""
    first, second = attested(copied(tmp_path / "one" / "a")), attested(copied(tmp_path / "another" / "b"))
    assert json.dumps(first) == json.dumps(second)
    assert str(tmp_path) not in json.dumps(first)
    assert first[1]["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"


def test_what_cannot_be_made_again_is_not_attested(gadget: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed source, or another time: the error has both digests and says what to do."""
    image = built(gadget)
    header = gadget / "include" / "minimal.h"
    before = header.read_text()
    (gadget / "gadget.yaml").write_text((gadget / "gadget.yaml").read_text() + "# changed\n")
    with pytest.raises(DigestMismatch) as error:
        Materials.of(image, BuildFile.read(gadget))
    assert error.value.expected == image.digest
    assert "SOURCE_DATE_EPOCH" in str(error.value.hint)
    assert header.read_text() == before
    shutil.copy(MINIMAL / "gadget.yaml", gadget)
    assert Materials.of(image, BuildFile.read(gadget)).digest == image.digest
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    with pytest.raises(DigestMismatch):
        Materials.of(image, BuildFile.read(gadget))


def test_only_the_architectures_of_the_image_are_built(gadget: Path) -> None:
    """An image for one is attested for one."""
    image = built(gadget, ("arm64",))
    assert Materials.of(image, BuildFile.read(gadget)).architectures == ("arm64",)


def test_the_commit_is_named_only_if_the_files_are_what_it_has(gadget: Path) -> None:
    """Outside of git, or with changes of one's own, there is none to name."""
    request = BuildFile.read(gadget)
    assert Materials.of(built(gadget), request).commit is None
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *command], cwd=gadget, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=gadget, capture_output=True, text=True, check=True
    )
    assert Materials.of(built(gadget), request).commit == head.stdout.strip()
    (gadget / "include" / "minimal.h").write_bytes((gadget / "include" / "minimal.h").read_bytes() + b"\n")
    assert Materials.of(built(gadget), request).commit is None


def test_the_bill_of_materials_is_cyclonedx(gadget: Path) -> None:
    """
    The members that CycloneDX 1.6 demands, each reference to something that is there.

    Where the package `cyclonedx` is installed, its copy of the published schema is asked, too.
    """
    _, parts = attested(gadget)
    assert (parts["bomFormat"], parts["specVersion"], parts["version"]) == ("CycloneDX", "1.6", 1)
    assert parts["serialNumber"].startswith("urn:uuid:")
    references = [each["bom-ref"] for each in (parts["metadata"]["component"], *parts["components"])]
    assert len(references) == len(set(references))
    for each in parts["components"]:
        assert each["type"] in ("file", "application")
        assert all(
            len(found["content"]) == 64 and found["alg"] == "SHA-256" for found in each.get("hashes", ())
        )
    for dependency in parts["dependencies"]:
        assert {dependency["ref"], *dependency.get("dependsOn", ())} <= set(references)
    if find_spec("cyclonedx"):
        _check_against_published_schema(parts)


def _check_against_published_schema(parts: dict) -> None:
    folder = files("cyclonedx") / "schema" / "_res"

    def read(name: str) -> dict:
        return json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text())

    others = [read(name) for name in ("spdx", "jsf-0.82")]
    contents = [(each["$id"], referencing.Resource.from_contents(each)) for each in others]
    schema = read("bom-1.6")
    validator = jsonschema.validators.validator_for(schema)(
        schema, registry=referencing.Registry().with_resources(contents)
    )
    assert list(validator.iter_errors(parts)) == []
    assert list(validator.iter_errors({**parts, "components": [{}]})) != []


def test_the_provenance_is_slsa(gadget: Path) -> None:
    """The members that SLSA v1.0 demands, each material with a name and a digest of the right length."""
    made, _ = attested(gadget)
    assert set(made) == {"buildDefinition", "runDetails"}
    assert {"buildType", "externalParameters", "resolvedDependencies"} <= set(made["buildDefinition"])
    assert made["runDetails"]["builder"]["id"] == "urn:gadgetops:local"
    for each in (*made["buildDefinition"]["resolvedDependencies"], *made["runDetails"]["byproducts"]):
        assert len(each["digest"]["sha256"]) == len(hashlib.sha256().hexdigest())
        assert each["name"]
