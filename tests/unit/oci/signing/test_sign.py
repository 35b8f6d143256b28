"""Signing: what is attached, that it is attached once, and beside whom."""

import base64
import json

import pytest
from services.signed import Memory, put_image

from gadgetops.errors import AlreadyExists, ContentError
from gadgetops.oci.content import Descriptor, Manifest
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.signing.keys import PrivateKey
from gadgetops.oci.signing.sealed import Form, pre_authentication
from gadgetops.oci.signing.sign import Others, attest, sign
from gadgetops.oci.signing.verify import verify, verify_attestations

KEY, OTHER = PrivateKey.generate(), PrivateKey.generate()


@pytest.fixture
def memory() -> Memory:
    """An empty place."""
    return Memory()


@pytest.fixture
def image(memory: Memory) -> Descriptor:
    """An image in it."""
    return put_image(memory)


def test_a_legacy_signature_is_what_cosign_makes(memory: Memory, image: Descriptor) -> None:
    """One layer under the tag `sha256-<hex>.sig`: the payload, its signature in an annotation."""
    sign(memory, image, KEY, repository="localhost:5000/x")
    tagged = memory.tags[f"{image.digest.replace(':', '-')}.sig"]
    manifest = Manifest.from_bytes(memory.blobs[tagged.digest])
    (layer,) = manifest.layers
    payload = memory.blobs[layer.digest]
    assert json.loads(payload) == {
        "critical": {
            "identity": {"docker-reference": "localhost:5000/x"},
            "image": {"docker-manifest-digest": image.digest},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    assert layer.media_type == "application/vnd.dev.cosign.simplesigning.v1+json"
    signature = base64.b64decode(layer.annotations["dev.cosignproject.cosign/signature"])
    assert KEY.public.verifies(payload, signature)
    config = json.loads(memory.blobs[manifest.config.digest])
    assert config["rootfs"]["diff_ids"] == [layer.digest]


def test_a_bundle_is_what_sigstore_specifies(memory: Memory, image: Descriptor) -> None:
    """Bundle v0.3 with one DSSE signature of an in-toto statement, its subject the image."""
    signed = sign(memory, image, KEY, form=Form.BUNDLE)
    assert memory.tags == {}
    manifest = Manifest.from_bytes(memory.blobs[signed.manifest.digest])
    assert manifest.subject == Descriptor(image.media_type, image.digest, image.size_bytes)
    assert manifest.artifact_type == "application/vnd.dev.sigstore.bundle.v0.3+json"
    bundle = json.loads(memory.blobs[manifest.layers[0].digest])
    assert set(bundle) == {"mediaType", "verificationMaterial", "dsseEnvelope"}
    assert bundle["verificationMaterial"] == {"publicKey": {"hint": KEY.public.fingerprint}}
    envelope = bundle["dsseEnvelope"]
    statement = base64.b64decode(envelope["payload"])
    assert json.loads(statement)["subject"] == [{"digest": {"sha256": image.digest.removeprefix("sha256:")}}]
    (signature,) = envelope["signatures"]
    message = pre_authentication(envelope["payloadType"], statement)
    assert KEY.public.verifies(message, base64.b64decode(signature["sig"]))


def test_what_a_dsse_envelope_signs() -> None:
    """The example in DSSE's own specification."""
    assert pre_authentication("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@pytest.mark.parametrize("form", Form)
def test_signing_twice_with_one_key_changes_nothing(memory: Memory, image: Descriptor, form: Form) -> None:
    """No further layer, no further manifest."""
    assert sign(memory, image, KEY, form=form).is_new
    before = memory.copy()
    assert not sign(memory, image, KEY, form=form).is_new
    assert vars(memory) == vars(before)


def test_signatures_are_the_same_bytes_wherever_they_are_made() -> None:
    """Equal image, name and key give equal digests."""
    made = []
    for form in Form:
        first, second = Memory(), Memory()
        made.append([sign(place, put_image(place), KEY, form=form).manifest for place in (first, second)])
    assert all(first == second for first, second in made)


@pytest.mark.parametrize("form", Form)
def test_a_second_key_is_refused_unless_asked_for(memory: Memory, image: Descriptor, form: Form) -> None:
    """`ig` would verify neither of two: who signs has to know."""
    sign(memory, image, KEY, form=form)
    before = memory.copy()
    with pytest.raises(AlreadyExists, match="by another key") as error:
        sign(memory, image, OTHER, form=form)
    assert "--replace" in str(error.value.hint)
    assert vars(memory) == vars(before)


@pytest.mark.parametrize("form", Form)
def test_two_keys_both_verify(memory: Memory, image: Descriptor, form: Form) -> None:
    """Each alone, and both together."""
    sign(memory, image, KEY, form=form)
    sign(memory, image, OTHER, form=form, others=Others.ADD)
    for keys in ([KEY.public], [OTHER.public]):
        assert len(verify(memory, image, keys, what="x")) == 1
    assert len(verify(memory, image, [KEY.public, OTHER.public], what="x")) == 2
    assert not sign(memory, image, KEY, form=form).is_new


@pytest.mark.parametrize("form", Form)
def test_another_key_takes_the_place_of_the_first(layout: Layout, put, form: Form) -> None:
    """What is no longer needed is named, so that the store can drop it."""
    image = put("x", "foo")
    first = sign(layout, image, KEY, form=form)
    second = sign(layout, image, OTHER, form=form, others=Others.REPLACE)
    assert [each.digest for each in second.replaced] == [first.manifest.digest]
    layout.remove(first.manifest.digest)
    verified = verify(layout, image, [KEY.public, OTHER.public], what="x")
    assert [each.key.fingerprint for each in verified] == [OTHER.public.fingerprint]


def test_both_forms_stand_beside_each_other(memory: Memory, image: Descriptor) -> None:
    """A signature of one form is no signature of the other."""
    sign(memory, image, KEY)
    sign(memory, image, KEY, form=Form.BUNDLE)
    forms = [each.form for each in verify(memory, image, [KEY.public], what="x")]
    assert forms == [Form.LEGACY, Form.BUNDLE]


def test_an_attestation_is_no_signature(memory: Memory, image: Descriptor) -> None:
    """It does not count as one, and does not hinder one by another key."""
    attest(memory, image, KEY, predicate_type="urn:x", predicate={"a": 1}, name="x")
    assert sign(memory, image, OTHER, form=Form.BUNDLE).is_new
    (attested,) = verify_attestations(memory, image, [KEY.public], what="x")
    assert (attested.kind, attested.claim.predicate) == ("urn:x", {"a": 1})


def test_attesting_the_same_twice_changes_nothing(memory: Memory, image: Descriptor) -> None:
    """Another claim is another attestation."""
    made = [
        attest(memory, image, KEY, predicate_type="urn:x", predicate={"a": n}, name="x") for n in (1, 1, 2)
    ]
    assert [each.is_new for each in made] == [True, False, True]


@pytest.mark.parametrize("form", Form)
def test_what_is_damaged_is_not_signed(memory: Memory, image: Descriptor, form: Form) -> None:
    """Nothing is attached to an image with an altered layer."""
    for digest, data in list(memory.blobs.items()):
        if data == b"object":
            memory.blobs[digest] = b"tcejbo"
    before = memory.copy()
    with pytest.raises(ContentError):
        sign(memory, image, KEY, form=form)
    assert vars(memory) == vars(before)


def test_a_damaged_signature_is_replaced_only_on_demand(memory: Memory, image: Descriptor) -> None:
    """What cannot be read is nobody's signature: a new one takes its tag."""
    tag = f"{image.digest.replace(':', '-')}.sig"
    memory.tags[tag] = memory.put(b"garbage", "application/vnd.oci.image.manifest.v1+json")
    assert sign(memory, image, KEY).is_new
    assert verify(memory, image, [KEY.public], what="x")
