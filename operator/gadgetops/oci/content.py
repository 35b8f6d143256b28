"""
Content as OCI describes it: digests, descriptors, manifests and indexes (image-spec v1.1.1), values only.

Written JSON is compact and has the members in the order of Go's structs, with Go's escapes, because that is
how ig writes it: equal content then has equal digests, whichever tool made it. Read JSON may have any order
and members unknown here; content that is only passed on stays the bytes it came as and is never written anew.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeVar

from gadgetops.errors import ContentError, DigestMismatch, SizeMismatch, UnsupportedMediaType

MEDIA_TYPE_INDEX: Final = "application/vnd.oci.image.index.v1+json"
MEDIA_TYPE_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
MEDIA_TYPE_EMPTY: Final = "application/vnd.oci.empty.v1+json"
MEDIA_TYPE_DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
MEDIA_TYPE_DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"

INDEX_MEDIA_TYPES: Final = frozenset({MEDIA_TYPE_INDEX, MEDIA_TYPE_DOCKER_INDEX})
MANIFEST_MEDIA_TYPES: Final = frozenset({MEDIA_TYPE_MANIFEST, MEDIA_TYPE_DOCKER_MANIFEST})

ANNOTATION_REF_NAME: Final = "org.opencontainers.image.ref.name"
ANNOTATION_CREATED: Final = "org.opencontainers.image.created"

EMPTY_JSON: Final = b"{}"
"""The content of media type `MEDIA_TYPE_EMPTY`."""

MAX_MANIFEST_BYTES: Final = 4 << 20
"""A manifest or index larger than this is refused, as ig and registries do."""

DIGEST_LENGTHS: Final = {"sha256": 64, "sha384": 96, "sha512": 128}
"""Algorithms a digest may have, and how many hexadecimal digits follow; what we write is sha256."""

_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
_MAX_INT64 = (1 << 63) - 1

Json = dict[str, Any]
Value = TypeVar("Value")


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """Return the digest of *data*: `"sha256:<64 hexadecimal digits>"`."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def why_no_digest(text: str) -> str | None:
    """Return the reason why *text* is no digest, None if it is one."""
    algorithm, colon, digits = text.partition(":")
    if not colon or algorithm not in DIGEST_LENGTHS:
        return f"{text[:80]!r} is no digest: expected sha256: and 64 hexadecimal digits"
    if len(digits) != DIGEST_LENGTHS[algorithm]:
        return f"a {algorithm} digest has {DIGEST_LENGTHS[algorithm]} hexadecimal digits, not {len(digits)}"
    if not _HEX.fullmatch(digits):
        return f"a digest has hexadecimal digits in lower case only, not {digits[:80]!r}"
    return None


def is_digest(text: str) -> bool:
    """Return whether *text* is a whole digest with an algorithm known here."""
    return why_no_digest(text) is None


def is_other_digest(said: str, expected: str) -> bool:
    """Return whether *said*, which somebody calls a digest, is one of other bytes than *expected*."""
    algorithm = expected.partition(":")[0]
    return is_digest(said) and said.startswith(f"{algorithm}:") and said != expected


@dataclass(frozen=True, slots=True)
class Platform:
    """
    What an index entry runs on.

    Attributes:
        architecture: In Go's words: `"amd64"`, `"arm64"`.
        os: Likewise: `"linux"`.
        variant: Of the architecture, such as `"v7"`.
        extra: Further members (`os.version`, `os.features`), kept for whoever needs them.
    """

    architecture: str
    os: str = "linux"
    variant: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return `os/architecture[/variant]`, as container tools write it."""
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    @classmethod
    def from_json(cls, value: Any, where: str = "platform") -> "Platform":
        """Return the platform that the JSON object *value* describes; `ContentError` if it does not."""
        members = _Members(value, where)
        return cls(
            architecture=members.required("architecture", _text),
            os=members.required("os", _text),
            variant=members.optional("variant", _text),
            extra=members.others(_PLATFORM_MEMBERS),
        )

    def to_json(self) -> Json:
        """Return the JSON object, members in Go's order, others last."""
        known = {"architecture": self.architecture, "os": self.os, "variant": self.variant}
        return {**_without_empty(known, keep=("architecture", "os")), **self.extra}


_PLATFORM_MEMBERS = frozenset({"architecture", "os", "variant"})


@dataclass(frozen=True, slots=True)
class Descriptor:
    """
    What content is (media type) and which (digest and size), without the content.

    Attributes:
        media_type: Media type of the content.
        digest: Digest of the content.
        size_bytes: Its size.
        annotations: Free text by key; order has no meaning.
        platform: What the content runs on; only entries of an index have one.
        artifact_type: Artifact type of the manifest described.
        data: The content itself where it is embedded.
        extra: Members that are unknown here, kept for whoever knows them.
    """

    media_type: str
    digest: str
    size_bytes: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    artifact_type: str | None = None
    data: bytes | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        data: bytes,
        media_type: str,
        *,
        annotations: Mapping[str, str] | None = None,
        platform: Platform | None = None,
        artifact_type: str | None = None,
    ) -> "Descriptor":
        """Return the descriptor of *data*."""
        return cls(
            media_type=media_type,
            digest=digest_of(data),
            size_bytes=len(data),
            annotations=dict(annotations or {}),
            platform=platform,
            artifact_type=artifact_type,
        )

    @classmethod
    def from_json(cls, value: Any, where: str = "descriptor") -> "Descriptor":
        """
        Return the descriptor that the JSON object *value* describes.

        Args:
            value: What `json` made of it.
            where: Path of *value* in its document, for errors.

        Raises:
            ContentError: A member is missing or of the wrong type.
        """
        members = _Members(value, where)
        return cls(
            media_type=members.required("mediaType", _text),
            digest=members.required("digest", _digest),
            size_bytes=members.required("size", _size),
            annotations=members.optional("annotations", _annotations) or {},
            platform=members.optional("platform", Platform.from_json),
            artifact_type=members.optional("artifactType", _text),
            data=members.optional("data", _base64),
            extra=members.others(_DESCRIPTOR_MEMBERS),
        )

    def to_json(self) -> Json:
        """Return the JSON object, members in Go's order, unknown ones last."""
        data = None if self.data is None else base64.b64encode(self.data).decode("ascii")
        known = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size_bytes,
            "annotations": _sorted(self.annotations),
            "data": data,
            "platform": None if self.platform is None else self.platform.to_json(),
            "artifactType": self.artifact_type,
        }
        return {**_without_empty(known, keep=("mediaType", "digest", "size")), **self.extra}

    def check(self, data: bytes) -> None:
        """
        Check that *data* is the content described: its size first, which is cheap, then its digest.

        Raises:
            SizeMismatch: More or fewer bytes.
            DigestMismatch: Other bytes.
        """
        for _ in self.verified([data]):
            pass

    def verified(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """
        Pass *chunks* on and check them on the way; what was passed on is to be believed only at the end.

        Raises:
            SizeMismatch: At the first chunk too many, or at the end of too few.
            DigestMismatch: At the end.
        """
        algorithm = self.digest.partition(":")[0]
        digest, size_bytes = hashlib.new(algorithm), 0
        for chunk in chunks:
            size_bytes += len(chunk)
            if size_bytes > self.size_bytes:
                break
            digest.update(chunk)
            yield chunk
        if size_bytes != self.size_bytes:
            raise SizeMismatch(self.digest, expected_bytes=self.size_bytes, actual_bytes=size_bytes)
        if (actual := f"{algorithm}:{digest.hexdigest()}") != self.digest:
            raise DigestMismatch(self.digest, expected=self.digest, actual=actual)

    @property
    def is_index(self) -> bool:
        """Whether it describes an index, OCI's or Docker's."""
        return self.media_type in INDEX_MEDIA_TYPES

    @property
    def is_manifest(self) -> bool:
        """Whether it describes a manifest, OCI's or Docker's."""
        return self.media_type in MANIFEST_MEDIA_TYPES


_DESCRIPTOR_MEMBERS = frozenset(
    {"mediaType", "digest", "size", "annotations", "platform", "artifactType", "data"}
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    One artifact: a config and layers, in order.

    Attributes:
        config: Descriptor of the config.
        layers: Descriptors of the layers, in order; may be empty.
        artifact_type: What kind of artifact it is, which is not its media type.
        subject: The manifest or index that this one says something about, such as what it signs.
        annotations: Free text by key.
        media_type: The member `mediaType`; None where it is left out, as in what ig writes.
    """

    config: Descriptor
    layers: tuple[Descriptor, ...] = ()
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    media_type: str | None = None

    @classmethod
    def from_bytes(cls, data: bytes, what: str = "manifest") -> "Manifest":
        """
        Return the manifest that *data*, called *what* in errors, holds.

        Raises:
            ContentError: It holds none.
            UnsupportedMediaType: It says that it is something else.
        """
        members = _document(data, what, MANIFEST_MEDIA_TYPES, foreign=("manifests",))
        return cls(
            config=members.required("config", Descriptor.from_json),
            layers=tuple(members.list("layers", Descriptor.from_json)),
            artifact_type=members.optional("artifactType", _text),
            subject=members.optional("subject", Descriptor.from_json),
            annotations=members.optional("annotations", _annotations) or {},
            media_type=members.optional("mediaType", _text),
        )

    def to_bytes(self) -> bytes:
        """Return the JSON text, byte for byte what ig writes for the same manifest."""
        document = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "artifactType": self.artifact_type,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
            "subject": None if self.subject is None else self.subject.to_json(),
            "annotations": _sorted(self.annotations),
        }
        return to_go_json(_without_empty(document, keep=("layers",)))


@dataclass(frozen=True, slots=True)
class Index:
    """
    Manifests that belong together, such as one for each platform.

    Attributes:
        manifests: Descriptors of manifests or indexes, in order.
        artifact_type: What kind of artifact it is.
        subject: The manifest or index that this one says something about.
        annotations: Free text by key.
        media_type: The member `mediaType`; None where it is left out.
    """

    manifests: tuple[Descriptor, ...] = ()
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    media_type: str | None = MEDIA_TYPE_INDEX

    @classmethod
    def from_bytes(cls, data: bytes, what: str = "index") -> "Index":
        """
        Return the index that *data*, called *what* in errors, holds.

        Raises:
            ContentError: It holds none.
            UnsupportedMediaType: It says that it is something else.
        """
        members = _document(data, what, INDEX_MEDIA_TYPES, foreign=("config", "layers"))
        return cls(
            manifests=tuple(members.list("manifests", Descriptor.from_json)),
            artifact_type=members.optional("artifactType", _text),
            subject=members.optional("subject", Descriptor.from_json),
            annotations=members.optional("annotations", _annotations) or {},
            media_type=members.optional("mediaType", _text),
        )

    def to_bytes(self) -> bytes:
        """Return the JSON text, byte for byte what ig writes for the same index."""
        document = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "artifactType": self.artifact_type,
            "manifests": [manifest.to_json() for manifest in self.manifests],
            "subject": None if self.subject is None else self.subject.to_json(),
            "annotations": _sorted(self.annotations),
        }
        return to_go_json(_without_empty(document, keep=("manifests",)))


def to_go_json(value: Any) -> bytes:
    """Return *value* as compact JSON with the escapes of Go's encoding/json, no line feed at the end."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_GO_ESCAPES).encode()


# These characters can stand only inside strings, so they may be replaced after the fact.
_GO_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def parse_object(data: bytes, what: str) -> Json:
    """
    Return the JSON object that *data*, called *what* in errors, holds.

    Raises:
        ContentError: Not UTF-8, not JSON, nested too deeply, or not an object.
    """
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
        # A lone surrogate escape decodes to text that no UTF-8 can hold.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ContentError(f"{what}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ContentError(f"{what}: expected a JSON object, got {_kind(value)}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def document_media_type(data: bytes, what: str) -> str | None:
    """
    Return what the JSON text *data* says that it is, or by its members must be; None if neither.

    Raises:
        ContentError: It is no JSON object.
    """
    members = parse_object(data, what)
    if isinstance(declared := members.get("mediaType"), str):
        return declared
    for member, media_type in (("manifests", MEDIA_TYPE_INDEX), ("config", MEDIA_TYPE_MANIFEST)):
        if member in members:
            return media_type
    return None


def _document(data: bytes, what: str, media_types: frozenset[str], foreign: tuple[str, ...]) -> "_Members":
    """
    Return the members of a manifest or index.

    A document that could be read as both is refused: two readers would see two images behind one digest.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise ContentError(f"{what}: {len(data)} bytes, at most {MAX_MANIFEST_BYTES} are read")
    members = _Members(parse_object(data, what), what)
    media_type = members.optional("mediaType", _text)
    if media_type is not None and media_type not in media_types:
        raise UnsupportedMediaType(what, expected=" or ".join(sorted(media_types)), actual=media_type)
    if members.required("schemaVersion", _size) != 2:
        raise ContentError(f"{what}: schemaVersion: expected 2, got {members.value['schemaVersion']!r}")
    for name in foreign:
        if name in members.value:
            raise ContentError(f"{what}: has a member {name!r}, which belongs to another kind of document")
    return members


class _Members:
    """Typed access to the members of a JSON object; errors carry the path into the document."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise ContentError(f"{where}: expected an object, got {_kind(value)}")
        self.value: Json = value
        self._where = where

    def required(self, name: str, read: Callable[[Any, str], Value]) -> Value:
        if self.value.get(name) is None:
            raise ContentError(f"{self._where}: {name} is missing")
        return read(self.value[name], f"{self._where}.{name}")

    def optional(self, name: str, read: Callable[[Any, str], Value]) -> Value | None:
        """Read *name*; Go writes `null` for what is not set and leaves out what is empty: all are None."""
        value = self.value.get(name)
        return None if value is None else read(value, f"{self._where}.{name}") or None

    def list(self, name: str, read: Callable[[Any, str], Value]) -> list[Value]:
        """Read the elements of *name*; absent and `null` are an empty list."""
        where = f"{self._where}.{name}"
        values = self.value.get(name)
        if values is None:
            return []
        if not isinstance(values, list):
            raise ContentError(f"{where}: expected an array, got {_kind(values)}")
        return [read(value, f"{where}[{position}]") for position, value in enumerate(values)]

    def others(self, known: frozenset[str]) -> Json:
        return {name: value for name, value in self.value.items() if name not in known}


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ContentError(f"{where}: expected text, got {_kind(value)}")
    return value


def _size(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ContentError(f"{where}: expected a whole number, got {_kind(value)}")
    if not 0 <= value <= _MAX_INT64:
        raise ContentError(f"{where}: {value} is out of range")
    return value


def _digest(value: Any, where: str) -> str:
    text = _text(value, where)
    if reason := why_no_digest(text):
        raise ContentError(f"{where}: {reason}")
    return text


def _base64(value: Any, where: str) -> bytes:
    try:
        return base64.b64decode(_text(value, where), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ContentError(f"{where}: not base64: {error}") from error


def _annotations(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ContentError(f"{where}: expected an object, got {_kind(value)}")
    return {key: _text(text, f"{where}.{key}") for key, text in value.items()}


def _kind(value: Any) -> str:
    """Return JSON's word for *value*."""
    kinds = {dict: "an object", list: "an array", str: "text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


def _sorted(annotations: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(annotations.items()))


def _without_empty(members: Json, keep: tuple[str, ...]) -> Json:
    """Return *members* without those Go's `omitempty` leaves out, except those of *keep*."""
    return {name: value for name, value in members.items() if name in keep or value not in (None, {}, [], "")}
