"""Another reader and writer of OCI layouts as a witness: skopeo."""

import hashlib
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from gadgetops.oci.content import Descriptor
from gadgetops.oci.image import Blob, Image, PlatformContent, write_image
from gadgetops.oci.layout.archive import export_archive, import_archive
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.reference import Reference

NAME = "ghcr.io/a/b:1"


@pytest.fixture(autouse=True)
def _needs_skopeo() -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("no `skopeo` on PATH")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A layout with one image named `NAME`."""
    layout = Layout.open(tmp_path / "layout", create=True)
    config = Blob(
        json.dumps(
            {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
        ).encode(),
        "application/vnd.oci.image.config.v1+json",
    )
    contents = [
        PlatformContent(
            architecture,
            config,
            [Blob(f"layer {architecture}".encode(), "application/vnd.oci.image.layer.v1.tar")],
        )
        for architecture in ("amd64", "arm64")
    ]
    write_image(layout, contents, artifact_type="application/x", annotations={"a": "<&>"}, references=[NAME])
    return layout


def skopeo(*arguments: object) -> bytes:
    """Run skopeo and return what it printed."""
    return subprocess.run(["skopeo", *map(str, arguments)], check=True, capture_output=True).stdout


def digest_seen(source: str) -> str:
    """Return the digest of the index that skopeo reads from *source*."""
    return "sha256:" + hashlib.sha256(skopeo("inspect", "--raw", source)).hexdigest()


def image_in(layout: Layout) -> Descriptor:
    """Return the image."""
    return layout.resolve(NAME)


def test_skopeo_reads_our_layout(layout: Layout) -> None:
    """The same index, and of it the manifest of an architecture."""
    source = f"oci:{layout.root}:{NAME}"
    assert digest_seen(source) == image_in(layout).digest
    inspected = json.loads(skopeo("--override-arch", "arm64", "inspect", source))
    manifest = Image.load(layout, NAME).manifest("arm64")
    assert inspected["Layers"] == [manifest.layers[0].digest]


def test_skopeo_reads_our_archive(layout: Layout, tmp_path: Path) -> None:
    """`oci-archive:` is the form of `gadgetops export`."""
    archive = tmp_path / "x.tar"
    archive.write_bytes(b"".join(export_archive(layout, [NAME])))
    assert digest_seen(f"oci-archive:{archive}:{NAME}") == image_in(layout).digest


def test_we_read_the_archive_of_skopeo(layout: Layout, tmp_path: Path) -> None:
    """With the short name that it was given there, and with none."""
    source, archive = f"oci:{layout.root}:{NAME}", tmp_path / "x.tar"
    skopeo("copy", "--all", "--preserve-digests", source, f"oci-archive:{archive}:short:2")
    other = Layout.open(tmp_path / "other", create=True)
    with archive.open("rb") as file:
        assert import_archive(other, file, "x.tar") == ["ghcr.io/inspektor-gadget/gadget/short:2"]
    assert other.resolve(Reference.parse("short:2")).digest == image_in(layout).digest
    nameless = tmp_path / "nameless.tar"
    skopeo("copy", "--all", "--preserve-digests", source, f"oci-archive:{nameless}")
    with nameless.open("rb") as file:
        assert import_archive(other, file, "x.tar", name=Reference.parse("named")) == [
            "ghcr.io/inspektor-gadget/gadget/named:latest"
        ]


def test_skopeo_writes_into_our_layout(layout: Layout, tmp_path: Path) -> None:
    """What it adds is whole for us, and what we had stays."""
    skopeo("copy", "--all", f"oci:{layout.root}:{NAME}", f"oci:{layout.root}:ghcr.io/c/d:2")
    assert layout.names() == {NAME: image_in(layout), "ghcr.io/c/d:2": image_in(layout)}
    archive = b"".join(export_archive(layout, ["ghcr.io/c/d:2"]))
    other = Layout.open(tmp_path / "other", create=True)
    assert import_archive(other, io.BytesIO(archive), "x.tar") == ["ghcr.io/c/d:2"]


@pytest.mark.parametrize("place", ["oci", "archive"])
def test_skopeo_reads_our_copy_without_a_name(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gadgetops, place: str
) -> None:
    """index.json lists the image and not its parts, or skopeo would ask which one is meant."""
    monkeypatch.setenv("GADGETOPS_STORE", str(layout.root))
    target = tmp_path / "copy"
    done = gadgetops("copy", f"store:{NAME}", f"{place}:{target}")
    assert done.status == 0, done.err
    transport = "oci" if place == "oci" else "oci-archive"
    assert digest_seen(f"{transport}:{target}") == image_in(layout).digest
