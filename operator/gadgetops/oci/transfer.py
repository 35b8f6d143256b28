"""
Copying images between registries, the store, folders and tar files, in any combination.

Blobs come first, several at once, then manifests, then indexes, then names: whenever a copy is cut short, no
name stands for something incomplete, and the next attempt sends only what is missing.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from gadgetops.errors import (
    DigestMismatch,
    InvalidReference,
    NotFound,
    RegistryError,
    StorageError,
    UsageError,
)
from gadgetops.oci.attachments import signed_digest, tops
from gadgetops.oci.content import Descriptor, Index, Platform
from gadgetops.oci.graph import Source, Target, children_of, fetch_document, walk
from gadgetops.oci.layout.archive import Archive, export_archive
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.layout.store import open_store
from gadgetops.oci.layout.store_choice import AUTO
from gadgetops.oci.location import Location, Place
from gadgetops.oci.parallel import Parallel
from gadgetops.oci.reference import Reference
from gadgetops.oci.registry.access import Access
from gadgetops.oci.registry.client import Repository
from gadgetops.oci.registry.mirrors import Candidate, candidates
from gadgetops.whole_files import storage_errors, write_file

N_THREADS: Final = 6
"""How many blobs are on their way at once."""


class AttachedSource(Source, Protocol):
    """Where content can be read, and what is attached to it can be found."""

    def with_attachments(self, roots: Iterable[Descriptor]) -> tuple[list[Descriptor], dict[str, Descriptor]]:
        """Return all under *roots* with what is attached to it, and its signature tags by name."""
        ...


class NamingTarget(Target, Protocol):
    """Where content can be written and named."""

    def publish(self, named: Mapping[str, Descriptor], untagged: Iterable[Descriptor] = ()) -> None:
        """Let names stand for what was added before, and list *untagged* manifests."""
        ...


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
class Origin:
    """
    An image where it is.

    Attributes:
        source: Where its content can be read.
        root: Descriptor of its index, or of a manifest.
        name: What it is called there, if anything.
    """

    source: AttachedSource
    root: Descriptor
    name: str | None = None


@dataclass(frozen=True)
class Goal:
    """
    Where an image is to be.

    Attributes:
        target: Where content can be written.
        name: What it is to be called there; None for no name.
        digest: What digest it must have, if the name says one.
        shown: The complete name, for people and for what reads it.
    """

    target: NamingTarget
    name: str | None
    digest: str | None
    shown: str


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


@contextlib.contextmanager
def open_origin(location: Location, *, store: str = AUTO, access: Access | None = None) -> Iterator[Origin]:
    """
    Yield the image at *location*.

    Args:
        location: Where it is.
        store: Which store is meant (`store.store_path`).
        access: How registries are reached.

    Raises:
        NotFound: There is none.
        GadgetOpsError: The place cannot be read.
    """
    name, path = location.name, location.path
    if location.place is Place.ARCHIVE and path is not None:
        with storage_errors(path):
            file = path.open("rb")
        with file:
            archive = Archive.open(file, str(path))
            yield _named_origin(
                archive, archive.index.names, partial(_only_archived, archive), name, str(path)
            )
    elif location.place is Place.FOLDER and path is not None:
        layout = Layout.open(path)
        yield _named_origin(layout, layout.names(), partial(_only_image, layout), name, str(path))
    elif location.place is Place.STORE and name is not None:
        layout = open_store(store, create=False)
        yield Origin(layout, layout.resolve(name), str(name) if isinstance(name, Reference) else None)
    else:
        yield _origin_in_registry(_in_registry(location), access or Access())


def _origin_in_registry(reference: Reference, access: Access) -> Origin:
    """Return the image at the first place that has it: a mirror, or the registry itself."""
    *mirrors, own = candidates(reference)
    for mirror in mirrors:
        # What a mirror lacks, or why it cannot be asked, is no matter: the registry has the last word.
        with contextlib.suppress(NotFound, RegistryError, StorageError):
            return _origin_at(mirror, reference, access)
    return _origin_at(own, reference, access)


def _origin_at(place: Candidate, reference: Reference, access: Access) -> Origin:
    if place.is_insecure:
        access = replace(access, plain_http=access.plain_http | {place.reference.registry})
    repository = Repository.open(place.reference, access)
    return Origin(repository, repository.resolve(place.reference), str(reference))


@contextlib.contextmanager
def open_goal(
    location: Location, origin: Origin, *, store: str = AUTO, access: Access | None = None
) -> Iterator[Goal]:
    """
    Yield where the image *origin* is to be; a tar file is written at the end, if no exception was raised.

    Without a name of its own it keeps the one that it has. Arguments and errors as of `open_origin`.
    """
    if location.place is Place.REGISTRY:
        yield _goal_in_registry(_in_registry(location), origin, access)
        return
    name = str(location.name or origin.name or "") or None
    shown = str(location) if location.name or not name else f"{location}:{name}"
    if location.path is None:
        yield _goal_in_store(open_store(store), location.name)
    elif location.place is Place.FOLDER:
        yield Goal(Layout.open(location.path, create=True, lists_parts=False), name, None, shown)
    else:
        with _archive_to_write(location.path) as layout:
            yield Goal(layout, name, None, shown)


def _goal_in_registry(reference: Reference, origin: Origin, access: Access | None) -> Goal:
    repository = Repository.open(reference, access)
    if isinstance(origin.source, Repository) and origin.source.host == repository.host:
        repository.mount_from = origin.source.repository
    return Goal(repository, reference.tag, reference.digest, str(reference))


def _goal_in_store(layout: Layout, name: Reference | str | None) -> Goal:
    """Return the goal in the store; a bare digest is no name there."""
    if isinstance(name, Reference):
        return Goal(layout, str(name), name.digest, str(name))
    return Goal(layout, None, name, f"store:{name}")


@contextlib.contextmanager
def _archive_to_write(path: Path) -> Iterator[Layout]:
    """Yield a layout of which, once it holds an image, the tar file *path* is made."""
    with storage_errors(path):
        scratch = tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.")
    with scratch as folder:
        layout = Layout.open(Path(folder) / "layout", create=True)
        yield layout
        names = [name for name in layout.names() if signed_digest(name) is None]
        wanted = names or [_only_image(layout).digest]
        write_file(path, export_archive(layout, wanted), scratch=Path(folder))


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


def _named_origin(
    source: "Archive | Layout",
    names: Mapping[str, Descriptor],
    only_image: Callable[[], Descriptor],
    name: Reference | str | None,
    where: str,
) -> Origin:
    """Return the image that *name* stands for in a folder or file, the only one if there is no name."""
    if name is None:
        root = only_image()
        called = [each for each, found in names.items() if found.digest == root.digest]
        return Origin(source, root, called[0] if called else None)
    wanted = str(name)
    for candidate in (wanted, str(_as_reference(wanted) or wanted)):
        if candidate in names:
            return Origin(source, names[candidate], candidate)
    hint = f"it has {', '.join(each for each in names if signed_digest(each) is None) or 'no names'}"
    raise NotFound(wanted, where=where, hint=hint)


def _only_image(layout: Layout) -> Descriptor:
    return _only(tops(layout, layout.entries()), layout.names(), f"oci:{layout}")


def _only_archived(archive: Archive) -> Descriptor:
    return _only(tops(archive, archive.index.entries), archive.index.names, f"archive:{archive}")


def _only(images: Sequence[Descriptor], names: Iterable[str], where: str) -> Descriptor:
    if len(images) != 1:
        known = ", ".join(name for name in names if signed_digest(name) is None)
        raise UsageError(
            f"{where}: holds {len(images)} images", hint=f"write {where}:NAME; it has {known or 'no names'}"
        )
    return images[0]


def _as_reference(name: str) -> Reference | None:
    with contextlib.suppress(InvalidReference):
        return Reference.parse(name)
    return None


def _in_registry(location: Location) -> Reference:
    if not isinstance(location.name, Reference):
        raise UsageError(f"{location}: in which repository?", hint="write REGISTRY/REPOSITORY@DIGEST")
    return location.name
