"""Laws of signatures: nothing but what a key signed verifies, nothing but `VerificationError` comes out."""

import base64
import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from services.signed import Memory, put_image

from gadgetops.errors import KeyFileError, VerificationError
from gadgetops.oci.content import MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST, Manifest
from gadgetops.oci.signing.keys import PrivateKey, PublicKey
from gadgetops.oci.signing.sealed import MEDIA_TYPE_BUNDLE, Form, bundle
from gadgetops.oci.signing.sign import sign
from gadgetops.oci.signing.verify import verify, verify_attestations

KEY = PrivateKey.generate()
RELAXED = settings(deadline=None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


def signed_in(form: Form) -> tuple[Memory, Any]:
    """Return an image signed in *form*, and where."""
    memory = Memory()
    image = put_image(memory)
    sign(memory, image, KEY, form=form)
    return memory, image


PLACES = {form: signed_in(form) for form in Form}


def verifies(memory: Memory, image: Any) -> bool:
    """Return whether the image verifies; anything but `VerificationError` is a failure of the test."""
    try:
        verify(memory, image, [KEY.public], what="x")
    except VerificationError:
        return False
    return True


class TestAlteredContent:
    """Law: bytes changed in place, anywhere, never verify."""

    @RELAXED
    @given(form=st.sampled_from(Form), data=st.data())
    def test_a_flipped_byte(self, form: Form, data: st.DataObject) -> None:
        """Whichever blob it is in, the signature's own config, which nobody reads, excepted."""
        memory, image = PLACES[form]
        damaged = memory.copy()
        digest = data.draw(st.sampled_from(sorted(damaged.blobs)))
        content = bytearray(damaged.blobs[digest])
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        damaged.blobs[digest] = bytes(content)
        assert verifies(damaged, image) is (digest == self._config(memory, form))

    @RELAXED
    @given(form=st.sampled_from(Form), content=st.binary(max_size=200), data=st.data())
    def test_other_bytes(self, form: Form, content: bytes, data: st.DataObject) -> None:
        """The same for content replaced as a whole."""
        memory, image = PLACES[form]
        damaged = memory.copy()
        digest = data.draw(st.sampled_from(sorted(damaged.blobs)))
        is_same = content == damaged.blobs[digest]
        damaged.blobs[digest] = content
        assert verifies(damaged, image) is (is_same or digest == self._config(memory, form))

    @staticmethod
    def _config(memory: Memory, form: Form) -> str:
        entry = next(iter(memory.tags.values())) if form is Form.LEGACY else memory.listed[0]
        return Manifest.from_bytes(memory.blobs[entry.digest]).config.digest


class TestArbitraryAttachments:
    """Law: whatever is attached, with digests that fit, only what the key signed verifies."""

    @RELAXED
    @given(content=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
    def test_arbitrary_manifests(self, content: bytes) -> None:
        """By tag, in the index of referrers, and as a referrer."""
        memory = Memory()
        image = put_image(memory)
        tag = image.digest.replace(":", "-")
        entry = memory.put(content, MEDIA_TYPE_MANIFEST)
        memory.tags = {f"{tag}.sig": entry, f"{tag}.att": entry, tag: memory.put(content, MEDIA_TYPE_INDEX)}
        memory.listed = [replace(entry, artifact_type=MEDIA_TYPE_BUNDLE)]
        assert not verifies(memory, image)

    @RELAXED
    @given(
        form=st.sampled_from(Form),
        content=st.binary(max_size=300) | JSON.map(lambda v: json.dumps(v).encode()),
    )
    def test_arbitrary_payloads_and_bundles(self, form: Form, content: bytes) -> None:
        """Under a manifest that is right."""
        self._refused_with(form, content, {})

    @RELAXED
    @given(form=st.sampled_from(Form), annotation=st.text(max_size=100))
    def test_arbitrary_signatures(self, form: Form, annotation: str) -> None:
        """Beside a payload that is right."""
        self._refused_with(form, None, {"dev.cosignproject.cosign/signature": annotation})

    @RELAXED
    @given(path=st.sampled_from(["dsseEnvelope", "payload", "payloadType", "signatures", "sig"]), value=JSON)
    def test_arbitrary_members_of_a_bundle(self, path: str, value: Any) -> None:
        """One member of a bundle that is right otherwise."""
        memory, _ = PLACES[Form.BUNDLE]
        layer = Manifest.from_bytes(memory.blobs[memory.listed[0].digest]).layers[0]
        document = json.loads(memory.blobs[layer.digest])
        envelope = document["dsseEnvelope"]
        place = {"dsseEnvelope": document, "sig": envelope["signatures"][0]}.get(path, envelope)
        if place[path] != value:
            place[path] = value
            self._refused_with(Form.BUNDLE, json.dumps(document).encode(), {})

    @RELAXED
    @given(payload=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
    def test_arbitrary_statements_that_the_key_signed(self, payload: bytes) -> None:
        """What is signed but says nothing of the image verifies nothing."""
        memory = Memory()
        image = put_image(memory)
        for descriptor, data in (made := bundle(image, payload, "urn:x", KEY)):
            memory.add(descriptor, [data])
        memory.listed = [made[-1][0]]
        assert not verifies(memory, image)
        try:
            verify_attestations(memory, image, [KEY.public], what="x")
        except VerificationError:
            return
        raise AssertionError("attested")

    @staticmethod
    def _refused_with(form: Form, content: bytes | None, annotations: dict[str, str]) -> None:
        memory, image = PLACES[form]
        damaged = memory.copy()
        entry = next(iter(memory.tags.values())) if form is Form.LEGACY else memory.listed[0]
        manifest = Manifest.from_bytes(memory.blobs[entry.digest])
        layer = manifest.layers[0]
        data = memory.blobs[layer.digest] if content is None else content
        described = damaged.put(data, layer.media_type)
        described = replace(described, annotations={**layer.annotations, **annotations})
        forged = replace(manifest, layers=(described,)).to_bytes()
        new = replace(damaged.put(forged, MEDIA_TYPE_MANIFEST), artifact_type=entry.artifact_type)
        damaged.tags = dict.fromkeys(damaged.tags, new)
        damaged.listed = [new for _ in damaged.listed]
        assert verifies(damaged, image) is (
            forged == memory.blobs[entry.digest] or (form is Form.BUNDLE and content is None)
        )


class TestArbitraryKeys:
    """Law: a key file holds a key or is refused with `KeyFileError`."""

    @RELAXED
    @given(data=st.binary(max_size=300))
    def test_arbitrary_bytes(self, data: bytes) -> None:
        """As either half."""
        for read in (PublicKey.from_pem, lambda data, what: PrivateKey.from_pem(data, what, lambda: b"")):
            try:
                read(data, "x")
            except KeyFileError:
                continue
            raise AssertionError("read")

    @RELAXED
    @given(document=JSON | st.fixed_dictionaries({"kdf": JSON, "cipher": JSON, "ciphertext": JSON}))
    def test_arbitrary_documents_in_the_encrypted_form(self, document: Any) -> None:
        """JSON of any shape where cosign's stands."""
        body = base64.b64encode(json.dumps(document).encode())
        name = b"ENCRYPTED SIGSTORE PRIVATE KEY"
        try:
            PrivateKey.from_pem(
                b"-----BEGIN %s-----\n%s\n-----END %s-----" % (name, body, name), "x", lambda: b""
            )
        except KeyFileError:
            return
        raise AssertionError("read")
