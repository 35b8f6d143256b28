"""Finding what is signed about an image: by the tags of cosign, and by subject."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol

from gadgetops.errors import ContentError, NotFound
from gadgetops.oci.content import MEDIA_TYPE_EMPTY, Descriptor, Index
from gadgetops.oci.graph import Source, Target, fetch_document
from gadgetops.oci.signing.sealed import ARTIFACT_TYPE_COSIGN, MEDIA_TYPE_BUNDLE, Sealed, read_manifest

MAX_MANIFESTS: Final = 256
"""No more manifests than this are read for one image: anybody may attach some, and reading takes time."""

_SIGNED_TYPES = frozenset({ARTIFACT_TYPE_COSIGN, MEDIA_TYPE_BUNDLE})
# cosign 2.5 lists its bundles with the media type of their config, others with none: then the manifest tells.
_LISTED_TYPES = _SIGNED_TYPES | {MEDIA_TYPE_EMPTY, None}


class SignedSource(Source, Protocol):
    """Where an image and what is attached to it can be found: a layout, the repository of a registry."""

    def resolve(self, reference: str) -> Descriptor:
        """Return what the tag *reference* stands for; `NotFound` if nothing has it."""
        ...

    def referrers(self, digest: str) -> list[Descriptor]:
        """Return the manifests whose subject is *digest*, with their artifact types."""
        ...


class SignedTarget(SignedSource, Target, Protocol):
    """Where signatures can be attached."""

    def publish(self, named: Mapping[str, Descriptor], untagged: Iterable[Descriptor] = ()) -> None:
        """Let tags stand for manifests and list *untagged* ones, all of which were added before."""
        ...


def tag_of(digest: str, suffix: str = "") -> str:
    """Return cosign's tag for what is attached to *digest*: `sha256-<hex>`, and `.sig` for signatures."""
    return f"{digest.replace(':', '-')}{suffix}"


def find(source: SignedSource, digest: str) -> Iterator[Sealed | ContentError]:
    """
    Yield what is signed about *digest*, and what means to be but cannot be read, nothing of it checked.

    Signatures by tag come first, as `ig` and cosign look for them; then referrers, sorted by digest.
    """
    for place, descriptor, artifact_types in _manifests(source, digest):
        try:
            yield from read_manifest(source, descriptor, place, artifact_types)
        except ContentError as error:
            yield error


def _manifests(source: SignedSource, digest: str) -> list[tuple[str, Descriptor, frozenset[str] | None]]:
    """
    Return each manifest that may hold signatures: place, descriptor, artifact types it must have to count.

    No more than `MAX_MANIFESTS`.
    """
    tagged = ((tag, resolve_tag(source, tag)) for tag in (tag_of(digest, ".sig"), tag_of(digest, ".att")))
    found: list[tuple[str, Descriptor, frozenset[str] | None]]
    found = [(tag, descriptor, None) for tag, descriptor in tagged if descriptor is not None]
    referrers = {each.digest: each for each in (*_listed_by_tag(source, digest), *source.referrers(digest))}
    signed = (each for each in referrers.values() if each.artifact_type in _LISTED_TYPES)
    found += [(each.digest, each, _SIGNED_TYPES) for each in sorted(signed, key=lambda each: each.digest)]
    return found[:MAX_MANIFESTS]


def resolve_tag(source: SignedSource, tag: str) -> Descriptor | None:
    """Return what *tag* stands for, None if nothing has it."""
    try:
        return source.resolve(tag)
    except NotFound:
        return None


def _listed_by_tag(source: SignedSource, digest: str) -> tuple[Descriptor, ...]:
    """Return the referrers in the index that stands for them where none lists them (`sha256-<hex>`)."""
    tag = tag_of(digest)
    descriptor = resolve_tag(source, tag)
    if descriptor is None or not descriptor.is_index:
        return ()
    try:
        return Index.from_bytes(fetch_document(source, descriptor), tag).manifests
    except ContentError:
        return ()  # whoever damages this index could as well have removed it
