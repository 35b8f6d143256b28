"""
Archives: OCI layouts in tar files, for carrying images where no registry is.

What is written can be read by ig and skopeo, and is always the same bytes for the same images. What is read
may come from ig, skopeo (`oci-archive:`), docker save or an attacker: nothing is named before all of it is
verified, and no path in the archive decides where a file is written.
"""

import contextlib
import tarfile
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import IO, BinaryIO, Final

from gadgetops.errors import ContentError, InvalidReference, NotFound, SizeMismatch
from gadgetops.oci.attachments import signed_digest, tops, with_attachments
from gadgetops.oci.content import Descriptor
from gadgetops.oci.graph import children_of, copy_content, parts_of, sound_children_of, walk
from gadgetops.oci.layout.index_file import EMPTY as EMPTY_INDEX
from gadgetops.oci.layout.index_file import IndexFile
from gadgetops.oci.layout.layout import INDEX_FILE, LAYOUT_CONTENT, LAYOUT_FILE, Layout, check_layout_version
from gadgetops.oci.reference import Reference
from gadgetops.whole_files import CHUNK_BYTES

ANNOTATION_CONTAINERD_NAME: Final = "io.containerd.image.name"
"""The whole name in archives of docker save, whose `ref.name` is a mere tag."""

MAX_INDEX_FILE_BYTES: Final = 64 << 20
"""An index.json or oci-layout larger than this is not read."""

_CONVERT = "`skopeo copy docker-archive:FILE oci-archive:OTHER` converts what docker save wrote before 25.0"
_BLOCK_BYTES = 512
_PLAIN_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


def export_archive(layout: Layout, references: Iterable[Reference | str]) -> Iterator[bytes]:
    """
    Yield a tar file that holds the images *references* stand for, with their signatures.

    Entries are sorted by path and have neither time nor owner; index.json is made from the content alone. A
    digest stands for all its names.

    Raises:
        NotFound: A reference stands for nothing, or content is missing.
        ContentError: Content is damaged; what was yielded so far is no archive.
    """
    index = IndexFile.from_bytes(EMPTY_INDEX, INDEX_FILE)
    roots = []
    for reference in references:
        roots.append(layout.resolve(reference))
        for name in layout.names_meant(reference):
            index.set_name(name, roots[-1])
    nodes, signatures = layout.with_attachments(roots)
    for name, descriptor in signatures.items():
        index.set_name(name, descriptor)
    parts = parts_of(nodes, partial(children_of, layout))
    for node in nodes:
        if (node.is_index or node.is_manifest) and node.digest not in parts:
            index.add_untagged(node)
    index.sort()
    for node in sorted({node.digest: node for node in nodes}.values(), key=lambda node: node.digest):
        yield from _tar_header(_blob_name(node.digest), node.size_bytes)
        yield from layout.chunks(node)
        yield _padding(node.size_bytes)
    yield from _tar_file(INDEX_FILE, index.to_bytes())
    # Without this file nothing is an OCI layout: being last, it shows that the archive was not cut short.
    yield from _tar_file(LAYOUT_FILE, LAYOUT_CONTENT)
    yield bytes(2 * _BLOCK_BYTES)


def import_archive(layout: Layout, file: BinaryIO, what: str, *, name: Reference | None = None) -> list[str]:
    """
    Store and name the images in the tar file *file*.

    Names that are no complete references, as skopeo writes them, are completed as `Reference.parse` does;
    signature tags stay as they are. Digests of indexes do not change.

    Args:
        layout: Where to.
        file: The archive, at its beginning; it must be able to seek.
        what: Its name, for errors.
        name: The name to give to its only image, instead of those in the archive.

    Returns:
        The names given, sorted.

    Raises:
        ContentError: It is no archive of an OCI layout, is cut short or damaged, or names nothing; no name
            was given.
    """
    archive = Archive.open(file, what)
    named = archive.images() if name is None else {str(name): archive.only_image()}
    untagged = [entry for entry_name, entry in archive.index.entries if not entry_name]
    # All of it is read before, so that a damaged archive leaves nothing behind, not even nameless content.
    nodes = walk([*named.values(), *untagged], partial(sound_children_of, archive))
    copy_content(archive, layout, nodes)
    layout.publish(named, untagged)
    return sorted(named)


class Archive:
    """An OCI layout in a tar file, a source of content for any number of threads; made by `open`."""

    def __init__(self, tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], what: str) -> None:
        self._tar = tar
        self._members = members
        self._what = what
        self._lock = threading.Lock()
        check_layout_version(self._document(LAYOUT_FILE), f"{what}: {LAYOUT_FILE}")
        self.index = IndexFile.from_bytes(self._document(INDEX_FILE), f"{what}: {INDEX_FILE}")

    @classmethod
    def open(cls, file: BinaryIO, what: str) -> "Archive":
        """Return the layout in the tar file *file*, called *what* in errors; `ContentError` if none is."""
        with _tar_errors(what):
            _refuse_compressed(file, what)
            tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - the file is the caller's to close
            return cls(tar, _members(tar, what), what)

    def __str__(self) -> str:
        """Return the file's name."""
        return self._what

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        """Yield the content of *descriptor* piece by piece, verified."""
        member = self._members.get(_blob_name(descriptor.digest))
        if member is None:
            raise NotFound(descriptor.digest, where=self._what)
        if member.size != descriptor.size_bytes:
            what = f"{self._what}: {descriptor.digest}"
            raise SizeMismatch(what, expected_bytes=descriptor.size_bytes, actual_bytes=member.size)
        yield from descriptor.verified(self._pieces(member))

    def with_attachments(self, roots: Iterable[Descriptor]) -> tuple[list[Descriptor], dict[str, Descriptor]]:
        """Return all under *roots* with what is attached to it, and its signature tags by name."""
        return with_attachments(self, self.index, roots, partial(children_of, self))

    def images(self) -> dict[str, Descriptor]:
        """Return what is named in the archive, by complete names; `ContentError` if nothing is."""
        entries = [(_name_in_archive(name, entry), entry) for name, entry in self.index.entries]
        named = {self._complete(name): entry for name, entry in entries if name}
        if not named:
            raise ContentError(f"{self._what}: names no image", hint="pass --tag REF to name it")
        return named

    def only_image(self) -> Descriptor:
        """Return the only thing in the archive that is part of nothing else; `ContentError` if several."""
        images = tops(self, self.index.entries)
        if len(images) != 1:
            raise ContentError(f"{self._what}: holds {len(images)} images, --tag can name only one")
        return images[0]

    def _complete(self, name: str) -> str:
        if signed_digest(name):
            return name
        try:
            return str(Reference.parse(name))
        except InvalidReference as error:
            hint = "pass --tag REF to name the image yourself"
            raise ContentError(f"{self._what}: {error.problem}", hint=hint) from error

    def _document(self, name: str) -> bytes:
        member = self._members.get(name)
        if member is None:
            raise ContentError(f"{self._what}: no OCI layout, or cut short: {name} is missing", hint=_CONVERT)
        if member.size > MAX_INDEX_FILE_BYTES:
            raise ContentError(f"{self._what}: {name}: {member.size} bytes are too many")
        return b"".join(self._pieces(member))

    def _pieces(self, member: tarfile.TarInfo) -> Iterator[bytes]:
        with _tar_errors(self._what):
            content = self._tar.extractfile(member)
            while content is not None and (piece := self._read(content)):
                yield piece

    def _read(self, content: IO[bytes]) -> bytes:
        # All members are read through one file, which is moved to the place of each read.
        with self._lock:
            return content.read(CHUNK_BYTES)


def _name_in_archive(name: str | None, entry: Descriptor) -> str | None:
    return entry.annotations.get(ANNOTATION_CONTAINERD_NAME) or name


@contextlib.contextmanager
def _tar_errors(what: str) -> Iterator[None]:
    """Turn whatever `tarfile` raises on bytes it cannot make sense of into `ContentError`."""
    try:
        yield
    except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError, OSError) as error:
        raise ContentError(f"{what}: no tar file, or cut short: {error}") from error


def _refuse_compressed(file: BinaryIO, what: str) -> None:
    start = file.read(8)
    file.seek(0)
    for magic, name in _COMPRESSIONS.items():
        if start.startswith(magic):
            raise ContentError(f"{what}: compressed with {name}", hint=f"decompress it with {name} -d first")


def _members(tar: tarfile.TarFile, what: str) -> dict[str, tarfile.TarInfo]:
    """
    Return the regular files by path; `ContentError` if anything else than files and folders is there.

    Reading all headers also shows whether the last file is whole.
    """
    members: dict[str, tarfile.TarInfo] = {}
    previous = -1
    while (member := tar.next()) is not None:
        if member.offset <= previous or member.size < 0:
            raise ContentError(f"{what}: offset {member.offset}: a header that leads back to itself")
        previous = member.offset
        if member.isdir():
            continue
        path = _safe_path(member, what)
        if path in members:
            raise ContentError(f"{what}: {path!r} is there twice")
        members[path] = member
    return members


def _safe_path(member: tarfile.TarInfo, what: str) -> str:
    if member.type not in _PLAIN_FILES or member.issparse():
        raise ContentError(f"{what}: {member.name!r} is no regular file")
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise ContentError(f"{what}: {member.name!r} leads out of the archive")
    return str(path)


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _tar_file(name: str, data: bytes) -> Iterator[bytes]:
    yield from (*_tar_header(name, len(data)), data, _padding(len(data)))


def _tar_header(name: str, size_bytes: int) -> Iterator[bytes]:
    header = tarfile.TarInfo(name)
    header.size = size_bytes
    yield header.tobuf(tarfile.PAX_FORMAT)


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % _BLOCK_BYTES)
