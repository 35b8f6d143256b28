"""Signing: making signatures and attestations and attaching them to an image."""

from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from gadgetops.errors import AlreadyExists, ContentError
from gadgetops.oci.content import Descriptor, Json, Manifest
from gadgetops.oci.graph import fetch_document, sound_children_of, walk
from gadgetops.oci.signing.claims import SIGNATURE_TYPE, simple_signing, statement
from gadgetops.oci.signing.find import SignedTarget, find, resolve_tag, tag_of
from gadgetops.oci.signing.keys import PrivateKey
from gadgetops.oci.signing.sealed import (
    MEDIA_TYPE_SIMPLE_SIGNING,
    Form,
    Sealed,
    Written,
    bundle,
    legacy_manifest,
    seal_payload,
)


class Others(StrEnum):
    """What happens to signatures of the same form by other keys."""

    REFUSE = "refuse"
    ADD = "add"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Signed:
    """
    What came of signing.

    Attributes:
        manifest: The manifest that holds the signature.
        is_new: Whether it was made now; otherwise this key had signed the image before, and nothing changed.
        replaced: Manifests that held signatures and are no longer needed.
    """

    manifest: Descriptor
    is_new: bool
    replaced: tuple[Descriptor, ...] = ()


def sign(
    target: SignedTarget,
    image: Descriptor,
    key: PrivateKey,
    *,
    repository: str = "",
    form: Form = Form.LEGACY,
    others: Others = Others.REFUSE,
) -> Signed:
    """
    Sign *image* with *key*, unless it is signed so already.

    All of the image is read before: what is missing or damaged is not signed. The digest signed is that of
    the index, which is the one that `ig` and cosign check.

    Args:
        target: Where the image is, and where the signature goes.
        image: Descriptor of the image's index.
        key: The key.
        repository: What the signature says the image is called; nothing checks it.
        form: How to attach the signature.
        others: What to do if another key's signature of that form is there: `ig` 0.48 takes an image for
            unsigned if a form holds two.

    Raises:
        AlreadyExists: There is another key's, and *others* is `REFUSE`.
        ContentError: The image is missing or damaged.
    """
    walk([image], partial(sound_children_of, target))
    found = list(_signatures(target, image.digest, form))
    mine = next((each for each in found if each.signer([key.public])), None)
    if mine is not None and (others is not Others.REPLACE or len(found) == 1):
        return Signed(mine.manifest, is_new=False)
    if found and others is Others.REFUSE:
        raise _other_signature(image.digest, form)
    if form is Form.BUNDLE:
        made = bundle(image, statement(image.digest, SIGNATURE_TYPE, {}), SIGNATURE_TYPE, key)
        before = [each.manifest for each in found] if others is Others.REPLACE else []
        return _attach_referrer(target, image, made, before)
    return _attach_legacy(
        target, image.digest, seal_payload(simple_signing(image.digest, repository), key), others
    )


def attest(
    target: SignedTarget,
    image: Descriptor,
    key: PrivateKey,
    *,
    predicate_type: str,
    predicate: Json,
    name: str,
) -> Signed:
    """
    Attach the claim *predicate* about *image*, signed with *key*; the same claim twice changes nothing.

    Args:
        target: Where the image is, and where the attestation goes.
        image: Descriptor of the image's index.
        key: The key.
        predicate_type: URI that names the kind of claim.
        predicate: The claim.
        name: What the claim calls the image.
    """
    made = bundle(image, statement(image.digest, predicate_type, predicate, name), predicate_type, key)
    return _attach_referrer(target, image, made, [])


def _signatures(target: SignedTarget, digest: str, form: Form) -> list[Sealed]:
    """Return the signatures of *form*, whoever made them; what cannot be read is none."""
    found = (each for each in find(target, digest) if isinstance(each, Sealed) and each.form is form)
    return [each for each in found if _is_signature(each)]


def _is_signature(sealed: Sealed) -> bool:
    try:
        return sealed.claim().predicate_type == SIGNATURE_TYPE
    except ContentError:
        return False


def _other_signature(digest: str, form: Form) -> AlreadyExists:
    hint = (
        "pass --replace to take its place, or --add to keep both; ig then no longer verifies the image, "
        "gadgetops and cosign do"
    )
    return AlreadyExists(f"a {form} signature of {digest} by another key", hint=hint)


def _attach_referrer(
    target: SignedTarget, image: Descriptor, made: list[Written], before: list[Descriptor]
) -> Signed:
    manifest = made[-1][0]
    is_new = all(each.digest != manifest.digest for each in target.referrers(image.digest))
    if is_new:
        _store(target, made)
        target.publish({}, [manifest])
    replaced = {each.digest: each for each in before if each.digest != manifest.digest}
    return Signed(manifest, is_new, tuple(replaced.values()))


def _attach_legacy(target: SignedTarget, digest: str, layer: Written, others: Others) -> Signed:
    tag = tag_of(digest, ".sig")
    before = resolve_tag(target, tag)
    kept = () if before is None or others is Others.REPLACE else _legacy_layers(target, before, tag)
    made = [layer, *legacy_manifest([*kept, layer[0]])]
    _store(target, made)
    target.publish({tag: made[-1][0]})
    is_replaced = before is not None and before.digest != made[-1][0].digest
    return Signed(made[-1][0], is_new=True, replaced=(before,) if before and is_replaced else ())


def _legacy_layers(target: SignedTarget, descriptor: Descriptor, tag: str) -> tuple[Descriptor, ...]:
    """Return the signatures in the manifest that has the *tag*; none if it is damaged."""
    try:
        manifest = Manifest.from_bytes(fetch_document(target, descriptor), tag)
    except ContentError:
        return ()
    return tuple(layer for layer in manifest.layers if layer.media_type == MEDIA_TYPE_SIMPLE_SIGNING)


def _store(target: SignedTarget, made: list[Written]) -> None:
    for descriptor, content in made:
        target.add(descriptor, [content])
