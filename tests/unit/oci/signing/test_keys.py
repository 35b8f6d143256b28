"""Keys: their files are cosign's, their signatures everybody's, and what they are never shows."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gadgetops.errors import KeyFileError
from gadgetops.oci.signing.keys import PrivateKey, PublicKey

COSIGN = Path(__file__).parents[3] / "data" / "cosign"
MESSAGE = b"what is signed"


def never() -> bytes:
    """A password that must not be asked for."""
    raise AssertionError("asked for a password")


def opened(pem: bytes, password: bytes = b"sesame") -> PrivateKey:
    """Open a private key."""
    return PrivateKey.from_pem(pem, "a.key", lambda: password)


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    """A new key."""
    return PrivateKey.generate()


@pytest.fixture(scope="module")
def pem(key: PrivateKey) -> bytes:
    """Its file."""
    return key.to_pem(b"sesame")


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_key_made_by_cosign_is_read(name: str) -> None:
    """Its private half signs what its public half verifies."""
    private = opened((COSIGN / f"{name}.key").read_bytes(), f"open {name}".encode())
    public = PublicKey.from_pem((COSIGN / f"{name}.pub").read_bytes(), "a.pub")
    assert public.verifies(MESSAGE, private.sign(MESSAGE))
    assert public.to_pem() == (COSIGN / f"{name}.pub").read_bytes()


def test_a_key_is_kept_in_the_form_that_cosign_reads(pem: bytes) -> None:
    """The PEM type, the members and the numbers are those of `go-securesystemslib/encrypted`."""
    first, *body, last = pem.decode().splitlines()
    assert (first[5:-5], last[5:-5]) == (
        "BEGIN ENCRYPTED SIGSTORE PRIVATE KEY",
        "END ENCRYPTED SIGSTORE PRIVATE KEY",
    )
    document = json.loads(base64.b64decode("".join(body)))
    theirs = b"".join((COSIGN / "first.key").read_bytes().splitlines()[1:-1])
    assert set(document) == set(json.loads(base64.b64decode(theirs)))
    assert document["kdf"]["params"] == {"N": 65536, "r": 8, "p": 1}
    assert document["cipher"]["name"] == "nacl/secretbox"


def test_what_is_written_is_read_again(key: PrivateKey, pem: bytes) -> None:
    """Also under the name that cosign used before 2.0."""
    old = pem.replace(b"SIGSTORE", b"COSIGN")
    assert opened(pem).public.fingerprint == opened(old).public.fingerprint == key.public.fingerprint


def test_the_same_key_is_never_written_twice_alike(key: PrivateKey, pem: bytes) -> None:
    """Salt and nonce are new each time."""
    assert key.to_pem(b"sesame") != pem


def test_a_wrong_password_is_told_apart_from_damage(pem: bytes) -> None:
    """And neither password shows."""
    with pytest.raises(KeyFileError) as error:
        opened(pem, b"hunter2")
    assert error.value.reason == "wrong password, or a damaged key"
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("password", [None, b"sesame"])
def test_keys_in_plain_pem_are_read(form: PrivateFormat, password: bytes | None) -> None:
    """PKCS #8 and SEC 1, encrypted or not, as OpenSSL makes them; a password is asked for only if needed."""
    made = ec.generate_private_key(ec.SECP256R1())
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    pem = made.private_bytes(Encoding.PEM, form, encryption)
    private = PrivateKey.from_pem(pem, "a.key", never if password is None else lambda: b"sesame")
    assert private.public.verifies(MESSAGE, private.sign(MESSAGE))
    if password is not None:
        with pytest.raises(KeyFileError, match="or the password is wrong"):
            opened(pem, b"hunter2")


MAKERS = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_keys_of_each_kind_sign_and_verify(kind: str) -> None:
    """Their signatures are always the same, and hold for no other message and no other bytes."""
    made = MAKERS[kind]()
    key = PrivateKey(made)
    public = PublicKey.from_pem(key.public.to_pem(), "a.pub")
    signature = key.sign(MESSAGE)
    assert signature == key.sign(MESSAGE)
    assert public.verifies(MESSAGE, signature)
    assert not public.verifies(MESSAGE + b".", signature)
    assert not public.verifies(MESSAGE, signature[:-1])
    assert not public.verifies(MESSAGE, b"")
    assert not PrivateKey.generate().public.verifies(MESSAGE, signature)


def test_openssl_verifies_what_we_sign(key: PrivateKey, tmp_path: Path) -> None:
    """A witness that shares no code with this package's use of the library, and refuses what was altered."""
    (tmp_path / "pub").write_bytes(key.public.to_pem())
    (tmp_path / "sig").write_bytes(key.sign(MESSAGE))

    def verify(message: bytes) -> str:
        command = ["openssl", "dgst", "-sha256", "-verify", "pub", "-signature", "sig"]
        return subprocess.run(
            command, cwd=tmp_path, input=message, capture_output=True, check=False
        ).stdout.decode()

    assert verify(MESSAGE) == "Verified OK\n"
    assert verify(MESSAGE + b"!") == "Verification failure\n"


@pytest.mark.parametrize(
    "made", [lambda: rsa.generate_private_key(65537, 1024), lambda: dsa.generate_private_key(1024)]
)
def test_weak_and_unknown_keys_are_refused(made) -> None:
    """RSA below 2048 bits, DSA: neither signs, neither verifies."""
    private = made()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(KeyFileError, match="expected a key in PEM"):
        PrivateKey.from_pem(pem, "a.key", never)
    with pytest.raises(KeyFileError, match="expected a key in PEM"):
        PublicKey.from_pem(public, "a.pub")


def test_the_wrong_half_is_named(key: PrivateKey, pem: bytes) -> None:
    """Mistaking one file for the other is the likeliest mistake of all."""
    with pytest.raises(KeyFileError, match="a private key"):
        PublicKey.from_pem(pem, "a.key")
    with pytest.raises(KeyFileError, match="a public key"):
        opened(key.public.to_pem())


def sealed(**changes: object) -> bytes:
    """Return a key file like ours, some members replaced."""
    document = {
        "kdf": {"name": "scrypt", "params": {"N": 2, "r": 1, "p": 1}, "salt": "AAAA"},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(bytes(24)).decode()},
        "ciphertext": base64.b64encode(bytes(40)).decode(),
    }
    body = base64.b64encode(json.dumps({**document, **changes}).encode())
    return (
        b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
        + body
        + b"\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"kdf": None},
        {"kdf": {"name": "scrypt", "params": {"N": 1 << 40, "r": 8, "p": 1}, "salt": "AAAA"}},
        {"kdf": {"name": "scrypt", "params": {"N": 3, "r": 1, "p": 1}, "salt": "AAAA"}},
        {"kdf": {"name": "scrypt", "params": {"N": 0, "r": 0, "p": 0}, "salt": "AAAA"}},
        {"kdf": {"name": "pbkdf2", "params": {"N": 2, "r": 1, "p": 1}, "salt": "AAAA"}},
        {"cipher": {"name": "rot13", "nonce": "AAAA"}},
        {"cipher": {"name": "nacl/secretbox", "nonce": "AAAA"}},
        {"ciphertext": "!"},
        {"ciphertext": ""},
        {},
    ],
)
def test_damaged_key_files_are_refused(changes: dict) -> None:
    """Whatever stands in them, without taking all memory: scrypt's numbers are bounded."""
    with pytest.raises(KeyFileError):
        opened(sealed(**changes))


def test_a_key_shows_nothing_of_itself(key: PrivateKey) -> None:
    """Not in a traceback's `repr`, not as text."""
    assert "object at" in repr(key) == str(key)
    assert "object at" in repr(key)
