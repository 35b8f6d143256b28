"""Where images are copied from and to: the store, a folder, a tar file, a registry or a mirror of it."""

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from gadgetops.errors import InvalidReference, NotFound, RegistryError, StorageError, UsageError
from gadgetops.oci.attachments import signed_digest, tops
from gadgetops.oci.content import Descriptor
from gadgetops.oci.graph import Source, Target
from gadgetops.oci.layout.archive import Archive, export_archive
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.layout.store import open_store
from gadgetops.oci.layout.store_choice import AUTO
from gadgetops.oci.location import Location, Place
from gadgetops.oci.reference import Reference
from gadgetops.oci.registry.access import Access
from gadgetops.oci.registry.client import Repository
from gadgetops.oci.registry.mirrors import Candidate, candidates
from gadgetops.whole_files import storage_errors, write_file


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
    return Origin(repository, repository.fetch_root(place.reference), str(reference))


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
