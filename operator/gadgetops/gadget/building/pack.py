"""Packing objects and metadata into an OCI image, member for member as ig v0.48.0 does."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from gadgetops.gadget.building.created import Created
from gadgetops.gadget.documents.metadata import Metadata
from gadgetops.gadget.media_types import (
    ARTIFACT_TYPE,
    MEDIA_TYPE_METADATA,
    MEDIA_TYPE_OBJECT,
    MEDIA_TYPE_WASM,
)
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

ANNOTATION_BUILDER_VERSION: Final = "io.inspektor-gadget.builder.version"
IG_VERSION: Final = "v0.55.1"
"""The ig whose images ours are like; one that runs an image warns if it is of another version."""

_ANNOTATED_TEXTS: Final = {
    "org.opencontainers.image.title": "name",
    "org.opencontainers.image.description": "description",
    "org.opencontainers.image.url": "homepageURL",
    "org.opencontainers.image.documentation": "documentationURL",
    "org.opencontainers.image.source": "sourceURL",
}


@dataclass(frozen=True)
class Packed:
    """
    An image.

    Attributes:
        index: Descriptor of its index, annotated as ig annotates it in its store.
        contents: All it consists of, the index included: what is referred to stands before what refers to it.
    """

    index: Descriptor
    contents: tuple[tuple[Descriptor, bytes], ...]


def pack(
    objects: Mapping[str, bytes | None],
    *,
    metadata: Metadata | None,
    wasm: bytes | None,
    created: Created,
    builder_version: str = IG_VERSION,
) -> Packed:
    """
    Return the image of *objects*.

    Args:
        objects: ELF by architecture; None where the gadget has no programs.
        metadata: Becomes the config, byte for byte; None gives the empty config.
        wasm: Module that every architecture gets.
        created: When the gadget was made.
        builder_version: What the image says it was built by.
    """
    annotations = _annotations(metadata, created, builder_version)
    config_bytes, config = _config(metadata, annotations)
    contents = [(config, config_bytes)]
    manifests = []
    for architecture, content in sorted(objects.items()):
        layers = [*_layer(content, MEDIA_TYPE_OBJECT), *_layer(wasm, MEDIA_TYPE_WASM)]
        manifest = Manifest(
            config=config,
            layers=tuple(descriptor for descriptor, _ in layers),
            artifact_type=ARTIFACT_TYPE,
            annotations=annotations,
        ).to_bytes()
        platform = Platform(architecture)
        described = Descriptor.of(manifest, MEDIA_TYPE_MANIFEST, annotations=annotations, platform=platform)
        contents += [*layers, (described, manifest)]
        manifests.append(described)
    index = Index(manifests=tuple(manifests), annotations=annotations).to_bytes()
    described = Descriptor.of(index, MEDIA_TYPE_INDEX, annotations=annotations)
    return Packed(described, (*contents, (described, index)))


def _annotations(metadata: Metadata | None, created: Created, builder_version: str) -> dict[str, str]:
    """Return the annotations, the same at every level; the metadata's own override all but `created`."""
    if metadata is None:
        return {ANNOTATION_CREATED: str(created)}
    return {
        **{annotation: metadata.text(key) for annotation, key in _ANNOTATED_TEXTS.items()},
        ANNOTATION_BUILDER_VERSION: builder_version,
        **metadata.annotations,
        ANNOTATION_CREATED: str(created),
    }


def _config(metadata: Metadata | None, annotations: dict[str, str]) -> tuple[bytes, Descriptor]:
    if metadata is None:
        described = Descriptor.of(EMPTY_JSON, MEDIA_TYPE_EMPTY, annotations=annotations)
        return EMPTY_JSON, replace(described, data=EMPTY_JSON)
    return metadata.content, Descriptor.of(metadata.content, MEDIA_TYPE_METADATA, annotations=annotations)


def _layer(content: bytes | None, media_type: str) -> list[tuple[Descriptor, bytes]]:
    return [] if content is None else [(Descriptor.of(content, media_type), content)]
