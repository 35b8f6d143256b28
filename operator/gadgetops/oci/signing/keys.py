"""
Keys: what they sign and verify, and the text they are kept as.

A private key is kept as cosign keeps it (`go-securesystemslib/encrypted`: scrypt and NaCl's secretbox around
PKCS #8), so that keys made here work there and the other way round. What a key is never shows: not in a
`repr`, not in an error.
"""

import base64
import binascii
import hashlib
import json
import re
import secrets
from collections.abc import Callable
from typing import Any, Final

from gadgetops.errors import KeyFileError, MissingExtra

try:
    import nacl.exceptions
    import nacl.secret
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
        load_der_private_key,
        load_pem_private_key,
        load_pem_public_key,
    )
except ImportError as error:
    raise MissingExtra("working with keys and signatures", "sign") from error

PEM_TYPE: Final = "ENCRYPTED SIGSTORE PRIVATE KEY"
"""What cosign writes since 2.0; the older name, with COSIGN in it, is read as well."""

_ENCRYPTED_PEM = re.compile(
    rb"-----BEGIN (ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY)-----\s+"
    rb"(?P<body>[A-Za-z0-9+/=\s]+?)-----END \1-----"
)
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 65536, 8, 1
_MAX_SCRYPT_BYTES = 1 << 30
_SALT_BYTES = 32
_MIN_RSA_BITS = 2048
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_NO_KEY = "expected a key in PEM: ECDSA (P-256, P-384, P-521), Ed25519 or RSA"

_Public = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
_Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
_PADDING = padding.PKCS1v15()


class PublicKey:
    """A key that verifies; signatures are those of Sigstore: SHA-256, ECDSA in DER, RSA with PKCS #1 v1.5."""

    def __init__(self, key: _Public) -> None:
        self._key = key

    @classmethod
    def from_pem(cls, data: bytes, what: str) -> "PublicKey":
        """
        Return the public key in the PEM text *data*, the file *what*.

        Raises:
            KeyFileError: There is none of a kind known here.
        """
        if b"PRIVATE KEY-----" in data:
            raise KeyFileError(what, "a private key", hint="to verify, pass the public one: PREFIX.pub")
        try:
            key = load_pem_public_key(data)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError(what, _NO_KEY) from error
        if not isinstance(key, _Public) or _is_weak(key):
            raise KeyFileError(what, _NO_KEY)
        return cls(key)

    def to_pem(self) -> bytes:
        """Return the PEM text (`PUBLIC KEY`), as `ig image verify --public-keys` takes it."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key's DER form in base64: the hint by which Sigstore bundles name a key."""
        der = self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(der).digest()).decode("ascii")

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return whether *signature* is this key's of *message*."""
        try:
            if isinstance(self._key, ec.EllipticCurvePublicKey):
                self._key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            elif isinstance(self._key, rsa.RSAPublicKey):
                self._key.verify(signature, message, _PADDING, hashes.SHA256())
            else:
                self._key.verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class PrivateKey:
    """A key that signs."""

    def __init__(self, key: _Private) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> "PrivateKey":
        """Return a new ECDSA key of the curve P-256, the kind that every `ig` and cosign takes."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, data: bytes, what: str, ask_password: Callable[[], bytes]) -> "PrivateKey":
        """
        Return the private key in the PEM text *data*.

        Args:
            data: cosign's form, or PKCS #8, SEC 1 or PKCS #1.
            what: The file, for errors.
            ask_password: Called if the key is encrypted, and only then.

        Raises:
            KeyFileError: There is no private key of a kind known here, or the password is wrong.
        """
        if sealed := _ENCRYPTED_PEM.search(data):
            return cls._of(_open(sealed["body"], what, ask_password), what)
        if b"PUBLIC KEY-----" in data:
            raise KeyFileError(what, "a public key", hint="to sign, pass the private one: PREFIX.key")
        try:
            try:
                return cls._of(load_pem_private_key(data, None), what)
            except TypeError:  # the key is encrypted
                return cls._of(load_pem_private_key(data, ask_password()), what)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError(what, f"{_NO_KEY}; or the password is wrong") from error

    @classmethod
    def _of(cls, key: Any, what: str) -> "PrivateKey":
        if not isinstance(key, _Private) or _is_weak(key.public_key()):
            raise KeyFileError(what, _NO_KEY)
        return cls(key)

    def to_pem(self, password: bytes) -> bytes:
        """Return the PEM text, encrypted with *password* as cosign does it."""
        der = self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return _seal(der, password)

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs."""
        return PublicKey(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return the signature of *message*, always the same (ECDSA: RFC 6979)."""
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(message, _PADDING, hashes.SHA256())
        return self._key.sign(message)


def _is_weak(key: _Public) -> bool:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name not in _CURVES
    return isinstance(key, rsa.RSAPublicKey) and key.key_size < _MIN_RSA_BITS


def _seal(secret: bytes, password: bytes) -> bytes:
    salt = secrets.token_bytes(_SALT_BYTES)
    nonce = secrets.token_bytes(nacl.secret.SecretBox.NONCE_SIZE)
    box = nacl.secret.SecretBox(_derive(password, salt, _SCRYPT_N, _SCRYPT_R, _SCRYPT_P))
    document = {
        "kdf": {
            "name": "scrypt",
            "params": {"N": _SCRYPT_N, "r": _SCRYPT_R, "p": _SCRYPT_P},
            "salt": _base64(salt),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": _base64(nonce)},
        "ciphertext": _base64(box.encrypt(secret, nonce).ciphertext),
    }
    text = _base64(json.dumps(document, separators=(",", ":")).encode())
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {PEM_TYPE}-----", *lines, f"-----END {PEM_TYPE}-----", ""]).encode()


def _open(body: bytes, what: str, ask_password: Callable[[], bytes]) -> Any:
    """Return the key in *body*, which stands between the lines of an encrypted PEM text."""
    damaged = KeyFileError(what, "an encrypted key that is damaged, or of a form unknown here")
    try:
        document = json.loads(base64.b64decode(body))
        kdf, cipher, numbers = document["kdf"], document["cipher"], document["kdf"]["params"]
        n, r, p = (int(numbers[name]) for name in ("N", "r", "p"))
        salt, nonce, ciphertext = map(
            base64.b64decode, (kdf["salt"], cipher["nonce"], document["ciphertext"])
        )
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        raise damaged from error
    if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox") or not _is_affordable(n, r, p):
        raise damaged
    password = ask_password()
    try:
        secret = nacl.secret.SecretBox(_derive(password, salt, n, r, p)).decrypt(ciphertext, nonce)
    except (nacl.exceptions.CryptoError, nacl.exceptions.TypeError) as error:
        raise KeyFileError(what, "wrong password, or a damaged key") from error
    except (ValueError, nacl.exceptions.ValueError) as error:
        raise damaged from error
    try:
        return load_der_private_key(secret, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(what, _NO_KEY) from error


def _is_affordable(n: int, r: int, p: int) -> bool:
    """Return whether scrypt may be run: a key file that somebody else made must not take all memory."""
    return n > 1 and r > 0 and 0 < p <= 16 and 128 * n * r <= _MAX_SCRYPT_BYTES


def _derive(password: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    memory = 128 * r * (n + p + 2)
    return hashlib.scrypt(
        password, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=nacl.secret.SecretBox.KEY_SIZE
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
