"""
Verifying: is this image, all of it, what the owner of a key signed?

`VerificationError` is all that these functions raise, whatever the bytes they read: who calls them has one
case to think of, and nothing slips through.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from gadgetops.errors import ContentError, GadgetOpsError, VerificationError
from gadgetops.oci.content import Descriptor
from gadgetops.oci.graph import Source, sound_children_of, walk
from gadgetops.oci.signing.claims import SIGNATURE_TYPE, Claim
from gadgetops.oci.signing.find import SignedSource, find
from gadgetops.oci.signing.keys import PublicKey
from gadgetops.oci.signing.sealed import Form, Sealed

_NO_SIGNATURE = (
    "`gadgetops sign` makes one; one that is in a registry comes with `gadgetops pull`, "
    "one in a tar file with `gadgetops import-image`"
)
_SHOWN_FAILURES = 4


@dataclass(frozen=True, slots=True)
class Verified:
    """
    A claim that holds: one of the keys signed it, and it is about the image.

    Attributes:
        key: The key.
        form: How it is attached.
        manifest: The manifest that holds it.
        claim: What is claimed.
    """

    key: PublicKey
    form: Form
    manifest: Descriptor
    claim: Claim

    @property
    def kind(self) -> str:
        """`"signature"`, or the predicate type of an attestation."""
        kind = self.claim.predicate_type
        return "signature" if kind == SIGNATURE_TYPE else kind


def verify(
    source: SignedSource, image: Descriptor, keys: Sequence[PublicKey], *, what: str
) -> tuple[Verified, ...]:
    """
    Check that one of *keys* signed *image*, and that every part of it is there and unaltered.

    Args:
        source: Where the image and its signatures are.
        image: Descriptor of the index (or manifest); the digest in it is what must be signed.
        keys: Any of them will do.
        what: The image's name, for errors.

    Returns:
        The signatures that hold, at least one; others beside them do no harm.

    Raises:
        VerificationError: A check failed; it says which.
    """
    verified = verify_signatures(source, image, keys, what=what)
    verify_content(source, image, what=what)
    return verified


def verify_signatures(
    source: SignedSource, image: Descriptor, keys: Sequence[PublicKey], *, what: str
) -> tuple[Verified, ...]:
    """Check that one of *keys* signed *image*, and none of its parts; else as `verify`."""
    return _held(source, image, keys, what, is_signature=True)


def verify_attestations(
    source: SignedSource, image: Descriptor, keys: Sequence[PublicKey], *, what: str
) -> tuple[Verified, ...]:
    """Return what one of *keys* attested of *image*, at least one claim; else as `verify`."""
    return _held(source, image, keys, what, is_signature=False)


def verify_content(source: Source, image: Descriptor, *, what: str) -> None:
    """Check every part of *image* against its digest; `VerificationError` names what is wrong."""
    with _as_verification_error(what, "content"):
        walk([image], partial(sound_children_of, source))


def _held(
    source: SignedSource, image: Descriptor, keys: Sequence[PublicKey], what: str, *, is_signature: bool
) -> tuple[Verified, ...]:
    held: list[Verified] = []
    failed: list[VerificationError] = []
    with _as_verification_error(what, "document"):
        for found in find(source, image.digest):
            try:
                verified = _check(found, image, keys, what)
            except VerificationError as error:
                if _means_to_be(found, is_signature=is_signature):
                    failed.append(error)
            else:
                if (verified.claim.predicate_type == SIGNATURE_TYPE) is is_signature:
                    held.append(verified)
    if not held:
        raise _nothing_held(failed, what, "signature" if is_signature else "attestation")
    return tuple(held)


def _means_to_be(found: Sealed | ContentError, *, is_signature: bool) -> bool:
    """Return whether *found*, which does not hold, is worth a word: not if it is of the other kind."""
    try:
        return (
            not isinstance(found, Sealed) or (found.claim().predicate_type == SIGNATURE_TYPE) is is_signature
        )
    except ContentError:
        return True


def _check(found: Sealed | ContentError, image: Descriptor, keys: Sequence[PublicKey], what: str) -> Verified:
    """Return the claim in *found*: believed only after its signature, and read only then."""
    if isinstance(found, ContentError):
        raise VerificationError(what, "document", found.problem) from found
    key = found.signer(keys)
    if key is None:
        raise VerificationError(what, "signature", f"{found.place}: by another key, or altered")
    try:
        claim = found.claim()
    except ContentError as error:
        raise VerificationError(what, "claim", f"{found.place}: {error.problem}") from error
    if image.digest not in claim.digests:
        about = f"it is about {claim.digests[0]}, not {image.digest}"
        raise VerificationError(what, "digest", f"{found.place}: {about}")
    return Verified(key, found.form, found.manifest, claim)


def _nothing_held(failed: Sequence[VerificationError], what: str, noun: str) -> VerificationError:
    """Return the error for an image of which nothing holds: the failures, if there was anything to fail."""
    if not failed:
        return VerificationError(what, "presence", f"no {noun} is attached", hint=_NO_SIGNATURE)
    if len(failed) == 1:
        return failed[0]
    checks = list(dict.fromkeys(error.check for error in failed))
    reasons = [error.reason for error in failed[:_SHOWN_FAILURES]]
    if len(failed) > _SHOWN_FAILURES:
        reasons.append(f"and {len(failed) - _SHOWN_FAILURES} more")
    return VerificationError(what, checks[0] if len(checks) == 1 else "signature", "; ".join(reasons))


@contextlib.contextmanager
def _as_verification_error(what: str, check: str) -> Iterator[None]:
    try:
        yield
    except VerificationError:
        raise
    except GadgetOpsError as error:
        raise VerificationError(what, check, error.problem, hint=error.hint) from error
