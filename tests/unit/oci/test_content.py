"""Digests, descriptors, manifests and indexes as bytes and as values."""

import hashlib
import json

import pytest

from gadgetops.errors import ContentError, DigestMismatch, SizeMismatch, UnsupportedMediaType
from gadgetops.oci.content import (
    MEDIA_TYPE_EMPTY,
    MEDIA_TYPE_INDEX,
    MEDIA_TYPE_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    Platform,
    digest_of,
    is_digest,
    parse_object,
    to_go_json,
)

HEX = "a" * 64
DESCRIPTOR = {"mediaType": "application/x", "digest": f"sha256:{HEX}", "size": 3}


def test_digest_is_sha256_of_the_bytes() -> None:
    """The same as `sha256sum` says."""
    assert "sha256:" + hashlib.sha256(b"abc").hexdigest() == digest_of(b"abc")
    assert is_digest(digest_of(b"")) and is_digest(digest_of(b"", "sha512"))
    assert not is_digest("sha256:") and not is_digest(f"sha256:{HEX}\n")


def test_size_is_checked_before_the_digest() -> None:
    """Counting is cheap, and too many bytes are noticed without hashing them."""
    descriptor = Descriptor.of(b"abc", "application/x")
    descriptor.check(b"abc")
    with pytest.raises(SizeMismatch) as size:
        descriptor.check(b"abcd")
    assert (size.value.expected_bytes, size.value.actual_bytes) == (3, 4)
    with pytest.raises(SizeMismatch):
        descriptor.check(b"ab")
    with pytest.raises(DigestMismatch) as digest:
        descriptor.check(b"abd")
    assert (digest_of(b"abc"), digest_of(b"abd")) == (digest.value.expected, digest.value.actual)


def test_endless_content_is_stopped_at_the_first_piece_too_many() -> None:
    """A source that never ends costs no more than what was promised."""

    def endless():
        while True:
            yield b"x" * 1024

    with pytest.raises(SizeMismatch):
        list(Descriptor.of(b"abc", "application/x").verified(endless()))


def test_other_digests_than_sha256_are_checked_too() -> None:
    """sha512 is registered in image-spec v1.1.1."""
    descriptor = Descriptor("application/x", digest_of(b"abc", "sha512"), 3)
    descriptor.check(b"abc")
    with pytest.raises(DigestMismatch):
        descriptor.check(b"abd")


def test_manifest_has_exactly_the_bytes_of_ig() -> None:
    """Go's member order, compact, no mediaType, annotations sorted, empty values kept, `<>&` escaped."""
    annotations = {"b": "", "a": "x<y>&z"}
    manifest = Manifest(
        config=Descriptor(MEDIA_TYPE_EMPTY, digest_of(b"{}"), 2, annotations=annotations, data=b"{}"),
        layers=(Descriptor("application/l", f"sha256:{HEX}", 9),),
        artifact_type="application/a",
        annotations=annotations,
    )
    written = (
        '{"schemaVersion":2,"artifactType":"application/a","config":{"mediaType":"application/vnd.oci.empty.v1+json",'
        '"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,'
        '"annotations":{"a":"x\\u003cy\\u003e\\u0026z","b":""},"data":"e30="},'
        f'"layers":[{{"mediaType":"application/l","digest":"sha256:{HEX}","size":9}}],'
        '"annotations":{"a":"x\\u003cy\\u003e\\u0026z","b":""}}'
    )
    assert written == manifest.to_bytes().decode()
    assert manifest == Manifest.from_bytes(written.encode())


def test_index_has_exactly_the_bytes_of_ig() -> None:
    """With mediaType, and the platform of each manifest after its annotations."""
    entry = Descriptor(
        MEDIA_TYPE_MANIFEST, f"sha256:{HEX}", 9, annotations={"a": "b"}, platform=Platform("arm64")
    )
    index = Index(manifests=(entry,), annotations={"a": "b"})
    written = (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":['
        f'{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{HEX}","size":9,'
        '"annotations":{"a":"b"},"platform":{"architecture":"arm64","os":"linux"}}],"annotations":{"a":"b"}}'
    )
    assert written == index.to_bytes().decode()
    assert index == Index.from_bytes(written.encode())


def test_go_escapes() -> None:
    """Line separators and markup are escaped, other text is UTF-8; no line feed follows."""
    assert (
        to_go_json("<>&\u2028\u2029\b\f\x01é\x7f")
        == b'"\\u003c\\u003e\\u0026\\u2028\\u2029\\b\\f\\u0001\xc3\xa9\x7f"'
    )


def test_unknown_members_of_a_descriptor_survive() -> None:
    """Who wrote them may need them."""
    value = {
        **DESCRIPTOR,
        "urls": ["x"],
        "platform": {"architecture": "arm", "os": "linux", "os.version": "1"},
    }
    assert value == Descriptor.from_json(value).to_json()


def test_null_and_empty_members_count_as_absent() -> None:
    """Go writes `null` for what is not set."""
    value = {**DESCRIPTOR, "annotations": None, "platform": None, "data": "", "artifactType": ""}
    assert Descriptor.from_json(value).to_json() == DESCRIPTOR
    nothing = b'{"schemaVersion":2,"manifests":null}'
    assert Index.from_bytes(nothing).manifests == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digest": None}, "d: digest is missing"),
        ({"digest": "sha256:xyz"}, "d.digest: a sha256 digest has 64 hexadecimal digits, not 3"),
        ({"size": -1}, "d.size: -1 is out of range"),
        ({"size": 1 << 63}, "out of range"),
        ({"size": 1.0}, "d.size: expected a whole number, got a number"),
        ({"size": True}, "d.size: expected a whole number, got a truth value"),
        ({"mediaType": 7}, "d.mediaType: expected text, got a number"),
        ({"annotations": {"k": 1}}, "d.annotations.k: expected text, got a number"),
        ({"annotations": []}, "d.annotations: expected an object, got an array"),
        ({"platform": {"os": "linux"}}, "d.platform: architecture is missing"),
        ({"data": "%"}, "d.data: not base64"),
    ],
)
def test_errors_of_a_descriptor_say_where(change: dict[str, object], message: str) -> None:
    """The path leads to the member."""
    with pytest.raises(ContentError) as caught:
        Descriptor.from_json({**DESCRIPTOR, **change}, "d")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"schemaVersion":1,"config":{}}',
        b'{"schemaVersion":2}',
        b'{"schemaVersion":2,"config":[]}',
        b'{"schemaVersion":2,"layers":{}}',
        b'{"a":NaN}',
        b'{"a":"\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"9" * 10_000 + b"}",
        b" " * (5 << 20),
    ],
)
def test_bytes_that_are_no_manifest(data: bytes) -> None:
    """Each is a `ContentError`, never another exception."""
    with pytest.raises(ContentError):
        Manifest.from_bytes(data)


def test_document_of_another_kind_is_refused() -> None:
    """An index is no manifest, and a document that reads as both is neither."""
    index = Index().to_bytes()
    with pytest.raises(UnsupportedMediaType) as caught:
        Manifest.from_bytes(index)
    assert caught.value.actual == MEDIA_TYPE_INDEX
    both = {**json.loads(index), "layers": []}
    with pytest.raises(ContentError, match="another kind"):
        Index.from_bytes(json.dumps(both).encode())


def test_path_of_an_error_leads_through_the_document() -> None:
    """`manifests[1].digest`, not just `digest`."""
    data = json.dumps({"schemaVersion": 2, "manifests": [DESCRIPTOR, {**DESCRIPTOR, "digest": 1}]}).encode()
    with pytest.raises(ContentError, match=r"x\.manifests\[1\]\.digest: expected text"):
        Index.from_bytes(data, "x")


def test_object_is_asked_for() -> None:
    """Other JSON is refused by name."""
    with pytest.raises(ContentError, match="x: expected a JSON object, got text"):
        parse_object(b'"a"', "x")
