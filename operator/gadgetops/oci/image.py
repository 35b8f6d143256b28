"""
Images of several platforms: an index, a manifest each, their configs and layers.

What a config or layer holds is known to the caller alone, by its media type.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gadgetops.errors import ContentError, NotFound, UnsupportedMediaType
from gadgetops.oci.content import (
    ANNOTATION_CREATED,
    EMPTY_JSON,
    MEDIA_TYPE_EMPTY,
    MEDIA_TYPE_INDEX,
    MEDIA_TYPE_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    Platform,
)
from gadgetops.oci.graph import Source, fetch_document
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.reference import Reference


@dataclass(frozen=True)
class Image:
    """
    An image in a layout; manifests, configs and layers are read, and verified, when asked for.

    Attributes:
        source: Where the image's content is.
        reference: The name it was asked for by.
        descriptor: Of its index.
        index: The index; every entry has a platform.
    """

    source: Source = field(repr=False)
    reference: Reference | str
    descriptor: Descriptor
    index: Index

    @classmethod
    def load(cls, layout: Layout, reference: Reference | str) -> "Image":
        """
        Return the image that *reference* stands for in *layout*.

        Raises:
            NotFound: There is none.
            UnsupportedMediaType: It is no OCI index: ig, too, runs nothing else.
            ContentError: It is damaged, or an entry of it says no platform.
        """
        return cls.of(layout, layout.resolve(reference), reference)

    @classmethod
    def of(cls, source: Source, descriptor: Descriptor, reference: Reference | str) -> "Image":
        """Return the image whose index is *descriptor*; errors as of `load`."""
        if descriptor.media_type != MEDIA_TYPE_INDEX:
            raise UnsupportedMediaType(
                str(reference), expected=MEDIA_TYPE_INDEX, actual=descriptor.media_type
            )
        index = Index.from_bytes(fetch_document(source, descriptor), str(reference))
        for position, entry in enumerate(index.manifests):
            if entry.platform is None:
                raise ContentError(f"{reference}: manifests[{position}]: platform is missing")
        return cls(source=source, reference=reference, descriptor=descriptor, index=index)

    @property
    def digest(self) -> str:
        """Digest of the index."""
        return self.descriptor.digest

    @property
    def annotations(self) -> Mapping[str, str]:
        """Annotations of the index."""
        return self.index.annotations

    @property
    def created(self) -> str | None:
        """When it was built, RFC 3339, if it says so."""
        return self.annotations.get(ANNOTATION_CREATED)

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms, in the order of the index."""
        return tuple(entry.platform for entry in self.index.manifests if entry.platform is not None)

    @property
    def architectures(self) -> tuple[str, ...]:
        """The architectures, in the order of the index."""
        return tuple(platform.architecture for platform in self.platforms)

    def manifest(self, architecture: str) -> Manifest:
        """Return the manifest for *architecture*; `NotFound` names those there are."""
        what = f"{self.reference}: {architecture}"
        descriptor = self._descriptor_of(architecture)
        if descriptor.media_type != MEDIA_TYPE_MANIFEST:
            raise UnsupportedMediaType(what, expected=MEDIA_TYPE_MANIFEST, actual=descriptor.media_type)
        return Manifest.from_bytes(fetch_document(self.source, descriptor), what)

    def config(self, architecture: str) -> bytes:
        """Return the config for *architecture*."""
        return self.fetch(self.manifest(architecture).config)

    def layer(self, architecture: str, media_type: str) -> bytes:
        """Return the first layer of *media_type* for *architecture*; `NotFound` if it has none."""
        for layer in self.manifest(architecture).layers:
            if layer.media_type == media_type:
                return self.fetch(layer)
        raise NotFound(f"layer of type {media_type} for {architecture}", where=str(self.reference))

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Return the verified content of a *descriptor* found in this image."""
        return b"".join(self.source.chunks(descriptor))

    def _descriptor_of(self, architecture: str) -> Descriptor:
        for entry in self.index.manifests:
            if entry.platform is not None and entry.platform.architecture == architecture:
                return entry
        hint = f"it has {', '.join(self.architectures) or 'none'}"
        raise NotFound(f"architecture {architecture}", where=str(self.reference), hint=hint)


@dataclass(frozen=True, slots=True)
class Blob:
    """Content and its media type."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class PlatformContent:
    """
    What an image holds for one architecture (of Linux).

    Attributes:
        architecture: In Go's words: `"amd64"`, `"arm64"`.
        config: The config; `EMPTY_CONFIG` where there is none.
        layers: The layers, in order.
    """

    architecture: str
    config: Blob
    layers: Sequence[Blob]


EMPTY_CONFIG = Blob(EMPTY_JSON, MEDIA_TYPE_EMPTY)
"""The config of an artifact that has none (image-spec v1.1.1, "Guidance for an Empty Descriptor")."""


def write_image(
    layout: Layout,
    contents: Iterable[PlatformContent],
    *,
    artifact_type: str,
    annotations: Mapping[str, str],
    references: Sequence[Reference | str] = (),
) -> Descriptor:
    """
    Store an image and return the descriptor of its index, byte for byte the one ig would build.

    Config descriptors, manifests, their descriptors and the index all carry *annotations*; manifests are
    sorted by architecture. Nothing is named before all of it is stored.

    Args:
        layout: Where to.
        contents: One for each architecture, in any order.
        artifact_type: Artifact type of the manifests.
        annotations: Free text by key.
        references: Names for it; without any it is stored and listed untagged.
    """
    index = Index(
        manifests=tuple(
            _write_manifest(layout, content, artifact_type, annotations)
            for content in sorted(contents, key=lambda content: content.architecture)
        ),
        annotations=annotations,
    )
    descriptor = layout.add_blob(index.to_bytes(), MEDIA_TYPE_INDEX)
    layout.publish({str(reference): descriptor for reference in references}, untagged=[descriptor])
    return descriptor


def _write_manifest(
    layout: Layout, content: PlatformContent, artifact_type: str, annotations: Mapping[str, str]
) -> Descriptor:
    config = layout.add_blob(content.config.data, content.config.media_type)
    embedded = content.config.data if content.config.media_type == MEDIA_TYPE_EMPTY else None
    manifest = Manifest(
        config=replace(config, annotations=annotations, data=embedded),
        layers=tuple(layout.add_blob(layer.data, layer.media_type) for layer in content.layers),
        artifact_type=artifact_type,
        annotations=annotations,
    )
    descriptor = layout.add_blob(manifest.to_bytes(), MEDIA_TYPE_MANIFEST)
    return replace(descriptor, annotations=annotations, platform=Platform(content.architecture))
