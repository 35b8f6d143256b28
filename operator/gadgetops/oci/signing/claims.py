"""
What signatures say: which digest they are about, and what they claim of it.

Two forms: the "simple signing" payload of cosign's signatures, and in-toto's Statement v1, which says more.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from gadgetops.errors import ContentError
from gadgetops.oci.content import Json, parse_object, to_go_json, why_no_digest

SIGNATURE_TYPE: Final = "https://sigstore.dev/cosign/sign/v1"
"""The predicate type of a mere signature: it claims nothing of the image but that it was signed."""

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
_OLD_STATEMENT_TYPE = "https://in-toto.io/Statement/v0.1"  # what cosign wrote until 2.4; differs in name only
_SIMPLE_SIGNING_TYPE = "cosign container image signature"

Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What is said of some content.

    Attributes:
        digests: Of the content it is about; never empty.
        predicate_type: URI that names the kind of claim; `SIGNATURE_TYPE` for a signature.
        predicate: What is claimed; empty for a signature.
    """

    digests: tuple[str, ...]
    predicate_type: str
    predicate: Json


def simple_signing(digest: str, repository: str) -> bytes:
    """Return the payload that cosign signs for the image *digest* of *repository* (which may be empty)."""
    critical = {
        "identity": {"docker-reference": repository},
        "image": {"docker-manifest-digest": digest},
        "type": _SIMPLE_SIGNING_TYPE,
    }
    return to_go_json({"critical": critical, "optional": None})


def read_simple_signing(payload: bytes) -> Claim:
    """Return what the payload of a cosign signature claims; `ContentError` if it is none."""
    document = parse_object(payload, "payload")
    kind = member(document, "critical.type", str)
    if kind != _SIMPLE_SIGNING_TYPE:
        raise ContentError(f"payload: critical.type: expected {_SIMPLE_SIGNING_TYPE!r}, got {kind[:80]!r}")
    digest = member(document, "critical.image.docker-manifest-digest", str)
    if reason := why_no_digest(digest):
        raise ContentError(f"payload: docker-manifest-digest: {reason}")
    return Claim((digest,), SIGNATURE_TYPE, {})


def statement(digest: str, predicate_type: str, predicate: Json, name: str | None = None) -> bytes:
    """Return the in-toto statement that claims *predicate* of the image *digest*, called *name*."""
    algorithm, _, digits = digest.partition(":")
    subject: Json = {"digest": {algorithm: digits}}
    if name:
        subject = {"name": name, **subject}
    return to_go_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [subject],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def read_statement(payload: bytes) -> Claim:
    """Return what an in-toto statement claims; `ContentError` if it is none."""
    document = parse_object(payload, "statement")
    kind = member(document, "_type", str)
    if kind not in (STATEMENT_TYPE, _OLD_STATEMENT_TYPE):
        raise ContentError(f"statement: _type: expected {STATEMENT_TYPE!r}, got {kind[:80]!r}")
    subjects = member(document, "subject", list)
    digests = tuple(digest for subject in subjects for digest in _digests(subject))
    if not digests:
        raise ContentError("statement: subject: names no digest")
    predicate = document.get("predicate")
    return Claim(
        digests,
        member(document, "predicateType", str),
        predicate if isinstance(predicate, dict) else {},
    )


def _digests(subject: Any) -> list[str]:
    found = subject.get("digest") if isinstance(subject, dict) else None
    if not isinstance(found, dict):
        return []
    digests = [f"{algorithm}:{digits}" for algorithm, digits in found.items()]
    return [digest for digest in digests if why_no_digest(digest) is None]


def member(document: Json, path: str, kind: type[Kind]) -> Kind:
    """Return the member of *document* at the dotted *path*; `ContentError` if it is missing or no *kind*."""
    value: Any = document
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, kind):
        raise ContentError(f"{path}: {'missing' if value is None else 'of the wrong type'}")
    return value


def decode_base64(text: str, where: str) -> bytes:
    """Return the bytes that *text* stands for; `ContentError` if it is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ContentError(f"{where}: not base64: {error}") from error


def encode_base64(data: bytes) -> str:
    """Return *data* in standard base64."""
    return base64.b64encode(data).decode("ascii")
