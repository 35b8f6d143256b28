"""What nothing needs any more: which entries go when a name goes, and which blobs may be deleted."""

import contextlib
import re
import time
from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from gadgetops.errors import ContentError
from gadgetops.oci.attachments import signed_digest, tops, with_attachments
from gadgetops.oci.content import DIGEST_LENGTHS, MAX_MANIFEST_BYTES, Descriptor, is_digest
from gadgetops.oci.graph import Source, children_of, walk
from gadgetops.oci.layout.index_file import IndexFile
from gadgetops.whole_files import storage_errors

_DIGEST_IN_TEXT: Final = re.compile(rb"(?:sha256|sha384|sha512):[0-9a-f]{64,128}")


def forget(source: Source, index: IndexFile, found: Descriptor, names: Iterable[str]) -> list[str]:
    """
    Take *names* of *found* off *index*, and if it has no other, all that only it needed.

    What had one of these names before *found* goes as well.

    Returns:
        The signature tags that went with the last name.
    """
    for name in names:
        index.drop_name(name)
    if found.digest in {named.digest for named in index.names.values()}:
        return []
    return forget_untagged(source, index, [found, *index.superseded([*names])])


def forget_untagged(source: Source, index: IndexFile, roots: Collection[Descriptor]) -> list[str]:
    """
    Take *roots*, which have no names, off *index*, and all that only they needed.

    Returns:
        The signature tags that went with them.
    """
    children = partial(_readable_children, source)
    nodes, tags = with_attachments(source, index, roots, children)
    going = {node.digest for node in nodes}
    index.forget(
        {root.digest for root in roots}
    )  # a referrer goes, though its subject stays and would keep it
    staying = [
        entry for name, entry in index.entries if (name or entry.digest not in going) and name not in tags
    ]
    needed = {node.digest for node in with_attachments(source, index, staying, children)[0]}
    dropped = [tag for tag in tags if signed_digest(tag) not in needed]
    for tag in dropped:
        index.drop_name(tag)
    index.forget(going - needed)
    for root in roots:
        if root.digest in needed:
            index.add_untagged(root)
    return dropped


def untagged(source: Source, index: IndexFile) -> list[Descriptor]:
    """Return the manifests and indexes without a name that are part of nothing and about nothing."""
    named = {entry.digest for entry in index.names.values()}
    found = tops(source, index.entries, partial(_readable_children, source))
    return [each for each in found if each.digest not in named and (each.is_index or each.is_manifest)]


def names_needing(source: Source, index: IndexFile, digest: str) -> list[str]:
    """Return the names, sorted, under which *digest* lies."""
    return [name for name, root in index.names.items() if digest in _digests_under(source, [root])]


def sweep(source: Source, index: IndexFile, root: Path, *, older_than_s: float) -> None:
    """
    Delete under *root* the blobs that nothing in *index* needs, and what interrupted writers left.

    Only files untouched for *older_than_s* seconds go, by the time of their last status change, which neither
    `cp -a` nor an archive can set back.
    """
    needed = _digests_under(source, [entry for _, entry in index.entries])
    latest = time.time() - older_than_s
    for algorithm in DIGEST_LENGTHS:
        for blob in _files_in(root / "blobs" / algorithm):
            digest = f"{algorithm}:{blob.name}"
            if is_digest(digest) and digest not in needed:
                _delete_if_older(blob, latest)
    for leftover in _files_in(root / "ingest"):
        _delete_if_older(leftover, latest)


def _files_in(folder: Path) -> list[Path]:
    with storage_errors(folder):
        return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


def _delete_if_older(path: Path, latest: float) -> None:
    with storage_errors(path), contextlib.suppress(FileNotFoundError):
        if path.stat().st_ctime <= latest:
            path.unlink()


def _digests_under(source: Source, roots: Collection[Descriptor]) -> set[str]:
    nodes = walk(roots, lambda node: _readable_children(source, node))
    mentioned = (_mentioned(source, root) for root in roots if not (root.is_index or root.is_manifest))
    return {node.digest for node in nodes}.union(*mentioned)


def _readable_children(source: Source, node: Descriptor) -> tuple[Descriptor, ...]:
    """Return the children of *node*; what is missing or damaged keeps nothing alive."""
    try:
        return children_of(source, node)
    except ContentError:
        return ()


def _mentioned(source: Source, entry: Descriptor) -> set[str]:
    """
    Return every digest in the text of *entry*, listed by another tool in a media type unknown here.

    It may be a document with content of its own; what it might need is not ours to delete.
    """
    if entry.size_bytes > MAX_MANIFEST_BYTES:
        return set()
    try:
        data = b"".join(source.chunks(entry))
    except ContentError:
        return set()
    return {digest.decode("ascii") for digest in _DIGEST_IN_TEXT.findall(data)}
