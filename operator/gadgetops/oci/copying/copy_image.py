"""
Copying images between registries, the store, folders and tar files, in any combination.

Blobs come first, several at once, then manifests, then indexes, then names: whenever a copy is cut short, no
name stands for something incomplete, and the next attempt sends only what is missing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from gadgetops.errors import DigestMismatch, UsageError
from gadgetops.oci.content import Descriptor
from gadgetops.oci.copying.endpoints import Goal, Origin
from gadgetops.oci.copying.platforms import select_platforms
from gadgetops.oci.graph import Source, Target, children_of, walk
from gadgetops.oci.parallel import Parallel

N_THREADS: Final = 6
"""How many blobs are on their way at once."""


class Watch(Protocol):
    """Whoever wants to know how a copy goes; called from several threads."""

    def begin(self, total_bytes: int) -> None:
        """So many bytes are to be copied, those included that may turn out to be there."""
        ...

    def advance(self, size_bytes: int) -> None:
        """So many more bytes were copied, or were there already; fewer than none if some come again."""
        ...


class _Nobody:
    def begin(self, total_bytes: int) -> None:
        pass

    def advance(self, size_bytes: int) -> None:
        pass


@dataclass(frozen=True)
class Copied:
    """
    What a copy did.

    Attributes:
        root: Descriptor of the image as it is now at its goal.
        n_attached: How many signatures and other manifests came along.
        n_sent: How many pieces of content were copied.
        sent_bytes: How large they are together.
        n_present: How many were there already.
        n_left_behind: How many were attached to the image of all platforms, and are not to the one of some.
    """

    root: Descriptor
    n_attached: int
    n_sent: int
    sent_bytes: int
    n_present: int
    n_left_behind: int


def copy_image(
    origin: Origin,
    goal: Goal,
    *,
    platforms: Sequence[str] = (),
    with_referrers: bool = True,
    watch: Watch | None = None,
) -> Copied:
    """
    Copy *origin* to *goal* and name it there.

    Args:
        origin: The image.
        goal: Where to.
        platforms: `"linux/arm64"` or `"arm64"`: an image with these alone is made, which has another digest.
            All if none are given.
        with_referrers: Whether signatures and other referrers come along.
        watch: Told how it goes.

    Raises:
        NotFound: The image, a platform of it, or content is missing.
        UsageError: The goal's name has a digest, and *platforms* are to be chosen.
        DigestMismatch: The goal's name has another digest.
        GadgetOpsError: Reading or writing failed; the goal's name is what it was.
    """
    if platforms and goal.digest is not None:
        hint = "copy it to a name without a digest"
        raise UsageError("an image of some platforms has another digest than the whole", hint=hint)
    source, root = select_platforms(origin, platforms)
    if goal.digest is not None and goal.digest != root.digest:
        raise DigestMismatch(goal.shown, expected=goal.digest, actual=root.digest)
    own = walk([root], partial(children_of, source))
    nodes, tags = source.with_attachments([root]) if with_referrers else (own, {})
    n_attached = _count_attached(nodes, own)
    n_present, sent_bytes = _copy_nodes(source, goal.target, nodes, watch or _Nobody())
    manifests = [node for node in nodes if _is_document(node)]
    named = {**tags, **({} if goal.name is None else {goal.name: root})}
    goal.target.publish(named, untagged=manifests)
    return Copied(
        root=root,
        n_attached=n_attached,
        n_sent=len(nodes) - n_present,
        sent_bytes=sent_bytes,
        n_present=n_present,
        n_left_behind=_count_all_attached(origin) - n_attached if with_referrers and platforms else 0,
    )


def _count_all_attached(origin: Origin) -> int:
    nodes, _ = origin.source.with_attachments([origin.root])
    return _count_attached(nodes, walk([origin.root], partial(children_of, origin.source)))


def _count_attached(nodes: Iterable[Descriptor], own: Iterable[Descriptor]) -> int:
    return len({node.digest for node in nodes if node.is_manifest} - {node.digest for node in own})


def _copy_nodes(source: Source, target: Target, nodes: Sequence[Descriptor], watch: Watch) -> tuple[int, int]:
    """Copy *nodes*, children first; return how many were there, and the bytes of those that were not."""
    parallel = Parallel(N_THREADS)
    contents = [_Content(source, node, watch, parallel.check) for node in nodes]
    watch.begin(sum(node.size_bytes for node in nodes))
    parallel.run([partial(content.copy_to, target) for content in contents if not _is_document(content.node)])
    for content in contents:
        if _is_document(content.node):
            content.copy_to(target)
    sent = [content.node.size_bytes for content in contents if content.was_asked]
    return len(nodes) - len(sent), sum(sent)


class _Content:
    """A piece of content to copy, which can be read as often as need be."""

    def __init__(self, source: Source, node: Descriptor, watch: Watch, check: Callable[[], None]) -> None:
        self.node = node
        self.was_asked = False
        self._source = source
        self._watch = watch
        self._check = check
        self._counted_bytes = 0

    def copy_to(self, target: Target) -> None:
        self._check()
        target.add(self.node, self)
        self._count(self.node.size_bytes)

    def __iter__(self) -> Iterator[bytes]:
        self.was_asked = True
        n_bytes = 0
        for chunk in self._source.chunks(self.node):
            self._check()
            n_bytes += len(chunk)
            self._count(n_bytes)
            yield chunk

    def _count(self, n_bytes: int) -> None:
        """Say that *n_bytes* are done, which may be fewer than said before."""
        self._watch.advance(n_bytes - self._counted_bytes)
        self._counted_bytes = n_bytes


def _is_document(node: Descriptor) -> bool:
    return node.is_index or node.is_manifest
