"""Images from elsewhere: only what is proven arrives."""

from pathlib import Path

import pytest

from gadgetops.errors import VerificationError
from gadgetops.oci.content import MEDIA_TYPE_INDEX, Index
from gadgetops.oci.copying.copy_image import copy_image
from gadgetops.oci.copying.endpoints import Goal, Origin
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.signing.arrival import verified_arrival
from gadgetops.oci.signing.find import tag_of
from gadgetops.oci.signing.keys import PrivateKey
from gadgetops.oci.signing.sealed import Form
from gadgetops.oci.signing.sign import Others, attest, sign
from gadgetops.oci.signing.verify import verify

KEY, STRANGER = PrivateKey.generate(), PrivateKey.generate()


@pytest.fixture
def arrived(tmp_path: Path) -> Layout:
    """Where images arrive."""
    return Layout.open(tmp_path / "arrived", create=True)


def test_only_what_a_key_signed_arrives(layout: Layout, arrived: Layout, put) -> None:
    """Signatures of both forms and attestations of the key do; a stranger's, and other tags, do not."""
    image = put("x", "foo")
    mine = [sign(layout, image, KEY, form=form).manifest for form in Form]
    mine.append(attest(layout, image, KEY, predicate_type="urn:x", predicate={}, name="x").manifest)
    theirs = [
        sign(layout, image, STRANGER, form=Form.BUNDLE, others=Others.ADD).manifest,
        attest(layout, image, STRANGER, predicate_type="urn:x", predicate={}, name="x").manifest,
    ]
    layout.publish({tag_of(image.digest, ".sbom"): theirs[0], tag_of(image.digest): image})
    with verified_arrival(Origin(layout, image), [KEY.public], what="foo") as proven:
        copy_image(proven, Goal(arrived, "foo", None, "foo"))
    assert all(arrived.has(each) for each in mine)
    assert not any(arrived.has(each) for each in theirs)
    assert list(arrived.names()) == ["foo", tag_of(image.digest, ".sig")]
    assert len(verify(arrived, image, [KEY.public, STRANGER.public], what="foo")) == 2


def test_a_list_of_proven_referrers_arrives_as_well(layout: Layout, arrived: Layout, put) -> None:
    """The index tagged `sha256-<hex>`, where tools without a referrers API look."""
    image = put("x", "foo")
    signed = sign(layout, image, KEY, form=Form.BUNDLE).manifest
    index = layout.add_blob(Index(manifests=(signed,)).to_bytes(), MEDIA_TYPE_INDEX)
    layout.publish({tag_of(image.digest): index})
    with verified_arrival(Origin(layout, image), [KEY.public], what="foo") as proven:
        copy_image(proven, Goal(arrived, "foo", None, "foo"))
    assert arrived.resolve(tag_of(image.digest)).digest == index.digest


def test_one_platform_of_a_verified_image_has_no_signature(layout: Layout, arrived: Layout, put) -> None:
    """All of the image is verified, a part of it is kept: what was signed is the whole."""
    image = put("x", "foo")
    sign(layout, image, KEY)
    with verified_arrival(Origin(layout, image), [KEY.public], what="foo") as proven:
        copied = copy_image(proven, Goal(arrived, "foo", None, "foo"), platforms=["linux/arm64"])
    assert (copied.n_attached, copied.n_left_behind) == (0, 1)
    assert list(arrived.names()) == ["foo"]


def test_nothing_is_yielded_that_does_not_verify(layout: Layout, put) -> None:
    """The body of the `with` is never entered."""
    image = put("x", "foo")
    sign(layout, image, STRANGER)
    with (
        pytest.raises(VerificationError),
        verified_arrival(Origin(layout, image), [KEY.public], what="foo"),
    ):
        raise AssertionError("entered")
