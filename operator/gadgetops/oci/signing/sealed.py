"""
Signed content in the forms that are attached to images, as bytes and manifests; nothing here is believed.

- *legacy*: cosign's oldest form and the only one that every `ig` takes: a manifest under the tag
  `sha256-<hex>.sig` whose layers are simple signing payloads, the signature of each in an annotation.
- *bundle*: a Sigstore bundle v0.3, an in-toto statement in a DSSE envelope, in a manifest whose subject is
  the image. What cosign writes since 3.0, and what attestations are.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from gadgetops.errors import ContentError
from gadgetops.oci.content import (
    EMPTY_JSON,
    MEDIA_TYPE_EMPTY,
    MEDIA_TYPE_MANIFEST,
    Descriptor,
    Manifest,
    parse_object,
    to_go_json,
)
from gadgetops.oci.graph import Source, fetch_document
from gadgetops.oci.signing.claims import (
    Claim,
    decode_base64,
    encode_base64,
    member,
    read_simple_signing,
    read_statement,
)
from gadgetops.oci.signing.keys import PrivateKey, PublicKey

MEDIA_TYPE_SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
MEDIA_TYPE_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
MEDIA_TYPE_ENVELOPE: Final = "application/vnd.dsse.envelope.v1+json"
MEDIA_TYPE_IMAGE_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
ARTIFACT_TYPE_COSIGN: Final = "application/vnd.dev.cosign.artifact.sig.v1+json"
ANNOTATION_SIGNATURE: Final = "dev.cosignproject.cosign/signature"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"

MAX_LAYERS: Final = 64
"""More signatures than this in one manifest are not looked at."""

_BUNDLE_ANNOTATIONS = {"dev.sigstore.bundle.content": "dsse-envelope"}
_ANNOTATION_PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"
_NO_TIME = "0001-01-01T00:00:00Z"


class Form(StrEnum):
    """How a signature is attached."""

    LEGACY = "legacy"
    BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class Sealed:
    """
    Something signed, as found.

    Attributes:
        place: Where it was found, for errors.
        form: How it is attached.
        manifest: The manifest that holds it.
        message: The bytes that are signed.
        signature: The signature of them, by a key that is yet to be found.
        body: The bytes that say what is claimed.
    """

    place: str
    form: Form
    manifest: Descriptor
    message: bytes
    signature: bytes
    body: bytes

    def signer(self, keys: Sequence[PublicKey]) -> PublicKey | None:
        """Return which of *keys* made the signature, None if none did."""
        return next((key for key in keys if key.verifies(self.message, self.signature)), None)

    def claim(self) -> Claim:
        """Return what is claimed, to be believed once `signer` names a key; `ContentError` if nothing is."""
        return read_simple_signing(self.body) if self.form is Form.LEGACY else read_statement(self.body)


Written = tuple[Descriptor, bytes]
"""Content to be stored, and its descriptor."""


def seal_payload(payload: bytes, key: PrivateKey) -> Written:
    """Return the layer of a legacy signature: *payload*, its signature in an annotation."""
    annotations = {ANNOTATION_SIGNATURE: encode_base64(key.sign(payload))}
    return Descriptor.of(payload, MEDIA_TYPE_SIMPLE_SIGNING, annotations=annotations), payload


def legacy_manifest(layers: Sequence[Descriptor]) -> list[Written]:
    """Return the manifest of the signature *layers*, as cosign makes it: its config, then itself."""
    config = to_go_json(
        {
            "architecture": "",
            "created": _NO_TIME,
            "history": [{"created": _NO_TIME} for _ in layers],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "config": {},
        }
    )
    described = Descriptor.of(config, MEDIA_TYPE_IMAGE_CONFIG)
    manifest = Manifest(described, tuple(layers), media_type=MEDIA_TYPE_MANIFEST).to_bytes()
    return [(described, config), (Descriptor.of(manifest, MEDIA_TYPE_MANIFEST), manifest)]


def bundle(subject: Descriptor, statement: bytes, predicate_type: str, key: PrivateKey) -> list[Written]:
    """Return the manifest of a bundle in which *key* signs *statement* about *subject*, itself last."""
    envelope = {
        "payload": encode_base64(statement),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": encode_base64(key.sign(pre_authentication(PAYLOAD_TYPE, statement)))}],
    }
    document = {
        "mediaType": MEDIA_TYPE_BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": key.public.fingerprint}},
        "dsseEnvelope": envelope,
    }
    content = to_go_json(document)
    layer = Descriptor.of(content, MEDIA_TYPE_BUNDLE)
    config = replace(Descriptor.of(EMPTY_JSON, MEDIA_TYPE_EMPTY), data=EMPTY_JSON)
    annotations = {**_BUNDLE_ANNOTATIONS, _ANNOTATION_PREDICATE_TYPE: predicate_type}
    manifest = Manifest(
        config=config,
        layers=(layer,),
        artifact_type=MEDIA_TYPE_BUNDLE,
        subject=Descriptor(subject.media_type, subject.digest, subject.size_bytes),
        annotations=annotations,
        media_type=MEDIA_TYPE_MANIFEST,
    ).to_bytes()
    described = Descriptor.of(
        manifest, MEDIA_TYPE_MANIFEST, annotations=annotations, artifact_type=MEDIA_TYPE_BUNDLE
    )
    return [(config, EMPTY_JSON), (layer, content), (described, manifest)]


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that a DSSE envelope signs (DSSE v1.0.2, "Signature Definition"); lengths in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def read_manifest(
    source: Source, descriptor: Descriptor, place: str, artifact_types: frozenset[str] | None = None
) -> list[Sealed | ContentError]:
    """
    Return what is signed in the manifest *descriptor*, and what of it cannot be read, in its order.

    Args:
        source: Where it is.
        descriptor: The manifest.
        place: How errors call it.
        artifact_types: Nothing is returned of a manifest with another one; None takes any.

    Raises:
        ContentError: The manifest itself cannot be read.
    """
    manifest = Manifest.from_bytes(fetch_document(source, descriptor), place)
    artifact_type = manifest.artifact_type or manifest.config.media_type
    if artifact_types is not None and artifact_type not in artifact_types:
        return []
    if len(manifest.layers) > MAX_LAYERS:
        raise ContentError(f"{place}: {len(manifest.layers)} layers, at most {MAX_LAYERS} are looked at")
    found: list[Sealed | ContentError] = []
    for position, layer in enumerate(manifest.layers):
        where = f"{place}: layers[{position}]"
        try:
            found.append(_read_layer(source, descriptor, layer, where))
        except ContentError as error:
            found.append(
                ContentError(error.problem if where in error.problem else f"{where}: {error.problem}")
            )
    return found


def _read_layer(source: Source, manifest: Descriptor, layer: Descriptor, place: str) -> Sealed:
    if layer.media_type == MEDIA_TYPE_SIMPLE_SIGNING:
        signature = layer.annotations.get(ANNOTATION_SIGNATURE)
        if signature is None:
            raise ContentError(f"no annotation {ANNOTATION_SIGNATURE}")
        payload = fetch_document(source, layer)
        decoded = decode_base64(signature, ANNOTATION_SIGNATURE)
        return Sealed(place, Form.LEGACY, manifest, payload, decoded, payload)
    if layer.media_type in (MEDIA_TYPE_BUNDLE, MEDIA_TYPE_ENVELOPE):
        document = parse_object(fetch_document(source, layer), "bundle")
        envelope = (
            document if layer.media_type == MEDIA_TYPE_ENVELOPE else member(document, "dsseEnvelope", dict)
        )
        message, signature_bytes, body = _read_envelope(envelope)
        return Sealed(place, Form.BUNDLE, manifest, message, signature_bytes, body)
    raise ContentError(f"neither payload nor bundle: media type {json.dumps(layer.media_type[:80])}")


def _read_envelope(envelope: dict[str, object]) -> tuple[bytes, bytes, bytes]:
    """Return message, signature and payload of a DSSE envelope; Sigstore's have one signature."""
    payload_type = member(envelope, "payloadType", str)
    if payload_type != PAYLOAD_TYPE:
        raise ContentError(f"payloadType: expected {PAYLOAD_TYPE!r}, got {payload_type[:80]!r}")
    payload = decode_base64(member(envelope, "payload", str), "payload")
    signatures = member(envelope, "signatures", list)
    if len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise ContentError(f"signatures: expected one, got {len(signatures)}")
    signature = decode_base64(member(signatures[0], "sig", str), "signatures[0].sig")
    return pre_authentication(payload_type, payload), signature, payload
