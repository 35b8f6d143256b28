"""Images of several platforms, written and read."""

import json
from collections.abc import Callable

import pytest

from gadgetops.errors import ContentError, NotFound, UnsupportedMediaType
from gadgetops.oci.content import (
    MEDIA_TYPE_DOCKER_INDEX,
    MEDIA_TYPE_DOCKER_MANIFEST,
    MEDIA_TYPE_INDEX,
    MEDIA_TYPE_MANIFEST,
    Descriptor,
    Index,
    Platform,
)
from gadgetops.oci.image import EMPTY_CONFIG, Blob, Image, PlatformContent, write_image
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.reference import Reference

Put = Callable[..., Descriptor]


def test_image_reads_back(layout: Layout, put: Put) -> None:
    """Platforms sorted by architecture, content by architecture and media type."""
    put("v1", "foo")
    image = Image.load(layout, Reference.parse("foo"))
    assert image.platforms == (Platform("amd64"), Platform("arm64"))
    assert image.created == "2024-01-01T00:00:00Z"
    assert image.config("arm64") == b"name: test\n"
    assert image.layer("arm64", "application/x.layer") == b"v1 for arm64"
    assert image.manifest("amd64").artifact_type == "application/x.artifact"


def test_same_image_has_the_same_digest_everywhere(layout: Layout) -> None:
    """A golden value: whoever changes it changes every digest that users have pinned."""
    descriptor = write_image(
        layout,
        [PlatformContent("amd64", EMPTY_CONFIG, [Blob(b"ELF", "application/x.layer")])],
        artifact_type="application/x.artifact",
        annotations={"b": "", "a": "<&>"},
    )
    assert descriptor.digest == "sha256:45d0e947c7725c6163dd008fb7797a45f7bbc20f7afe2159406358984330f819"


def test_annotations_are_on_every_level(layout: Layout, put: Put) -> None:
    """Config descriptor, manifest, manifest descriptor and index: ig's rule."""
    image = put("v1", "foo")
    index = json.loads(layout.fetch(image))
    manifest = json.loads(layout.fetch(Index.from_bytes(layout.fetch(image)).manifests[0]))
    expected = {"org.opencontainers.image.created": "2024-01-01T00:00:00Z"}
    places = [index, index["manifests"][0], manifest, manifest["config"]]
    assert [place["annotations"] for place in places] == [expected] * 4
    assert "annotations" not in manifest["layers"][0]


def test_unnamed_image_is_listed_untagged(layout: Layout, put: Put) -> None:
    """It can be named, or removed, by its digest."""
    image = put("v1")
    assert layout.names() == {}
    assert layout.resolve(image.digest) == image


def test_what_an_image_lacks_is_not_found(layout: Layout, put: Put) -> None:
    """The hint says what it has."""
    put("v1", "foo")
    image = Image.load(layout, Reference.parse("foo"))
    with pytest.raises(NotFound) as architecture:
        image.config("riscv64")
    assert architecture.value.hint == "it has amd64, arm64"
    with pytest.raises(NotFound, match="application/other"):
        image.layer("amd64", "application/other")


@pytest.mark.parametrize(
    "media_type", [MEDIA_TYPE_MANIFEST, MEDIA_TYPE_DOCKER_INDEX, MEDIA_TYPE_DOCKER_MANIFEST]
)
def test_only_an_oci_index_is_an_image(layout: Layout, media_type: str) -> None:
    """ig runs nothing else either."""
    with pytest.raises(UnsupportedMediaType) as caught:
        Image.of(layout, Descriptor.of(b"{}", media_type), "foo")
    assert (caught.value.what, caught.value.actual) == ("foo", media_type)


def test_entry_without_platform_is_refused(layout: Layout) -> None:
    """ig v0.48.0 panics on one, for the whole store."""
    entry = Descriptor(MEDIA_TYPE_MANIFEST, f"sha256:{'0' * 64}", 2)
    image = layout.add_blob(Index(manifests=(entry,)).to_bytes(), MEDIA_TYPE_INDEX)
    with pytest.raises(ContentError, match=r"foo: manifests\[0\]: platform is missing"):
        Image.of(layout, image, "foo")


def test_index_inside_an_index_is_no_manifest(layout: Layout) -> None:
    """It is refused where the manifest is asked for."""
    inner = layout.add_blob(Index().to_bytes(), MEDIA_TYPE_INDEX)
    entry = Descriptor(inner.media_type, inner.digest, inner.size_bytes, platform=Platform("amd64"))
    outer = layout.add_blob(Index(manifests=(entry,)).to_bytes(), MEDIA_TYPE_INDEX)
    with pytest.raises(UnsupportedMediaType):
        Image.of(layout, outer, "foo").manifest("amd64")
