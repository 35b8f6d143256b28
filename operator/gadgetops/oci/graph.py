"""What content consists of: walking and copying everything under an index or manifest."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from gadgetops.errors import ContentError
from gadgetops.oci.content import MAX_MANIFEST_BYTES, Descriptor, Index, Manifest

Key = tuple[str, str, int]
Children = Callable[[Descriptor], Iterable[Descriptor]]

MAX_NODES: Final = 100_000
"""More content than this under one name is refused: no image has it, and a hostile one may."""


class Source(Protocol):
    """Where content can be read: a layout, an archive, later a registry."""

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        """Yield the content of *descriptor* piece by piece, verified; `ContentError` or `StorageError`."""
        ...


class Target(Protocol):
    """Where content can be written."""

    def add(self, descriptor: Descriptor, chunks: Iterable[bytes]) -> None:
        """Store what *chunks* yields, which must be what *descriptor* says."""
        ...


def fetch_document(source: Source, descriptor: Descriptor) -> bytes:
    """Return the bytes of a manifest or index, which are never many; `ContentError` if they would be."""
    if descriptor.size_bytes > MAX_MANIFEST_BYTES:
        raise ContentError(
            f"{descriptor.digest}: {descriptor.size_bytes} bytes are too many "
            f"for {descriptor.media_type}: at most {MAX_MANIFEST_BYTES} are read"
        )
    return b"".join(source.chunks(descriptor))


def children_of(source: Source, descriptor: Descriptor) -> tuple[Descriptor, ...]:
    """
    Return what *descriptor* consists of, in order; a blob consists of nothing further.

    A subject is none of it: what a signature signs may be elsewhere.

    Raises:
        ContentError: It is missing, or not what its descriptor says.
    """
    if descriptor.is_index:
        data = fetch_document(source, descriptor)
        return Index.from_bytes(data, f"index {descriptor.digest}").manifests
    if descriptor.is_manifest:
        data = fetch_document(source, descriptor)
        manifest = Manifest.from_bytes(data, f"manifest {descriptor.digest}")
        return (manifest.config, *manifest.layers)
    return ()


def parts_of(nodes: Iterable[Descriptor], children: Children) -> set[str]:
    """Return the digests of what indexes among *nodes* consist of: manifests that are part of an image."""
    return {child.digest for node in nodes if node.is_index for child in children(node)}


def sound_children_of(source: Source, descriptor: Descriptor) -> tuple[Descriptor, ...]:
    """Return the children of *descriptor* after reading, and so checking, all of its content."""
    if not (descriptor.is_index or descriptor.is_manifest):
        for _ in source.chunks(descriptor):
            pass
    return children_of(source, descriptor)


def walk(roots: Iterable[Descriptor], children: Children) -> list[Descriptor]:
    """
    Return *roots* and everything under them, each once, children before parents.

    Two descriptors are the same if media type, digest and size are: a manifest that is also listed as
    somebody's layer is still walked as a manifest.
    """
    done: list[Descriptor] = []
    opened: set[Key] = set()
    pending = [(root, False) for root in roots]
    while pending:
        node, is_closing = pending.pop()
        key = (node.media_type, node.digest, node.size_bytes)
        if is_closing:
            done.append(node)
        elif key not in opened:
            opened.add(key)
            pending.append((node, True))
            pending.extend((child, False) for child in children(node))
        if len(opened) + len(pending) > MAX_NODES:
            raise ContentError(f"more than {MAX_NODES} pieces of content under one name")
    return done


def copy_content(source: Source, target: Target, nodes: Iterable[Descriptor]) -> None:
    """
    Copy *nodes*, which come from `walk`: children first.

    So a copy cut short leaves no manifest without its content: other tools, ig included, take a manifest that
    is there as proof that the rest is.
    """
    for node in nodes:
        target.add(node, source.chunks(node))
