"""Verifying: everything that must be refused is, by the one error, which says what failed."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from services.signed import CONFIG, LAYER, Memory, put_image

from gadgetops.errors import VerificationError
from gadgetops.oci.content import (
    MAX_MANIFEST_BYTES,
    MEDIA_TYPE_INDEX,
    MEDIA_TYPE_MANIFEST,
    Descriptor,
    Index,
    Manifest,
)
from gadgetops.oci.layout.archive import import_archive
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.reference import Reference
from gadgetops.oci.signing.claims import SIGNATURE_TYPE, simple_signing, statement
from gadgetops.oci.signing.find import MAX_MANIFESTS
from gadgetops.oci.signing.keys import PrivateKey, PublicKey
from gadgetops.oci.signing.sealed import (
    ANNOTATION_SIGNATURE,
    ARTIFACT_TYPE_COSIGN,
    MAX_LAYERS,
    Form,
    bundle,
    legacy_manifest,
    seal_payload,
)
from gadgetops.oci.signing.sign import attest, sign
from gadgetops.oci.signing.verify import verify, verify_attestations

COSIGN = Path(__file__).parents[3] / "data" / "cosign"
KEY, OTHER = PrivateKey.generate(), PrivateKey.generate()


@pytest.fixture
def memory() -> Memory:
    """An empty place."""
    return Memory()


@pytest.fixture
def image(memory: Memory) -> Descriptor:
    """An image in it."""
    return put_image(memory)


def refused(memory: Memory, image: Descriptor) -> VerificationError:
    """Verify with `KEY`, which must fail, and return how."""
    with pytest.raises(VerificationError) as error:
        verify(memory, image, [KEY.public], what="the image")
    assert error.value.what == "the image"
    assert str(error.value).startswith(f"the image: not verified: {error.value.check}: {error.value.reason}")
    return error.value


def attach_payload(memory: Memory, image: Descriptor, payload: bytes, **annotations: str) -> None:
    """Attach *payload* as a legacy signature by `KEY`."""
    layer, content = seal_payload(payload, KEY)
    layer = replace(layer, annotations={**layer.annotations, **annotations})
    made = [(layer, content), *legacy_manifest([layer])]
    for descriptor, data in made:
        memory.add(descriptor, [data])
    memory.tags[tag_of(image)] = made[-1][0]


def attach_bundle(
    memory: Memory, image: Descriptor, payload: bytes, change: Callable = lambda _: None
) -> None:
    """Attach *payload* as a bundle by `KEY`, after *change* was done to the bundle's document."""
    made = bundle(image, payload, "urn:x", KEY)
    document = json.loads(made[1][1])
    change(document)
    data = json.dumps(document).encode()
    layer = memory.put(data, made[1][0].media_type)
    memory.add(made[0][0], [made[0][1]])
    manifest = replace(Manifest.from_bytes(made[2][1]), layers=(layer,)).to_bytes()
    memory.listed = [
        replace(memory.put(manifest, MEDIA_TYPE_MANIFEST), artifact_type=made[2][0].artifact_type)
    ]


def tag_of(image: Descriptor) -> str:
    """Return the tag of the image's signature."""
    return f"{image.digest.replace(':', '-')}.sig"


@pytest.mark.parametrize("form", Form)
def test_a_signed_image_verifies(memory: Memory, image: Descriptor, form: Form) -> None:
    """One of several keys is enough; what is returned says which, and where it was found."""
    signed = sign(memory, image, KEY, form=form)
    (verified,) = verify(memory, image, [OTHER.public, KEY.public], what="x")
    assert (verified.key.fingerprint, verified.form) == (KEY.public.fingerprint, form)
    assert (verified.manifest.digest, verified.kind) == (signed.manifest.digest, "signature")


def test_an_image_without_signature_is_refused(memory: Memory, image: Descriptor) -> None:
    """The hint says where signatures come from."""
    error = refused(memory, image)
    assert (error.check, error.reason) == ("presence", "no signature is attached")
    assert "gadgetops sign" in str(error)


@pytest.mark.parametrize("form", Form)
def test_a_signature_by_another_key_is_refused(memory: Memory, image: Descriptor, form: Form) -> None:
    """It is named, so that a person finds it."""
    signed = sign(memory, image, OTHER, form=form)
    error = refused(memory, image)
    place = tag_of(image) if form is Form.LEGACY else signed.manifest.digest
    assert (error.check, error.reason) == ("signature", f"{place}: layers[0]: by another key, or altered")


def test_no_key_verifies_nothing(memory: Memory, image: Descriptor) -> None:
    """An empty list of keys is not a permission."""
    sign(memory, image, KEY)
    with pytest.raises(VerificationError):
        verify(memory, image, [], what="x")


def test_a_failure_is_about_what_was_asked_for(memory: Memory, image: Descriptor) -> None:
    """Attestations by others are no reason why a signature is missing, nor the other way round."""
    attest(memory, image, OTHER, predicate_type="urn:x", predicate={}, name="x")
    assert refused(memory, image).check == "presence"
    sign(memory, image, KEY)
    with pytest.raises(VerificationError, match="signature: sha256:"):
        verify_attestations(memory, image, [KEY.public], what="x")


@pytest.mark.parametrize("form", Form)
def test_a_signature_of_another_image_is_refused(memory: Memory, image: Descriptor, form: Form) -> None:
    """A valid signature, moved to an image that it is not about."""
    other = put_image(memory, b"other object")
    sign(memory, other, KEY, form=form)
    memory.tags = {tag_of(image): tagged for tagged in memory.tags.values()}
    error = refused(memory, image)
    assert error.check == "digest"
    assert f"it is about {other.digest}, not {image.digest}" in error.reason


def test_the_digest_of_one_architecture_is_not_that_of_the_image(memory: Memory, image: Descriptor) -> None:
    """As for `ig`, it is the index that has to be signed."""
    manifest = Index.from_bytes(memory.blobs[image.digest]).manifests[0]
    attach_payload(memory, image, simple_signing(manifest.digest, ""))
    assert refused(memory, image).check == "digest"


def test_a_swapped_payload_is_refused(memory: Memory, image: Descriptor) -> None:
    """The payload of another image's signature, under this one's signature."""
    payload = simple_signing(image.digest, "")
    swapped = simple_signing(put_image(memory, b"evil").digest, "")
    signature = base64.b64encode(KEY.sign(swapped)).decode()
    attach_payload(memory, image, payload, **{ANNOTATION_SIGNATURE: signature})
    assert refused(memory, image).check == "signature"


def test_a_swapped_statement_is_refused(memory: Memory, image: Descriptor) -> None:
    """The same for a bundle: its signature is of another statement."""
    swapped = base64.b64encode(
        statement(image.digest, "https://sigstore.dev/cosign/sign/v1", {"a": 1})
    ).decode()
    attach_bundle(
        memory,
        image,
        statement(image.digest, "https://sigstore.dev/cosign/sign/v1", {}),
        lambda document: document["dsseEnvelope"].update(payload=swapped),
    )
    assert refused(memory, image).check == "signature"


@pytest.mark.parametrize("form", Form)
def test_content_replaced_in_place_is_refused(memory: Memory, image: Descriptor, form: Form) -> None:
    """A payload or bundle whose bytes are not those of its digest any more."""
    signed = sign(memory, image, KEY, form=form)
    layer = Manifest.from_bytes(memory.blobs[signed.manifest.digest]).layers[0]
    memory.blobs[layer.digest] = memory.blobs[layer.digest].replace(b"a", b"b")
    error = refused(memory, image)
    assert error.check == "document"
    assert "digest: expected" in error.reason


@pytest.mark.parametrize("part", [CONFIG, LAYER])
@pytest.mark.parametrize(
    "change", [lambda data: data[::-1], lambda data: data[:-1], lambda data: data + b"."]
)
@pytest.mark.parametrize("form", Form)
def test_a_tampered_part_is_refused(
    memory: Memory, image: Descriptor, part: bytes, change: Callable[[bytes], bytes], form: Form
) -> None:
    """Though the signature holds: `ig` does not look at the parts in its store."""
    sign(memory, image, KEY, form=form)
    digest = next(digest for digest, data in memory.blobs.items() if data == part)
    memory.blobs[digest] = change(part)
    error = refused(memory, image)
    assert error.check == "content"
    assert digest in error.reason


def test_a_missing_part_is_refused(memory: Memory, image: Descriptor) -> None:
    """Of any architecture, not of this machine's alone."""
    sign(memory, image, KEY)
    del memory.blobs[next(digest for digest, data in memory.blobs.items() if data == LAYER)]
    assert refused(memory, image).check == "content"


def test_a_truncated_manifest_is_refused(memory: Memory, image: Descriptor) -> None:
    """The image's, cut short in place."""
    sign(memory, image, KEY)
    manifest = Index.from_bytes(memory.blobs[image.digest]).manifests[0].digest
    memory.blobs[manifest] = memory.blobs[manifest][:-20]
    assert refused(memory, image).check == "content"


@pytest.mark.parametrize("length", [0, 1, 50, 200])
def test_a_truncated_signature_manifest_is_refused(memory: Memory, image: Descriptor, length: int) -> None:
    """Even if its descriptor was cut to fit."""
    signed = sign(memory, image, KEY)
    data = memory.blobs[signed.manifest.digest][:length]
    memory.tags[tag_of(image)] = memory.put(data, MEDIA_TYPE_MANIFEST)
    assert refused(memory, image).check == "document"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b'{"critical":null}',
        b'{"critical":{"image":{"docker-manifest-digest":"0"},"type":"cosign container image signature"}}',
        b'{"critical":{"image":{"docker-manifest-digest":7},"type":"cosign container image signature"}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_signed_payload_that_claims_nothing_is_refused(
    memory: Memory, image: Descriptor, payload: bytes
) -> None:
    """The signature holds, the claim is none."""
    attach_payload(memory, image, payload)
    assert refused(memory, image).check == "claim"


def test_a_payload_of_another_kind_is_refused(memory: Memory, image: Descriptor) -> None:
    """What the key signed for another purpose does not pass for a signature of an image."""
    payload = simple_signing(image.digest, "").replace(b"cosign container image", b"atomic container")
    attach_payload(memory, image, payload)
    assert refused(memory, image).check == "claim"


def set_member(*path: str | int, value: object) -> Callable[[dict], None]:
    """Return a change that puts *value* at *path* of a bundle."""

    def change(document: dict) -> None:
        where = document
        for step in path[:-1]:
            where = where[step]
        where[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_member("dsseEnvelope", value=None),
        set_member("dsseEnvelope", "payloadType", value="text/plain"),
        set_member("dsseEnvelope", "payload", value="?"),
        set_member("dsseEnvelope", "signatures", value=[]),
        set_member("dsseEnvelope", "signatures", value=[{"sig": "AA=="}, {"sig": "AA=="}]),
        set_member("dsseEnvelope", "signatures", 0, value="AA=="),
        set_member("dsseEnvelope", "signatures", 0, "sig", value="\u00e9"),
        set_member("dsseEnvelope", "signatures", 0, "sig", value=None),
    ],
)
def test_a_bundle_that_is_none_is_refused(memory: Memory, image: Descriptor, change: Callable) -> None:
    """Each member of a bundle that matters, wrong."""
    attach_bundle(memory, image, statement(image.digest, "https://sigstore.dev/cosign/sign/v1", {}), change)
    assert refused(memory, image).check == "document"


@pytest.mark.parametrize("annotation", ["", "!", "AA==", "\u00e9", "A" * 100_000])
def test_an_annotation_that_is_no_signature_is_refused(
    memory: Memory, image: Descriptor, annotation: str
) -> None:
    """Not base64, or base64 of no signature."""
    attach_payload(memory, image, simple_signing(image.digest, ""), **{ANNOTATION_SIGNATURE: annotation})
    assert refused(memory, image).check in ("document", "signature")


def test_oversized_documents_are_not_read(memory: Memory, image: Descriptor) -> None:
    """A payload, and a manifest, above the limit that `ig` has, too."""
    attach_payload(memory, image, b" " * (MAX_MANIFEST_BYTES + 1))
    assert "bytes are too many" in refused(memory, image).reason
    huge = Descriptor(MEDIA_TYPE_MANIFEST, f"sha256:{0:064}", MAX_MANIFEST_BYTES + 1)
    memory.tags[tag_of(image)] = huge
    assert "bytes are too many" in refused(memory, image).reason


def test_a_manifest_of_too_many_signatures_is_not_read(memory: Memory, image: Descriptor) -> None:
    """Nobody has so many, and each costs a check."""
    layer, content = seal_payload(simple_signing(image.digest, ""), KEY)
    made = [(layer, content), *legacy_manifest([layer] * (MAX_LAYERS + 1))]
    for descriptor, data in made:
        memory.add(descriptor, [data])
    memory.tags[tag_of(image)] = made[-1][0]
    assert f"at most {MAX_LAYERS}" in refused(memory, image).reason


def test_a_flood_of_referrers_does_not_hide_the_tag(memory: Memory, image: Descriptor) -> None:
    """Others may attach what they like: the signature by tag is looked at first, and the rest is bounded."""
    sign(memory, image, KEY)
    garbage = [memory.put(b"%d" % n, MEDIA_TYPE_MANIFEST) for n in range(MAX_MANIFESTS + 10)]
    memory.listed = [replace(each, artifact_type=ARTIFACT_TYPE_COSIGN) for each in garbage]
    assert verify(memory, image, [KEY.public], what="x")


def test_garbage_beside_a_signature_does_no_harm(memory: Memory, image: Descriptor) -> None:
    """Whoever may write beside the image could otherwise take its signature's force away."""
    sign(memory, image, KEY, form=Form.BUNDLE)
    memory.tags[tag_of(image)] = memory.put(b"{", MEDIA_TYPE_MANIFEST)
    memory.tags[tag_of(image)[:-4]] = memory.put(b"{", MEDIA_TYPE_INDEX)
    sign(memory, image, OTHER, form=Form.LEGACY)
    assert len(verify(memory, image, [KEY.public], what="x")) == 1


def test_several_failures_are_told_together(memory: Memory, image: Descriptor) -> None:
    """Each with its place, no more than a person reads."""
    for key in [PrivateKey.generate() for _ in range(6)]:
        made = bundle(image, statement(image.digest, SIGNATURE_TYPE, {}), SIGNATURE_TYPE, key)
        for descriptor, data in made:
            memory.add(descriptor, [data])
        memory.listed.append(made[-1][0])
    error = refused(memory, image)
    assert error.check == "signature"
    assert error.reason.count("by another key") == 4
    assert error.reason.endswith("; and 2 more")


def test_a_signature_by_subject_is_found(memory: Memory, image: Descriptor) -> None:
    """cosign's form for OCI 1.1: a payload in a manifest whose subject is the image."""
    layer, content = seal_payload(simple_signing(image.digest, ""), KEY)
    (config, text), _ = legacy_manifest([layer])
    manifest = Manifest(config, (layer,), artifact_type=ARTIFACT_TYPE_COSIGN, subject=image)
    memory.add(layer, [content])
    memory.add(config, [text])
    entry = memory.put(manifest.to_bytes(), MEDIA_TYPE_MANIFEST)
    index = Index(manifests=(replace(entry, artifact_type=ARTIFACT_TYPE_COSIGN),))
    memory.tags[tag_of(image)[:-4]] = memory.put(index.to_bytes(), MEDIA_TYPE_INDEX)
    assert verify(memory, image, [KEY.public], what="x")


@pytest.mark.parametrize("name", ["first", "second"])
def test_what_cosign_signed_and_attested_verifies(layout: Layout, name: str) -> None:
    """Two signers in one manifest, an attestation by tag, another in a bundle, all made by cosign itself."""
    with (COSIGN / "image.tar").open("rb") as file:
        import_archive(layout, file, "image.tar")
    image = layout.resolve(Reference.parse("example.com/fixture:v1"))
    key = PublicKey.from_pem((COSIGN / f"{name}.pub").read_bytes(), name)
    assert len(verify(layout, image, [key], what="x")) == 1
    (attested,) = verify_attestations(layout, image, [key], what="x")
    assert attested.kind == "https://slsa.dev/provenance/v1"
    assert attested.claim.predicate["buildDefinition"]["buildType"] == "urn:test"


def test_what_the_file_system_refuses_is_a_failed_verification(layout: Layout, put) -> None:
    """One error is all that callers have to think of."""
    image = put("x", "foo")
    sign(layout, image, KEY)
    path = layout.blob_path(image.digest)
    path.unlink()
    path.mkdir()
    with pytest.raises(VerificationError) as error:
        verify(layout, image, [KEY.public], what="foo")
    assert error.value.check == "content"
