"""`keygen`, `sign` and `verify` as people type them: files, passwords, messages, exit statuses."""

import json
import os
import pty
import select
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gadgetops.oci.image import Blob, PlatformContent, write_image
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.reference import Reference
from gadgetops.oci.signing.keys import PrivateKey, PublicKey
from gadgetops.oci.signing.sign import attest

COSIGN = Path(__file__).parents[1] / "data" / "cosign"
PASSWORD = "correct horse: ü"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a fresh folder, with no password set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GADGETOPS_KEY_PASSWORD", raising=False)
    monkeypatch.delenv("COSIGN_PASSWORD", raising=False)
    return tmp_path


@pytest.fixture
def with_password(gadgetops, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Call the command line with the password in the environment, which it takes out of there."""

    def call(*arguments: object, password: str = PASSWORD, variable: str = "GADGETOPS_KEY_PASSWORD"):
        monkeypatch.setenv(variable, password)
        return gadgetops(*arguments)

    return call


@pytest.fixture
def store() -> Layout:
    """The store that the commands use."""
    return Layout.open(Path(os.environ["GADGETOPS_STORE"]), create=True)


@pytest.fixture
def image(store: Layout) -> str:
    """An image in it, by name; returns its digest."""
    contents = [
        PlatformContent(
            "amd64", Blob(b"name: x\n", "application/x.config"), [Blob(b"object", "application/x")]
        )
    ]
    written = write_image(
        store, contents, artifact_type="application/x", annotations={}, references=[Reference.parse("foo")]
    )
    return written.digest


def make_keys(*names: str) -> None:
    """Write pairs of keys without a password: opening one that has one takes a third of a second."""
    for name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        Path(f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        Path(f"{name}.pub").write_bytes(PrivateKey(key).public.to_pem())


def test_keygen_writes_a_pair_that_belongs_together(with_password, here: Path) -> None:
    """The private key for its owner alone; nothing on standard output."""
    done = with_password("keygen", "--output", "k")
    assert (done.status, done.out, done.err) == (0, "", "wrote k.key and k.pub\n")
    assert stat.S_IMODE((here / "k.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((here / "k.pub").stat().st_mode) == 0o644
    private = PrivateKey.from_pem((here / "k.key").read_bytes(), "k.key", PASSWORD.encode)
    assert private.public.to_pem() == (here / "k.pub").read_bytes()


@pytest.mark.parametrize("there", ["k.key", "k.pub"])
def test_keygen_replaces_nothing_without_force(with_password, here: Path, there: str) -> None:
    """A lost private key cannot be made again: neither file is touched, nor is the other one written."""
    (here / there).write_text("precious")
    done = with_password("keygen", "--output", "k")
    assert done.status == 1
    assert done.err == (
        f"gadgetops: error: {there}: already exists\npass --force to replace it, or another --output\n"
    )
    assert [path.name for path in here.iterdir()] == [there]
    assert (here / there).read_text() == "precious"
    assert with_password("keygen", "--output", "k", "--force").status == 0
    assert {path.name for path in here.iterdir()} == {"k.key", "k.pub"}
    assert stat.S_IMODE((here / "k.key").stat().st_mode) == 0o600


def test_keygen_in_a_folder_that_is_not_there_leaves_nothing(with_password) -> None:
    """The error names the path."""
    done = with_password("keygen", "--output", "nowhere/k")
    assert done.status == 1
    assert "nowhere/k.key: No such file or directory" in done.err


def test_without_a_terminal_a_password_has_to_be_set(gadgetops, here: Path, monkeypatch) -> None:
    """A script is not left hanging at a prompt that nobody sees."""
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        done = gadgetops("keygen", "--output", "k")
    assert done.status == 2
    assert "set GADGETOPS_KEY_PASSWORD" in done.err
    assert list(here.iterdir()) == []


def test_the_password_is_typed_twice_and_never_shown(here: Path) -> None:
    """At a terminal, which echoes nothing of it; a mistyped repetition is asked for again."""
    command = [sys.executable, "-m", "gadgetops", "keygen", "--output", "k"]
    status, shown = type_at_terminal(command, ["sesame", "sesamo", "sesame", "sesame"])
    assert status == 0, shown
    assert "Password for k.key" in shown
    assert "sesam" not in shown
    assert PrivateKey.from_pem((here / "k.key").read_bytes(), "k.key", lambda: b"sesame")


def type_at_terminal(command: list[str], lines: list[str]) -> tuple[int, str]:
    """Run *command* at a terminal, type one of *lines* at each prompt, and return status and screen."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(command[0], command)
    shown, waiting = "", list(lines)
    while select.select([terminal], [], [], 30)[0]:
        try:
            new = os.read(terminal, 4096).decode()
        except OSError:  # the program has closed its end
            break
        shown += new
        if new.rstrip(" ").endswith(":") and waiting:
            os.write(terminal, f"{waiting.pop(0)}\n".encode())
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown


@pytest.mark.parametrize("form", ["legacy", "bundle"])
def test_what_is_signed_verifies_and_signing_again_changes_nothing(
    with_password, gadgetops, store: Layout, image: str, form: str
) -> None:
    """The whole way, and the result for people and for programs."""
    with_password("keygen", "-o", "k")
    done = with_password("sign", "foo", "--key", "k.key", "--format", form)
    assert (done.status, done.out) == (0, "")
    assert done.err == f"signed ghcr.io/inspektor-gadget/gadget/foo:latest ({image})\n"
    before = store.entries()
    again = with_password("sign", "foo", "--key", "k.key", "--format", form)
    assert again.status == 0
    assert again.err.endswith("signed with this key before; nothing to do\n")
    assert store.entries() == before
    verified = gadgetops("verify", "foo", "--key", "k.pub")
    assert (verified.status, verified.err) == (0, "")
    assert verified.out.splitlines()[0] == f"verified ghcr.io/inspektor-gadget/gadget/foo:latest ({image})"
    (found,) = json.loads(gadgetops("verify", image, "--key", "k.pub", "--format", "json").out)["signatures"]
    assert (found["form"], found["key"]) == (form, "k.pub")


def test_a_key_of_cosign_signs_with_its_variable(with_password, gadgetops, image: str) -> None:
    """`COSIGN_PASSWORD` is for keys that are already used with cosign."""
    done = with_password(
        "sign", "foo", "--key", COSIGN / "first.key", password="open first", variable="COSIGN_PASSWORD"
    )
    assert done.status == 0
    assert gadgetops("verify", "foo", "--key", COSIGN / "first.pub").status == 0
    assert gadgetops("verify", "foo", "--key", COSIGN / "second.pub").status == 1
    assert (
        gadgetops("verify", "foo", "--key", COSIGN / "second.pub", "--key", COSIGN / "first.pub").status == 0
    )


def test_a_second_signer_adds_or_replaces(with_password, gadgetops, store: Layout, image: str) -> None:
    """What was replaced is not left in the store's list."""
    make_keys("a", "b")
    for form in ("legacy", "bundle"):
        options = ("--format", form)
        with_password("sign", "foo", "--key", "a.key", *options)
        refused = with_password("sign", "foo", "--key", "b.key", *options)
        assert refused.status == 1
        assert f"a {form} signature of {image} by another key: already exists" in refused.err
        n_entries = len(store.entries())
        assert with_password("sign", "foo", "--key", "b.key", "--replace", *options).status == 0
        assert len(store.entries()) == n_entries
    assert gadgetops("verify", "foo", "--key", "a.pub").status == 1
    assert with_password("sign", "foo", "--key", "a.key", "--add").status == 0
    assert all(gadgetops("verify", "foo", "--key", f"{name}.pub").status == 0 for name in "ab")
    assert with_password("sign", "foo", "--key", "a.key", "--add", "--replace").status == 2


def test_nothing_is_signed_that_cannot_be_attested(with_password, gadgetops, image: str, here: Path) -> None:
    """The gadget's folder is read, and built, before the image is signed."""
    make_keys("k")
    done = with_password("sign", "foo", "--key", "k.key", "--attest", here / "nowhere")
    assert (done.status, done.err) == (2, f"gadgetops: error: {here}/nowhere: not a folder\n")
    assert "presence" in gadgetops("verify", "foo", "--key", "k.pub").err


def test_each_refusal_says_which_check_failed(with_password, gadgetops, store: Layout, image: str) -> None:
    """Unknown image, no signature, another key, altered content: status 1, nothing on standard output."""
    make_keys("a", "b")

    def refused(*arguments: object) -> str:
        done = gadgetops("verify", *arguments)
        assert (done.status, done.out) == (1, "")
        return done.err

    assert "not verified: image: not in" in refused("nothing", "--key", "a.pub")
    assert "not verified: presence: no signature" in refused("foo", "--key", "a.pub")
    with_password("sign", "foo", "--key", "a.key")
    assert "not verified: signature: sha256-" in refused("foo", "--key", "b.pub")
    assert "not verified: presence: no attestation" in refused("foo", "--key", "a.pub", "--attestations")
    layer = next(path for path in (store.root / "blobs/sha256").iterdir() if path.read_bytes() == b"object")
    layer.chmod(0o644)
    layer.write_bytes(b"tcejbo")
    assert f"not verified: content: {'sha256:' + layer.name}: digest: expected" in refused(
        "foo", "--key", "a.pub"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--key", "k.key"], "k.key: a private key\nto verify, pass the public one: PREFIX.pub"),
        (["--key", "no.pub"], "no.pub: No such file or directory\n`gadgetops keygen` makes a pair of keys"),
        (["--key", "."], ".: Is a directory"),
        (["--key", "/dev/zero"], "/dev/zero: more than 65536 bytes, too many for a key"),
    ],
)
def test_key_files_that_are_none_are_named(
    with_password, gadgetops, image: str, arguments, message: str
) -> None:
    """With what to do about it."""
    make_keys("k")
    done = gadgetops("verify", "foo", *arguments)
    assert done.status == 1
    assert f"gadgetops: error: {message}\n" in done.err


def test_no_secret_is_ever_shown(with_password, gadgetops, here: Path, image: str) -> None:
    """Neither password nor key, in no output, with `-v`, right or wrong, nor in what children inherit."""
    outputs = [
        with_password("keygen", "-v", "-o", "k"),
        with_password("sign", "-v", "foo", "--key", "k.key"),
        with_password("sign", "-v", "foo", "--key", "k.key", password="wr0ng secret"),
        with_password("sign", "-v", "foo", "--key", "k.pub"),
    ]
    damaged = (here / "k.key").read_text().splitlines()
    (here / "damaged.key").write_text("\n".join([*damaged[:2], *damaged[3:]]))
    outputs.append(with_password("sign", "-v", "foo", "--key", "damaged.key"))
    assert [done.status for done in outputs] == [0, 0, 1, 1, 1]
    shown = "".join(done.out + done.err for done in outputs)
    assert not [secret for secret in (PASSWORD, "wr0ng", *damaged[1:-1]) if secret in shown]
    assert "GADGETOPS_KEY_PASSWORD" not in os.environ


def test_a_signature_travels_in_a_tar_file(
    with_password, gadgetops, monkeypatch, image: str, tmp_path
) -> None:
    """Export and import take legacy signatures and bundles along."""
    make_keys("k")
    with_password("sign", "foo", "--key", "k.key")
    with_password("sign", "foo", "--key", "k.key", "--format", "bundle")
    gadgetops("export", "foo", "foo.tar")
    monkeypatch.setenv("GADGETOPS_STORE", str(tmp_path / "other"))
    gadgetops("import-image", "foo.tar")
    found = json.loads(gadgetops("verify", "foo", "--key", "k.pub", "--format", "json").out)["signatures"]
    assert [each["form"] for each in found] == ["legacy", "bundle"]


@pytest.mark.ig
@pytest.mark.parametrize("form", ["legacy", "bundle"])
def test_ig_verifies_what_is_signed_here(
    with_password, store: Layout, image: str, form: str, here: Path
) -> None:
    """And refuses another key."""
    if os.geteuid() != 0:
        pytest.skip("giving ig a store of its own needs root")
    make_keys("k", "other")
    with_password("sign", "foo", "--key", "k.key", "--format", form)
    folder = here / "ig"
    shutil.copytree(store.root, folder / "oci-store")
    assert "verified successfully" in ig_verify(folder, "k.pub").stdout
    refused = ig_verify(folder, "other.pub")
    assert refused.returncode != 0
    assert "not signed by the provided keys" in refused.stderr


@pytest.mark.ig
def test_ig_verifies_an_attested_image_by_its_legacy_signature(
    with_password, store: Layout, image: str, here
) -> None:
    """Several bundles would make it refuse, were there no signature of the other form."""
    if os.geteuid() != 0:
        pytest.skip("giving ig a store of its own needs root")
    make_keys("k")
    with_password("sign", "foo", "--key", "k.key")
    key = PrivateKey.from_pem((here / "k.key").read_bytes(), "k.key", bytes)
    for kind in ("urn:a", "urn:b"):
        attest(store, store.resolve(image), key, predicate_type=kind, predicate={}, name="foo")
    shutil.copytree(store.root, here / "ig" / "oci-store")
    assert "verified successfully" in ig_verify(here / "ig", "k.pub").stdout


def ig_verify(folder: Path, key: str) -> subprocess.CompletedProcess[str]:
    """Have ig, with *folder* as its own, verify the image `foo`."""
    public = PublicKey.from_pem(Path(key).read_bytes(), key).to_pem().decode()
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"]
    own_store = (
        'mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/ig && mount --bind "$0" /var/lib/ig && exec ig "$@"'
    )
    return subprocess.run(
        [*namespaces, "sh", "-c", own_store, folder, "image", "verify", "foo", f"--public-keys={public}"],
        capture_output=True,
        text=True,
        check=False,
    )
