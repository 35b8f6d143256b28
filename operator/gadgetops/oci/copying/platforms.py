"""An image of some platforms: an index with their manifests alone, which has a digest of its own."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from gadgetops.errors import NotFound, UsageError
from gadgetops.oci.content import Descriptor, Index, Platform
from gadgetops.oci.copying.endpoints import AttachedSource, Origin
from gadgetops.oci.graph import children_of, fetch_document


def select_platforms(origin: Origin, platforms: Sequence[str]) -> tuple[AttachedSource, Descriptor]:
    """
    Return source and root of *origin*, of its *platforms* alone if any are given.

    Raises:
        NotFound: It lacks one of them.
        UsageError: It is no index, and so for no platform in particular.
    """
    if not platforms:
        return origin.source, origin.root
    if not origin.root.is_index:
        raise UsageError(
            f"{origin.root.digest}: has no platforms to choose from", hint="leave out --platform"
        )
    index = Index.from_bytes(fetch_document(origin.source, origin.root), f"index {origin.root.digest}")
    where = str(origin.name or origin.root.digest)
    chosen = [_of_platform(index, wanted, where) for wanted in platforms]
    kept = tuple(entry for entry in index.manifests if entry in chosen)
    if kept == index.manifests:
        return origin.source, origin.root
    data = replace(index, manifests=kept).to_bytes()
    root = Descriptor.of(data, origin.root.media_type)
    return _Overlay(origin.source, root, data), root


def manifest_of_platform(origin: Origin, platform: str) -> Descriptor:
    """Return the manifest for *platform*; errors as of `select_platforms`."""
    source, root = select_platforms(origin, [platform])
    return Index.from_bytes(fetch_document(source, root), f"index {root.digest}").manifests[0]


class _Overlay:
    """A source with one document more."""

    def __init__(self, source: AttachedSource, descriptor: Descriptor, data: bytes) -> None:
        self._source = source
        self._descriptor = descriptor
        self._data = data

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        """Yield the content of *descriptor*, verified."""
        if descriptor.digest == self._descriptor.digest:
            return descriptor.verified([self._data])
        return self._source.chunks(descriptor)

    def with_attachments(self, roots: Iterable[Descriptor]) -> tuple[list[Descriptor], dict[str, Descriptor]]:
        """Return all under *roots* with what is attached to it; nothing is attached to the new document."""
        below = [child for root in roots for child in children_of(self, root)]
        nodes, tags = self._source.with_attachments(below)
        return [*nodes, self._descriptor], tags


def _of_platform(index: Index, wanted: str, where: str) -> Descriptor:
    for entry in index.manifests:
        if entry.platform is not None and _is_meant(entry.platform, wanted):
            return entry
    there = ", ".join(str(entry.platform) for entry in index.manifests if entry.platform is not None)
    raise NotFound(f"platform {wanted}", where=where, hint=f"it has {there or 'none'}")


def _is_meant(platform: Platform, wanted: str) -> bool:
    without_variant = f"{platform.os}/{platform.architecture}"
    return wanted in (str(platform), without_variant, platform.architecture)
