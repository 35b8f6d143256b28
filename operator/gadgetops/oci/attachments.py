"""What says something about content, such as signatures: by its subject, or by a tag made of the digest."""

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from gadgetops.errors import ContentError
from gadgetops.oci.content import Descriptor, Manifest
from gadgetops.oci.graph import Children, Source, children_of, fetch_document, walk
from gadgetops.oci.layout.index_file import IndexFile

ATTACHMENT_SUFFIXES: Final = ("", ".sig", ".att", ".sbom")
"""What follows `sha256-<hex>` in the tags of attachments: of referrers in general, and cosign's three."""

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


def tops(
    source: Source, listed: Iterable[tuple[str | None, Descriptor]], children: Children | None = None
) -> list[Descriptor]:
    """
    Return what of the *listed* names and content is part of nothing else and attached to nothing.

    Args:
        source: Where manifests can be read.
        listed: What is there.
        children: What a piece of content consists of; `graph.children_of` by default, which raises
            `ContentError` for what is damaged.
    """
    children = children or partial(children_of, source)
    entries = {entry.digest: entry for name, entry in listed if not signed_digest(name or "")}
    inner = {child.digest for entry in entries.values() for child in children(entry)}
    about = referrers_by_subject(source, entries.values())
    inner.update(each.digest for subject in entries.keys() & about.keys() for each in about[subject])
    return [entry for digest, entry in entries.items() if digest not in inner]


def with_attachments(
    source: Source, index: IndexFile, roots: Iterable[Descriptor], children: Children
) -> tuple[list[Descriptor], dict[str, Descriptor]]:
    """
    Return what lies under *roots* and what *index* lists as attached to any of it (`gather`).

    Args:
        source: Where manifests can be read.
        index: What is listed there.
        roots: Where to begin.
        children: What a piece of content consists of (`graph.children_of`).
    """
    referrers = referrers_by_subject(source, (entry for _, entry in index.entries))
    tags: dict[str, dict[str, Descriptor]] = {}
    for name, tag in index.names.items():
        if (digest := signed_digest(name)) is not None:
            tags.setdefault(digest, {})[name] = tag
    return gather(
        roots,
        children,
        referrers=lambda node: referrers.get(node.digest, ()),
        tags=lambda digest: tags.get(digest, {}),
    )


def gather(
    roots: Iterable[Descriptor],
    children: Children,
    *,
    referrers: Children,
    tags: Callable[[str], Mapping[str, Descriptor]],
) -> tuple[list[Descriptor], dict[str, Descriptor]]:
    """
    Return what lies under *roots* and what is attached to any of it, attachments of attachments too.

    Args:
        roots: Where to begin.
        children: What a piece of content consists of.
        referrers: The manifests whose subject a manifest or index is; asked once for each.
        tags: The signature tags made of a digest of a manifest or index; asked once for each.

    Returns:
        Everything, children before parents; and by name the signature tags among it.
    """
    found: dict[str, Descriptor] = {}

    def around(node: Descriptor) -> list[Descriptor]:
        below = [*children(node)]
        if not (node.is_index or node.is_manifest):
            return below
        tagged = tags(node.digest)
        found.update(tagged)
        return [*below, *referrers(node), *tagged.values()]

    return walk(roots, around), dict(sorted(found.items()))
