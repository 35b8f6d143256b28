"""A layout in a fresh folder, and small images to put into it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gadgetops.oci.content import MEDIA_TYPE_MANIFEST, Descriptor, Manifest
from gadgetops.oci.image import EMPTY_CONFIG, Blob, PlatformContent, write_image
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.reference import Reference

CREATED = {"org.opencontainers.image.created": "2024-01-01T00:00:00Z"}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty layout."""
    return Layout.open(tmp_path / "layout", create=True)


@pytest.fixture
def put(layout: Layout) -> Callable[..., Descriptor]:
    """Store an image of two architectures with layers of that text: `put("text", "foo", "bar:2")`."""

    def store(text: str, *names: str) -> Descriptor:
        contents = [
            PlatformContent(
                architecture,
                Blob(b"name: test\n", "application/x.config"),
                [Blob(f"{text} for {architecture}".encode(), "application/x.layer")],
            )
            for architecture in ("arm64", "amd64")
        ]
        return write_image(
            layout,
            contents,
            artifact_type="application/x.artifact",
            annotations=CREATED,
            references=[Reference.parse(name) for name in names],
        )

    return store


@pytest.fixture
def sign(layout: Layout) -> Callable[..., Descriptor]:
    """Attach a manifest to an image by tag, `sign(image)`, or as referrer, `sign(image, by_subject=True)`."""

    def attach(image: Descriptor, *, by_subject: bool = False) -> Descriptor:
        payload = layout.add_blob(f"signed {image.digest}".encode(), "application/x.signature")
        manifest = Manifest(
            config=layout.add_blob(EMPTY_CONFIG.data, EMPTY_CONFIG.media_type),
            layers=(payload,),
            artifact_type="application/x.signature",
            subject=image if by_subject else None,
        )
        descriptor = layout.add_blob(manifest.to_bytes(), MEDIA_TYPE_MANIFEST)
        tag = f"{image.digest.replace(':', '-')}.sig"
        layout.publish({} if by_subject else {tag: descriptor}, untagged=[descriptor])
        return descriptor

    return attach
