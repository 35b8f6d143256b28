"""`pull --verify` and `push --attest` with a registry: what is proven is kept, all else leaves no trace."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from services.registry import RunningRegistry, running_registry

from gadgetops.errors import VerificationError
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.reference import Reference
from gadgetops.oci.registry.client import Access, Repository
from gadgetops.oci.signing.keys import PrivateKey, PublicKey
from gadgetops.oci.signing.sealed import Form
from gadgetops.oci.signing.sign import Others, attest, sign
from gadgetops.oci.signing.verify import verify

MINIMAL = Path(__file__).parents[1] / "data" / "gadgets" / "minimal"
EPOCH = "1700000000"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """An open registry."""
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


class Side:
    """Someone with a store and keys of their own who uses the registry."""

    def __init__(self, folder: Path, call: Callable, registry: RunningRegistry, monkeypatch) -> None:
        self.folder = folder
        self.store = folder / "store"
        self._call, self._registry, self._patch = call, registry, monkeypatch

    def __call__(self, *arguments: object):
        """Call the command line."""
        self._patch.setenv("GADGETOPS_STORE", str(self.store))
        self._patch.setenv("GADGETOPS_KEY_PASSWORD", "sesame")
        self._patch.setenv("SOURCE_DATE_EPOCH", EPOCH)
        return self._call(*arguments)

    def ok(self, *arguments: object) -> str:
        """Call it, which must succeed, and return what it printed."""
        done = self(*arguments)
        assert done.status == 0, done.err
        return done.out

    def remote(self, verb: str, *arguments: object):
        """Call a verb that talks to the registry."""
        return self(verb, *arguments, "--plain-http", self._registry.host)


@pytest.fixture
def sides(tmp_path: Path, gadgetops, registry: RunningRegistry, monkeypatch) -> tuple[Side, Side]:
    """One who publishes and one who uses."""
    made = []
    for name in ("publisher", "user"):
        (tmp_path / name).mkdir()
        made.append(Side(tmp_path / name, gadgetops, registry, monkeypatch))
    return made[0], made[1]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a gadget, two pairs of keys, and a store where its image is, signed and attested."""
    folder = tmp_path_factory.mktemp("prepared")
    shutil.copytree(MINIMAL, folder / "gadget")
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "GADGETOPS_STORE": str(folder / "store"),
        "GADGETOPS_KEY_PASSWORD": "sesame",
        "SOURCE_DATE_EPOCH": EPOCH,
    }
    for arguments in (
        "keygen -o k",
        "keygen -o other",
        "build gadget --tag prepared --arch amd64",
        "sign prepared --key k.key --attest gadget",
    ):
        command = [sys.executable, "-m", "gadgetops", *arguments.split()]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder


@pytest.fixture
def published(sides, prepared: Path, registry: RunningRegistry, tmp_path: Path, request) -> str:
    """The name of that image in the registry, in a repository of this test's own; all else in `tmp_path`."""
    publisher, _ = sides
    name = f"{registry.host}/{request.node.name.partition('[')[0]}:v1"
    shutil.copytree(prepared / "gadget", tmp_path / "gadget")
    shutil.copytree(prepared / "store", publisher.store)
    for key in prepared.glob("*.[kp]*"):
        shutil.copy(key, tmp_path)
    publisher.ok("tag", "prepared", name)
    done = publisher.remote("push", name)
    assert done.status == 0, done.err
    return name


def blob_of(registry: RunningRegistry, digest: str) -> Path:
    """Return where the registry keeps the content of *digest*."""
    digits = digest.removeprefix("sha256:")
    return registry.folder / "data/docker/registry/v2/blobs/sha256" / digits[:2] / digits / "data"


def test_what_verifies_is_kept_with_all_that_is_attached(
    sides, published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Afterwards the store verifies by itself, attestations included; the copy that was verified is gone."""
    _, user = sides
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    done = user.remote("pull", published, "--verify", tmp_path / "other.pub", "--verify", tmp_path / "k.pub")
    assert done.status == 0, done.err
    digest = done.out.strip().partition("@")[2]
    assert f"verified {published} ({digest})" in done.err
    shown = json.loads(
        user.ok("verify", published, "--key", tmp_path / "k.pub", "--attestations", "--format", "json")
    )
    assert shown["digest"] == digest
    found = {each["predicate_type"]: each["predicate"] for each in shown["attestations"]}
    assert set(found) == {"https://slsa.dev/provenance/v1", "https://cyclonedx.org/bom"}
    assert found["https://cyclonedx.org/bom"]["metadata"]["component"]["version"] == digest
    assert list(scratch.iterdir()) == []


def test_what_others_attached_is_not_kept(
    sides, published: str, registry: RunningRegistry, tmp_path: Path
) -> None:
    """Neither an attestation by another key nor anything else that nobody signed."""
    _, user = sides
    access = Access(plain_http=frozenset({registry.host}))
    repository = Repository.open(Reference.parse(published), access)
    image = repository.resolve("v1")
    stranger = PrivateKey.generate()
    theirs = attest(repository, image, stranger, predicate_type="urn:evil", predicate={}, name="x")
    sign(repository, image, stranger, form=Form.BUNDLE, others=Others.ADD)
    done = user.remote("pull", published, "--verify", tmp_path / "k.pub")
    assert done.status == 0, done.err
    layout = Layout.open(user.store)
    assert not layout.has(theirs.manifest)
    with pytest.raises(VerificationError):
        verify(layout, image, [stranger.public], what="x")
    assert len(layout.referrers(image.digest)) == 2
    assert (
        len(verify(layout, image, [PublicKey.from_pem((tmp_path / "k.pub").read_bytes(), "k")], what="x"))
        == 1
    )


def test_another_key_leaves_nothing(sides, published: str, tmp_path: Path) -> None:
    """Not even a store."""
    _, user = sides
    done = user.remote("pull", published, "--verify", tmp_path / "other.pub")
    assert (done.status, done.out) == (1, "")
    assert f"{published}: not verified: signature:" in done.err
    assert not user.store.exists()


def test_an_image_that_was_there_stays_what_it_was(sides, published: str, tmp_path: Path) -> None:
    """A refused pull moves no name and adds no file."""
    publisher, user = sides
    assert user.remote("pull", published, "--verify", tmp_path / "k.pub").status == 0
    files = sorted(user.store.rglob("*"))
    names = Layout.open(user.store).names()
    (tmp_path / "gadget" / "gadget.yaml").write_text((MINIMAL / "gadget.yaml").read_text() + "# evil\n")
    publisher.ok("build", tmp_path / "gadget", "--tag", published, "--arch", "amd64")
    assert publisher.remote("push", published).status == 0
    done = user.remote("pull", published, "--verify", tmp_path / "k.pub")
    assert "not verified: presence: no signature is attached" in done.err
    assert sorted(user.store.rglob("*")) == files
    assert Layout.open(user.store).names() == names


@pytest.mark.parametrize("part", ["manifest", "config", "layer", "payload"])
def test_what_the_registry_altered_leaves_nothing(
    sides, published: str, registry: RunningRegistry, tmp_path: Path, part: str
) -> None:
    """One byte of the image or of its signature, changed where the registry keeps it."""
    publisher, user = sides
    layout = Layout.open(publisher.store)
    index = layout.resolve(Reference.parse(published))
    blob = blob_of(registry, _digests(layout, index.digest)[part])
    before = blob.read_bytes()
    try:
        blob.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        done = user.remote("pull", published, "--verify", tmp_path / "k.pub")
    finally:
        blob.write_bytes(before)
    assert (done.status, done.out) == (1, "")
    assert not user.store.exists()


def _digests(layout: Layout, image: str) -> dict[str, str]:
    def document(digest: str) -> dict:
        return json.loads(layout.blob_path(digest).read_bytes())

    manifest = document(image)["manifests"][0]["digest"]
    tagged = layout.names()[f"{image.replace(':', '-')}.sig"].digest
    return {
        "manifest": manifest,
        "config": document(manifest)["config"]["digest"],
        "layer": document(manifest)["layers"][0]["digest"],
        "payload": document(tagged)["layers"][0]["digest"],
    }


def test_attestations_are_pushed_once(sides, published: str, tmp_path: Path) -> None:
    """They are the same bytes each time, for the same name."""
    publisher, _ = sides
    options = ("--attest", tmp_path / "gadget", "--key", tmp_path / "k.key")
    first = publisher.remote("push", published, *options)
    assert (first.status, first.err.count("attested: ")) == (0, 2), first.err
    again = publisher.remote("push", published, *options)
    assert (again.status, again.err.count("attested before: ")) == (0, 2)
    assert "copied 0 blobs" in again.err


@pytest.mark.parametrize("form", Form)
def test_an_image_is_signed_and_verified_where_it_is(
    sides, published: str, registry: RunningRegistry, tmp_path: Path, form: Form
) -> None:
    """The functions take a repository as they take a store: only signatures travel."""
    key = PrivateKey.generate()
    access = Access(plain_http=frozenset({registry.host}))
    repository = Repository.open(Reference.parse(published), access)
    image = repository.resolve("v1")
    with pytest.raises(VerificationError):
        verify(repository, image, [key.public], what="x")
    assert sign(repository, image, key, form=form, others=Others.ADD).is_new
    assert not sign(repository, image, key, form=form, others=Others.ADD).is_new
    (verified,) = verify(Repository.open(Reference.parse(published), access), image, [key.public], what="x")
    assert verified.form is form


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--attest", "."], "--attest needs a key to sign with"),
        (["--key", "k.key"], "--key signs what --attest attaches"),
        (["--attest", ".", "--key", "k.key", "--no-referrers"], "--no-referrers leaves behind"),
    ],
)
def test_requests_that_make_no_sense_are_refused(sides, options: list[str], message: str) -> None:
    """Before anything is read."""
    done = sides[0].remote("push", "foo", *options)
    assert done.status == 2
    assert message in done.err


def test_a_bad_key_file_is_noticed_before_the_registry_is_asked(sides) -> None:
    """No registry answers there."""
    done = sides[1]("pull", "localhost:1/x", "--verify", "/dev/null", "--plain-http", "localhost:1")
    assert done.status == 1
    assert "/dev/null: expected a key in PEM" in done.err
