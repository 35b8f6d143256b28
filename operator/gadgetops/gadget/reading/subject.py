"""
What is inspected: an object, or an image of the store, of a folder or of a tar file, for one architecture.
"""

import platform
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from gadgetops.bpf.object import Object
from gadgetops.bpf.reading import NEWEST, Reading
from gadgetops.errors import ContentError, NotFound, ObjectError, StorageError, UsageError
from gadgetops.gadget.media_types import MEDIA_TYPE_OBJECT, MEDIA_TYPE_WASM
from gadgetops.gadget.reading.own_images import is_own, own_image
from gadgetops.oci.content import Descriptor, Manifest, digest_of, is_digest
from gadgetops.oci.image import Image
from gadgetops.oci.layout.archive import Archive
from gadgetops.oci.layout.layout import LAYOUT_FILE, Layout
from gadgetops.oci.layout.store import open_store
from gadgetops.oci.reference import Reference

MAX_LAYER_BYTES: Final = 64 << 20
"""An object, module or config larger than this is not read; the largest gadget's has less than 1 MiB."""

_ELF_MAGIC: Final = b"\x7fELF"
_PATH_STARTS: Final = (".", "/", "~")
_PATH_ENDS: Final = (".o", ".tar")
_GO_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Picture:
    """
    An image as it is for one architecture.

    Attributes:
        name: The reference as it was typed, or as the folder or tar file has it.
        digest: Of the index.
        architecture: In Go's words.
        manifest: For that architecture.
        metadata: The config, usually gadget.yaml.
    """

    name: str
    digest: str
    architecture: str
    manifest: Manifest
    metadata: bytes = field(repr=False)


@dataclass(frozen=True)
class Subject:
    """
    What is inspected.

    Attributes:
        name: As the person who asks calls it.
        elf: The object; None for an image without programs.
        wasm: The WebAssembly module, if the image has one.
        picture: The image; None for a mere object.
        reading: By the rules of which ig the object is read.
    """

    name: str
    elf: bytes | None = field(repr=False)
    wasm: bytes | None = field(repr=False, default=None)
    picture: Picture | None = None
    reading: Reading = NEWEST

    @cached_property
    def object(self) -> Object | None:
        """The object, read; `ObjectError` with this subject's name if it cannot be."""
        if self.elf is None:
            return None
        try:
            return Object.from_bytes(self.elf, reading=self.reading)
        except ObjectError as error:
            raise error.named(self.name) from error

    @property
    def digest(self) -> str:
        """Digest of the image, or of the object where there is no image."""
        return digest_of(self.elf or b"") if self.picture is None else self.picture.digest


def host_architecture() -> str:
    """Return the architecture of this machine in Go's words."""
    machine = platform.machine()
    return _GO_ARCHITECTURES.get(machine, machine)


def open_subject(text: str, *, architecture: str | None = None, store: str = "auto") -> Subject:
    """
    Return what *text* names: a file or folder if there is one of that name, else an image.

    An image is looked up in the store, then among those that belong to this package.

    A folder counts if it is an OCI layout; it and a tar file must hold one image, which `FILE@REF` chooses of
    several.

    Args:
        text: Path of an object, of a tar file or of a layout, or a reference or digest.
        architecture: Of which the image is read; this machine's if None. Objects have none.
        store: Where references are looked up, as for `oci.store.open_store`.

    Raises:
        InvalidReference: *text* is neither.
        UsageError: The folder or tar file holds several images and *text* chooses none.
        ContentError: The image is missing or damaged.
        StorageError: A file cannot be read.
    """
    architecture = architecture or host_architecture()
    path = Path(text)
    if path.is_file():
        return _from_file(path, architecture)
    if (path / LAYOUT_FILE).is_file():
        layout = Layout.open(path)
        return _from_image(Image.load(layout, _only(list(layout.names()), text)), text, architecture)
    if text.startswith(_PATH_STARTS) or text.endswith(_PATH_ENDS):
        raise StorageError(path, "no object, OCI layout or tar file")
    reference = text if is_digest(text) else Reference.parse(text)
    return _from_image(_load(reference, store), text, architecture)


def own_subject(name: str, *, architecture: str | None = None) -> Subject:
    """Return the image *name* of this package for *architecture*; errors as of `own_images.own_image`."""
    return _from_image(own_image(name), name, architecture or host_architecture())


def _load(reference: Reference | str, store: str) -> Image:
    try:
        return Image.load(open_store(store, create=False), reference)
    except NotFound:
        if not is_own(reference):
            raise
        return own_image(str(reference))


def _from_file(path: Path, architecture: str) -> Subject:
    try:
        with path.open("rb") as file:
            if file.read(len(_ELF_MAGIC)) == _ELF_MAGIC:
                return Subject(str(path), _rest_of(path))
            file.seek(0)
            archive = Archive.open(file, str(path))
            images = archive.images()
            name = _only(list(images), str(path))
            return _from_image(Image.of(archive, images[name], name), name, architecture)
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error


def _rest_of(path: Path) -> bytes:
    if path.stat().st_size > MAX_LAYER_BYTES:
        raise ObjectError(f"more than {MAX_LAYER_BYTES} bytes", name=str(path))
    return path.read_bytes()


def _only(names: list[str], where: str) -> str:
    if len(names) == 1:
        return names[0]
    if not names:
        raise NotFound("image", where=where)
    raise UsageError(
        f"{where} holds {len(names)} images: {', '.join(sorted(names))}",
        hint="import them and inspect one by its name",
    )


def _from_image(image: Image, name: str, architecture: str) -> Subject:
    manifest = image.manifest(architecture)
    return Subject(
        name=name,
        elf=_layer(image, manifest, MEDIA_TYPE_OBJECT),
        wasm=_layer(image, manifest, MEDIA_TYPE_WASM),
        picture=Picture(
            name=name,
            digest=image.digest,
            architecture=architecture,
            manifest=manifest,
            metadata=_fetch(image, manifest.config),
        ),
    )


def _layer(image: Image, manifest: Manifest, media_type: str) -> bytes | None:
    found = next((layer for layer in manifest.layers if layer.media_type == media_type), None)
    return None if found is None else _fetch(image, found)


def _fetch(image: Image, descriptor: Descriptor) -> bytes:
    if descriptor.size_bytes > MAX_LAYER_BYTES:
        raise ContentError(f"{descriptor.digest}: {descriptor.size_bytes} bytes are too many")
    return image.fetch(descriptor)
