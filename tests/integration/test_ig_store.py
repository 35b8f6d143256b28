"""One store, two tools: ig itself reads what is written here, writes what is read here, at the same time."""

import json
import os
import threading
from pathlib import Path

import pytest
from services.ig import Ig

from gadgetops.errors import InvalidReference
from gadgetops.oci.content import MEDIA_TYPE_MANIFEST, Descriptor, Manifest
from gadgetops.oci.image import EMPTY_CONFIG, Blob, PlatformContent, write_image
from gadgetops.oci.layout.archive import export_archive, import_archive
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.reference import Reference

pytestmark = pytest.mark.ig

FOO = "ghcr.io/inspektor-gadget/gadget/foo:latest"
HEX = "2fcf0dae61edef01ebc8fdf0cffb1bfca9c366960cdd7c47c8a9a2e746f39af7"


@pytest.fixture
def ig(tmp_path: Path) -> Ig:
    """ig with an empty store."""
    if os.geteuid() != 0:
        pytest.skip("giving ig a store of its own needs root")
    return Ig(tmp_path / "ig")


def put(layout: Layout, *names: str, text: str = "v1") -> Descriptor:
    """Store a gadget image of two architectures."""
    return write_image(
        layout,
        [
            PlatformContent(
                architecture,
                Blob(b"name: test\n", "application/vnd.gadget.config.v1+yaml"),
                [Blob(f"{text} {architecture}".encode(), "application/vnd.gadget.ebpf.program.v1+binary")],
            )
            for architecture in ("amd64", "arm64")
        ],
        artifact_type="application/vnd.gadget.v1+binary",
        annotations={
            "org.opencontainers.image.created": "2024-01-01T00:00:00Z",
            "io.inspektor-gadget.builder.version": "v0.48.0",
        },
        references=[Reference.parse(name) for name in names],
    )


def sign(layout: Layout, image: Descriptor) -> str:
    """Give *image* what looks like a signature, by tag; return the tag."""
    layer = layout.add_blob(b"signature", "application/vnd.dev.cosign.simplesigning.v1+json")
    config = layout.add_blob(EMPTY_CONFIG.data, "application/vnd.oci.image.config.v1+json")
    manifest = layout.add_blob(Manifest(config, (layer,)).to_bytes(), MEDIA_TYPE_MANIFEST)
    tag = f"{image.digest.replace(':', '-')}.sig"
    layout.tag(manifest, tag)
    return tag


def test_ig_lists_what_we_store(ig: Ig) -> None:
    """Same short names, same digests; signatures are hidden there, too."""
    image = put(ig.layout, "foo", "a/b:1", "localhost:5000/c")
    sign(ig.layout, image)
    ours = {Reference.parse(name).familiar for name in ig.layout.names() if not name.startswith("sha256-")}
    assert ig.images() == dict.fromkeys(ours, image.digest)


def test_our_index_json_is_the_one_ig_would_write(ig: Ig) -> None:
    """After ig saved it again, it lists the same entries."""
    put(ig.layout, "foo")
    before = json.loads((ig.layout.root / "index.json").read_bytes())
    ig("image", "tag", "foo", "bar")
    ig("image", "remove", "bar")
    after = json.loads((ig.layout.root / "index.json").read_bytes())

    def entries(document: dict) -> list[str]:
        return sorted(json.dumps(entry, sort_keys=True) for entry in document["manifests"])

    assert entries(after) == entries(before)
    assert {**after, "manifests": None} == {**before, "manifests": None}


def test_names_of_ig_are_ours(ig: Ig) -> None:
    """What ig tags we resolve, what we tag ig removes."""
    image = put(ig.layout, "foo")
    ig("image", "tag", "foo", "localhost:5000/x:v1")
    assert ig.layout.resolve(Reference.parse("localhost:5000/x:v1")) == image
    ig.layout.tag(image, Reference.parse("y"))
    ig("image", "remove", "y")
    ig("image", "remove", "foo")
    assert list(ig.layout.names()) == ["localhost:5000/x:v1"]
    ig.layout.remove("localhost:5000/x:v1", grace_s=0)
    assert ig.images() == {}
    assert list((ig.layout.root / "blobs/sha256").iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "foo/bar",
        "localhost/foo",
        "localhost:5000/foo",
        "docker.io/foo",
        "docker.io/foo/bar",
        "index.docker.io/foo",
        "ghcr.io/foo",
        "ghcr.io/foo/bar",
        "FOO/bar:Tag",
        "a__b/c",
        "[::1]:5000/foo",
        "reg_io.x/foo",
        "DOCKER.io/foo",
        f"foo:1@sha256:{HEX}",
        "foo/Bar",
        "FOO",
        "a___b/c",
        "a..b/c",
        "foo:",
        "foo:-x",
        "https://ghcr.io/foo/bar",
        "foo bar",
        "foo//bar",
        "reg.io:/foo",
        "a-.b/foo",
        "foo@sha256:abc",
        "a" * 231,
        "a" * 232,
    ],
)
def test_references_mean_what_they_mean_to_ig(ig: Ig, text: str) -> None:
    """The name under which `ig image tag` stores, or its refusal, is ours."""
    put(ig.layout, "source")
    done = ig.run("image", "tag", "source", text)
    added = [name for name in ig.layout.names() if not name.endswith("/source:latest")]
    try:
        expected = [str(Reference.parse(text))]
    except InvalidReference:
        expected = []
    assert (done.returncode == 0, added) == (bool(expected), expected)


def test_ig_imports_our_archive(ig: Ig, tmp_path: Path) -> None:
    """Names, digests and the signature arrive."""
    home = Layout.open(tmp_path / "home", create=True)
    image = put(home, "foo", "a/b:1")
    tag = sign(home, image)
    (tmp_path / "x.tar").write_bytes(b"".join(export_archive(home, [FOO, "ghcr.io/a/b:1"])))
    assert FOO in ig("image", "import", tmp_path / "x.tar")
    assert ig.images() == {"foo:latest": image.digest, "ghcr.io/a/b:1": image.digest}
    assert ig.layout.resolve(tag) == home.resolve(tag)


def test_we_import_the_archive_of_ig(ig: Ig, tmp_path: Path) -> None:
    """And it exports to the same files that we would."""
    image = put(ig.layout, "foo", "a/b:1")
    ig("image", "export", "foo", "a/b:1", tmp_path / "x.tar")
    other = Layout.open(tmp_path / "other", create=True)
    with (tmp_path / "x.tar").open("rb") as file:
        assert import_archive(other, file, "x.tar") == ["ghcr.io/a/b:1", FOO]
    assert [found.digest for found in other.names().values()] == [image.digest] * 2
    assert b"".join(export_archive(other, [FOO])) == b"".join(export_archive(ig.layout, [FOO]))


def test_ig_and_we_tag_at_the_same_time(ig: Ig) -> None:
    """No name is lost on either side."""
    image = put(ig.layout, "foo")

    def ours() -> None:
        for i in range(150):
            ig.layout.tag(image, Reference.parse(f"ours:{i}"))

    def theirs(worker: int) -> None:
        for i in range(5):
            ig("image", "tag", "foo", f"theirs:{worker}-{i}")

    threads = [threading.Thread(target=ours), *(threading.Thread(target=theirs, args=[n]) for n in range(3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tags = {Reference.parse(name).familiar for name in ig.layout.names()}
    expected = {f"ours:{i}" for i in range(150)} | {f"theirs:{n}-{i}" for n in range(3) for i in range(5)}
    assert tags == {"foo:latest", *expected}
    assert set(ig.images().values()) == {image.digest}
