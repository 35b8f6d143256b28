"""
The OCI image layout: content by digest in a folder, and names for some of it (image-spec v1.1.1).

oras-py has a `Layout` too. Ours exists because a folder shared with ig needs what that one does not do: the
lock that ig takes, an index.json that is replaced and never half-written, ig's names, untagged manifests in
index.json, and bytes that are checked whenever they are read.

A layout stays valid whenever a process is killed: a blob appears whole, a name after everything under it.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from gadgetops.errors import ContentError, NotFound, SizeMismatch, StorageError
from gadgetops.oci.attachments import referrers_by_subject, with_attachments
from gadgetops.oci.content import DIGEST_LENGTHS, Descriptor, is_digest, parse_object
from gadgetops.oci.graph import children_of, parts_of, sound_children_of, walk
from gadgetops.oci.layout import garbage
from gadgetops.oci.layout.index_file import EMPTY as EMPTY_INDEX
from gadgetops.oci.layout.index_file import IndexFile
from gadgetops.oci.reference import Reference
from gadgetops.whole_files import (
    locked_for_reading,
    locked_for_writing,
    read_chunks,
    storage_errors,
    sync_folder,
    write_file,
)

LAYOUT_FILE: Final = "oci-layout"
INDEX_FILE: Final = "index.json"
BLOBS_FOLDER: Final = "blobs"
INGEST_FOLDER: Final = "ingest"
LOCK_FILE: Final = "index.json.lock"
LAYOUT_VERSION: Final = "1.0.0"
LAYOUT_CONTENT: Final = b'{"imageLayoutVersion":"1.0.0"}'

GRACE_S: Final = 600.0
"""
Seconds for which a blob that was written, or found to be there already, is not collected as garbage.

Blobs are written without a lock, before anything refers to them: a young one may belong to an image that
another process, ig included, is about to name.
"""


def check_layout_version(data: bytes, what: str) -> None:
    """Raise `ContentError` unless *data*, called *what*, is an oci-layout of the version known here."""
    version = parse_object(data, what).get("imageLayoutVersion")
    if version != LAYOUT_VERSION:
        raise ContentError(f"{what}: imageLayoutVersion: expected {LAYOUT_VERSION!r}, got {version!r}")


class Layout:
    """
    An OCI image layout folder, which any number of processes read and write at the same time.

    Reading needs no write permission. Every method raises `StorageError` for what the file system refuses and
    `ContentError` for what stands there and should not.
    """

    def __init__(self, root: Path, *, lists_parts: bool = True) -> None:
        self.root = root
        self._lists_parts = lists_parts

    def __str__(self) -> str:
        """Return the folder's path."""
        return str(self.root)

    @classmethod
    def open(cls, path: Path, *, create: bool = False, lists_parts: bool = True) -> "Layout":
        """
        Return the layout in the folder *path*.

        Args:
            path: The folder.
            create: Make what is missing of it. A folder with other things in it is left alone.
            lists_parts: List the manifests of each platform in index.json, too, as ig's store does. skopeo
                and crane take what is listed for images: a folder made for them has none.

        Raises:
            NotFound: There is none, and none is to be made.
            StorageError: *path* is a file, holds other things, or cannot be read or written.
            ContentError: Its oci-layout says that it is of another version.
        """
        layout = cls(path, lists_parts=lists_parts)
        with _advice():
            if create and not layout._is_complete():
                layout._create()
            layout._check_version()
        return layout

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        """
        Yield the content of *descriptor* piece by piece; believe it only when all of it has come.

        Raises:
            NotFound: It is not here.
            SizeMismatch: It is shorter or longer than described; known before the first piece.
            DigestMismatch: It is other bytes.
        """
        path = self.blob_path(descriptor.digest)
        with storage_errors(path):
            size_bytes = _size_of_file(path)
        if size_bytes is None:
            raise NotFound(descriptor.digest, where=str(self))
        if size_bytes != descriptor.size_bytes:
            raise SizeMismatch(str(path), expected_bytes=descriptor.size_bytes, actual_bytes=size_bytes)
        yield from descriptor.verified(read_chunks(path))

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Return the whole content of *descriptor*, verified; errors as of `chunks`."""
        return b"".join(self.chunks(descriptor))

    def has(self, descriptor: Descriptor) -> bool:
        """Return whether the content is here in the right size, without reading it."""
        path = self.blob_path(descriptor.digest)
        with storage_errors(path):
            return _size_of_file(path) == descriptor.size_bytes

    def blob_path(self, digest: str) -> Path:
        """Return where the content of *digest* lies, whether it is there or not."""
        algorithm, _, digits = digest.partition(":")
        return self.root / BLOBS_FOLDER / algorithm / digits

    def add_blob(self, data: bytes, media_type: str) -> Descriptor:
        """Store *data* and return its descriptor."""
        descriptor = Descriptor.of(data, media_type)
        self.add(descriptor, [data])
        return descriptor

    def add(self, descriptor: Descriptor, chunks: Iterable[bytes]) -> None:
        """
        Store the content of *descriptor*, unless it is here already and right; then *chunks* is not asked.

        Raises:
            SizeMismatch: *chunks* yields more or less than described; nothing is stored.
            DigestMismatch: *chunks* yields other bytes; nothing is stored.
        """
        if self._refresh(descriptor):
            return
        path = self.blob_path(descriptor.digest)
        with _advice(), storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, descriptor.verified(chunks), scratch=self._ingest(), mode=0o444)

    def names(self) -> dict[str, Descriptor]:
        """Return each name and what it stands for, sorted by name, signature tags included."""
        return self._read_index().names

    def entries(self) -> list[tuple[str | None, Descriptor]]:
        """Return the name (None if untagged) and descriptor of each entry of index.json, in its order."""
        return self._read_index().entries

    def resolve(self, reference: Reference | str) -> Descriptor:
        """
        Return what *reference* stands for; a digest in it is looked up among everything listed.

        Args:
            reference: A reference, a name just as index.json has it, or a bare digest.

        Raises:
            NotFound: Nothing has that name; the hint has similar ones.
        """
        return self._find(reference, self._read_index())

    def tag(self, descriptor: Descriptor, *references: Reference | str) -> None:
        """
        Let each of *references* stand for *descriptor*, all at once, whatever they stood for before.

        Raises:
            ContentError: Something under *descriptor* is missing or damaged; no name was given.
        """
        self.publish({str(reference): descriptor for reference in references})

    def publish(self, named: Mapping[str, Descriptor], untagged: Iterable[Descriptor] = ()) -> None:
        """
        List *named* by name and *untagged* without, together with the manifests under them: all or nothing.

        Raises:
            ContentError: Something under them is missing or damaged; nothing was listed.
        """
        roots = [*named.values(), *untagged]
        nodes = walk(roots, partial(sound_children_of, self))
        with self._locked_index() as index:
            self._check_presence(nodes)
            for name, descriptor in named.items():
                index.set_name(name, descriptor)
            parts = set() if self._lists_parts else parts_of(nodes, partial(children_of, self))
            index.forget(parts)
            for node in nodes:
                if (node.is_index or node.is_manifest) and node.digest not in parts:
                    index.add_untagged(node)
            self._write_index(index)

    def remove(self, reference: Reference | str, *, grace_s: float = GRACE_S) -> list[str]:
        """
        Take *reference* off the list, and what only it needed with it, and collect garbage.

        With the last name of an image go its signature tags and referrers. A digest stands for all its names
        (those of its repository, if one is given).

        Args:
            reference: A reference, a name just as index.json has it, or a bare digest.
            grace_s: Blobs written in the last so many seconds stay until the next collection.

        Returns:
            The names that are gone, sorted, signature tags included; empty for untagged content.

        Raises:
            NotFound: Nothing has that name; the hint has similar ones.
            ContentError: It has no name of its own and is part of something else.
        """
        with self._locked_index() as index:
            found = self._find(reference, index)
            names = _names_meant(reference, found, index)
            if not names and (needing := garbage.names_needing(self, index, found.digest)):
                raise ContentError(f"{reference}: needed by {', '.join(needing)}", hint="remove that instead")
            signatures = garbage.forget(self, index, found, names)
            self._write_index(index)
            garbage.sweep(self, index, self.root, older_than_s=grace_s)
        return sorted([*names, *signatures])

    def untagged(self) -> list[Descriptor]:
        """Return the images without a name, as rebuilds under one name leave them, in order of index.json."""
        return garbage.untagged(self, self._read_index())

    def prune(self, *, grace_s: float = GRACE_S) -> list[Descriptor]:
        """
        Take the images without a name off the list, with what only they needed, and collect garbage.

        Args:
            grace_s: Blobs written in the last so many seconds stay until the next collection.

        Returns:
            The images that are gone.
        """
        with self._locked_index() as index:
            found = garbage.untagged(self, index)
            garbage.forget_untagged(self, index, found)
            self._write_index(index)
            garbage.sweep(self, index, self.root, older_than_s=grace_s)
        return found

    def collect_garbage(self, *, grace_s: float = GRACE_S) -> None:
        """Delete the blobs that nothing listed needs and no process has touched for *grace_s* seconds."""
        with self._locked_index() as index:
            garbage.sweep(self, index, self.root, older_than_s=grace_s)

    def referrers(self, digest: str) -> list[Descriptor]:
        """Return the manifests listed here whose subject is *digest* (signatures, say), sorted by digest."""
        listed = [entry for _, entry in self.entries()]
        found = referrers_by_subject(self, listed).get(digest, [])
        return sorted(found, key=lambda referrer: referrer.digest)

    def names_meant(self, reference: Reference | str) -> list[str]:
        """
        Return the names that *reference* stands for, sorted: itself, or all names of the digest it gives.

        Empty for content that is listed without a name; a repository in the reference narrows them down.

        Raises:
            NotFound: Nothing has that name or digest; the hint has similar ones.
        """
        index = self._read_index()
        return _names_meant(reference, self._find(reference, index), index)

    def with_attachments(self, roots: Iterable[Descriptor]) -> tuple[list[Descriptor], dict[str, Descriptor]]:
        """
        Return all under *roots* with what is attached to it, children first, and its signature tags by name.

        Raises:
            ContentError: A manifest is missing or damaged.
        """
        return with_attachments(self, self._read_index(), roots, partial(children_of, self))

    def _find(self, reference: Reference | str, index: IndexFile) -> Descriptor:
        digest = _digest_in(reference)
        if digest is None:
            found = index.names.get(str(reference))
        else:
            found = next((entry for _, entry in index.entries if entry.digest == digest), None)
        if found is None:
            raise NotFound(str(reference), where=str(self), hint=_did_you_mean(str(reference), index))
        return found

    def _check_presence(self, nodes: Iterable[Descriptor]) -> None:
        """Check again, under the lock, that what was read a moment ago was not removed since."""
        for node in nodes:
            if not self.has(node):
                raise NotFound(node.digest, where=str(self), hint="it was removed just now; try again")

    def _refresh(self, descriptor: Descriptor) -> bool:
        """Return whether the content is here and sound; if so it counts as young again (`GRACE_S`)."""
        try:
            os.utime(self.blob_path(descriptor.digest))
            for _ in self.chunks(descriptor):
                pass
        except (OSError, ContentError):
            return False
        return True

    @contextlib.contextmanager
    def _locked_index(self) -> Iterator[IndexFile]:
        """Yield index.json while no other process, ig included, changes it."""
        with _advice(), locked_for_writing(self.root / LOCK_FILE):
            yield self._parse_index()

    def _read_index(self) -> IndexFile:
        # ig writes index.json in place, under its lock: without the lock a reader could see half of it.
        with locked_for_reading(self.root / LOCK_FILE):
            return self._parse_index()

    def _parse_index(self) -> IndexFile:
        path = self.root / INDEX_FILE
        data = b"".join(read_chunks(path))
        try:
            return IndexFile.from_bytes(data, str(path))
        except ContentError as error:
            raise ContentError(error.problem, hint=_DAMAGED_INDEX) from error

    def _write_index(self, index: IndexFile) -> None:
        """Replace index.json, once the names of the blobs it relies on are durable."""
        for algorithm in DIGEST_LENGTHS:
            folder = self.root / BLOBS_FOLDER / algorithm
            if folder.is_dir():
                sync_folder(folder)
        self._write(INDEX_FILE, index.to_bytes())
        sync_folder(self.root)

    def _write(self, name: str, data: bytes) -> None:
        write_file(self.root / name, [data], scratch=self._ingest())

    def _ingest(self) -> Path:
        """Return the folder for files that are still growing, which other tools may have removed."""
        path = self.root / INGEST_FOLDER
        with storage_errors(path):
            path.mkdir(exist_ok=True)
        return path

    def _is_complete(self) -> bool:
        with storage_errors(self.root):
            return (self.root / LAYOUT_FILE).exists() and (self.root / INDEX_FILE).exists()

    def _create(self) -> None:
        with storage_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            self._refuse_foreign_folder()
            (self.root / BLOBS_FOLDER / "sha256").mkdir(parents=True, exist_ok=True)
            # Two processes may be here at once: the second must not empty what the first has listed.
            with locked_for_writing(self.root / LOCK_FILE):
                if not (self.root / INDEX_FILE).exists():
                    self._write(INDEX_FILE, EMPTY_INDEX)
                if not (self.root / LAYOUT_FILE).exists():
                    self._write(LAYOUT_FILE, LAYOUT_CONTENT)

    def _refuse_foreign_folder(self) -> None:
        ours = {LAYOUT_FILE, INDEX_FILE, BLOBS_FOLDER, INGEST_FOLDER, LOCK_FILE}
        found = {path.name for path in self.root.iterdir()}
        if LAYOUT_FILE not in found and (foreign := found - ours):
            raise StorageError(self.root, f"no OCI layout, and not empty: it has {min(foreign)!r}")

    def _check_version(self) -> None:
        path = self.root / LAYOUT_FILE
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            hint = "`gadgetops build` or `gadgetops import-image` makes one"
            raise NotFound("OCI layout", where=str(self), hint=hint) from error
        except OSError as error:
            raise StorageError.from_os_error(error, path) from error
        check_layout_version(data, str(path))


_OTHER_STORE = "use another store with --store PATH or GADGETOPS_STORE"
_DAMAGED_INDEX = "repair it by hand, or move the folder away and import the images again"


@contextlib.contextmanager
def _advice() -> Iterator[None]:
    """Add to each `StorageError` how to use another store."""
    try:
        yield
    except StorageError as error:
        hint = f"{error.hint}, or {_OTHER_STORE}" if error.hint else _OTHER_STORE
        raise StorageError(error.path, error.reason, hint=hint) from error


def _size_of_file(path: Path) -> int | None:
    """Return the size of the regular file *path*, None if nothing is there."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise StorageError(path, "not a regular file")
    return status.st_size


def _digest_in(reference: Reference | str) -> str | None:
    if isinstance(reference, Reference):
        return reference.digest
    return reference if is_digest(reference) else None


def _names_meant(reference: Reference | str, found: Descriptor, index: IndexFile) -> list[str]:
    if _digest_in(reference) is None:
        return [str(reference)]
    names = [name for name, named in index.names.items() if named.digest == found.digest]
    if not isinstance(reference, Reference) or not names:
        return names
    of_repository = [name for name in names if name.startswith((f"{reference.name}:", f"{reference.name}@"))]
    if not of_repository:
        raise NotFound(str(reference), where="its repository", hint=f"it is named {', '.join(names)}")
    return of_repository


def _did_you_mean(wanted: str, index: IndexFile) -> str | None:
    from difflib import get_close_matches  # noqa: PLC0415 - for this message alone

    near = get_close_matches(wanted, index.names, n=3, cutoff=0.75)
    return f"did you mean {' or '.join(near)}?" if near else None
