"""What says something about content, such as signatures: by its subject, or by a tag made of the digest."""

import contextlib
import re
from collections.abc import Iterable
from dataclasses import replace

from gadgetops.errors import ContentError
from gadgetops.oci.content import Descriptor, Manifest
from gadgetops.oci.graph import Children, Source, fetch_document, walk
from gadgetops.oci.index_file import IndexFile

_SIGNATURE_TAG = re.compile(r"sha256-(?P<hex>[0-9a-f]{64})(?:\.[a-z]+)?", re.ASCII)


def signed_digest(name: str) -> str | None:
    """
    Return the digest that the signature tag *name* says something about, None for any other name.

    cosign names what it attaches to an image `sha256-<hex>.sig` (or `.att`, `.sbom`), and `sha256-<hex>`
    where a registry has no referrers API; ig keeps these names as they are, without a repository.
    """
    match = _SIGNATURE_TAG.fullmatch(name)
    return match and f"sha256:{match['hex']}"


def referrers_by_subject(source: Source, listed: Iterable[Descriptor]) -> dict[str, list[Descriptor]]:
    """
    Return, by digest of the subject, the manifests among *listed* that say something about it.

    Their descriptors have artifact type and annotations of the manifest, as a registry's referrers API has
    them (distribution-spec v1.1.1). Damaged manifests say nothing.
    """
    found: dict[str, list[Descriptor]] = {}
    for entry in {entry.digest: entry for entry in listed if entry.is_manifest}.values():
        with contextlib.suppress(ContentError):
            manifest = Manifest.from_bytes(fetch_document(source, entry), f"manifest {entry.digest}")
            if manifest.subject is not None:
                found.setdefault(manifest.subject.digest, []).append(as_referrer(entry, manifest))
    return found


def as_referrer(entry: Descriptor, manifest: Manifest) -> Descriptor:
    """Return *entry*, which describes *manifest*, as a list of referrers has it."""
    artifact_type = manifest.artifact_type or manifest.config.media_type
    return replace(entry, annotations=manifest.annotations, artifact_type=artifact_type)


def with_attachments(
    source: Source, index: IndexFile, roots: Iterable[Descriptor], children: Children
) -> tuple[list[Descriptor], dict[str, Descriptor]]:
    """
    Return what lies under *roots* and what is attached to any of it, attachments of attachments too.

    Args:
        source: Where manifests can be read.
        index: What is listed there.
        roots: Where to begin.
        children: What a piece of content consists of (`graph.children_of`).

    Returns:
        Everything, children before parents; and by name the signature tags among it.
    """
    referrers = referrers_by_subject(source, (entry for _, entry in index.entries))
    tags: dict[str, Descriptor] = {}

    def below_and_about(node: Descriptor) -> list[Descriptor]:
        return [*children(node), *referrers.get(node.digest, ())]

    beginning = list(roots)
    while True:
        nodes = walk([*beginning, *tags.values()], below_and_about)
        digests = {node.digest for node in nodes}
        found = {name: tag for name, tag in index.names.items() if signed_digest(name) in digests}
        if found == tags:
            return nodes, tags
        tags = found
