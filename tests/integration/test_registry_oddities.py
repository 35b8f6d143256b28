"""Registries that refuse an optional part of the specification, in whatever words: the next way is taken."""

import itertools
import json
from pathlib import Path

import pytest
from services.images import attach_signature, put_image
from services.misbehaving import Misbehaving, Reply, misbehaving

from gadgetops.errors import RegistryError, Unauthorized
from gadgetops.oci.content import MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST, Descriptor
from gadgetops.oci.copying.copy_image import copy_image
from gadgetops.oci.copying.endpoints import open_goal, open_origin
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.location import Location
from gadgetops.oci.reference import Reference
from gadgetops.oci.registry.access import Access, Patience
from gadgetops.oci.registry.client import Repository
from gadgetops.oci.registry.credentials import Credentials

LISTING = json.dumps(
    {"schemaVersion": 2, "manifests": [Descriptor.of(b"{}", MEDIA_TYPE_MANIFEST).to_json()]}
).encode()
LAYER = "application/x.layer"
REFUSALS = (400, 401, 403, 404, 405, 406, 500, 501)
"""How registries say that they do not know, or do not allow, an optional request."""


def access(host: str, **options: object) -> Access:
    """Return what reaches *host*, impatiently."""
    patience = Patience(first_wait_s=0.001, longest_wait_s=5.0)
    return Access(plain_http=frozenset({host}), patience=patience, **options)  # type: ignore[arg-type]


@pytest.fixture
def repository(faulty: Misbehaving) -> Repository:
    """A repository of the faulty registry."""
    return Repository.open(Reference.parse(f"{faulty.host}/x:v1"), access(faulty.host))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A folder with a signed image."""
    layout = Layout.open(tmp_path / "layout", create=True)
    attach_signature(layout, put_image(layout, "v1"))
    return layout


def copy(origin: str, goal: str, host: str) -> None:
    """Copy the image *origin* to *goal*."""
    with (
        open_origin(Location.parse(origin), access=access(host)) as source,
        open_goal(Location.parse(goal), source, access=access(host)) as target,
    ):
        copy_image(source, target)


@pytest.mark.parametrize("status", [*REFUSALS, "page"])
def test_without_referrers_api_signatures_come_by_their_tags(
    faulty: Misbehaving, layout: Layout, tmp_path: Path, status: int | str
) -> None:
    """Also where the answer is a page to sign in, with status 200."""
    copy(f"oci:{layout.root}:v1", f"{faulty.host}/x:v1", faulty.host)
    page = Reply(200, b"<html>sign in</html>", {"Content-Type": "text/html"})
    faulty.always("GET", "/referrers/", page if status == "page" else Reply(int(status)))
    copy(f"{faulty.host}/x:v1", f"oci:{tmp_path}/pulled:v1", faulty.host)
    pulled = Layout.open(tmp_path / "pulled")
    assert f"{pulled.resolve('v1').digest.replace(':', '-')}.sig" in pulled.names()


def test_a_referrers_api_that_fails_for_now_is_no_missing_one(
    faulty: Misbehaving, repository: Repository
) -> None:
    """Else a signature that is there would be missed."""
    faulty.always("GET", "/referrers/", Reply(503))
    with pytest.raises(RegistryError) as raised:
        repository.referrers(f"sha256:{'0' * 64}")
    assert raised.value.status == 503


@pytest.mark.parametrize("status", REFUSALS)
def test_a_blob_that_may_not_be_mounted_is_sent(faulty: Misbehaving, layout: Layout, status: int) -> None:
    copy(f"oci:{layout.root}:v1", f"{faulty.host}/a:v1", faulty.host)
    known = dict(faulty.blobs)
    faulty.blobs.clear()
    faulty.always("POST", "mount=", Reply(status))
    repository = Repository.open(Reference.parse(f"{faulty.host}/b:v1"), access(faulty.host))
    repository.mount_from = "a"
    for digest, data in known.items():
        repository.add(Descriptor(LAYER, digest, len(data)), [data])
    assert faulty.blobs == known


@pytest.mark.parametrize("status", [401, 403, 404, 405, 406, 500, 501])
def test_a_manifest_that_answers_to_get_alone_is_found(
    faulty: Misbehaving, repository: Repository, status: int
) -> None:
    """HEAD may not be known, or lead to an address that was signed for GET."""
    known = faulty.put(b'{"schemaVersion":2,"manifests":[]}', MEDIA_TYPE_INDEX, "v1")
    faulty.always("HEAD", "/manifests/", Reply(status))
    found = repository.resolve("v1")
    assert found == Descriptor.from_json(known)
    assert repository.has(found)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "0"},
        {"Docker-Content-Digest": ""},
        {"Content-Type": "application/octet-stream"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip", "Content-Length": "20"},
    ],
)
def test_a_head_that_says_too_little_is_asked_again_by_get(
    faulty: Misbehaving, repository: Repository, headers: dict[str, str]
) -> None:
    text = f'{{"schemaVersion":2,"mediaType":"{MEDIA_TYPE_MANIFEST}","config":{{}},"layers":[]}}'.encode()
    known = faulty.put(text, MEDIA_TYPE_MANIFEST, "v1")
    right = {"Content-Type": MEDIA_TYPE_MANIFEST, "Docker-Content-Digest": str(known["digest"])}
    length = {"Content-Length": str(len(text))}
    faulty.always("HEAD", "/manifests/", Reply(headers={**right, **length, **headers}))
    if "Content-Encoding" not in headers and "Content-Length" not in headers:
        faulty.always("GET", "/manifests/", Reply(body=text, headers={**right, **headers}))
    assert repository.resolve("v1") == Descriptor.from_json(known)


def test_a_tag_that_is_taken_for_a_digest_lists_no_referrers(
    faulty: Misbehaving, repository: Repository
) -> None:
    """A registry may take the tag sha256-… for the digest, and answer with the image itself."""
    index = Descriptor.from_json(faulty.put(LISTING, MEDIA_TYPE_INDEX, "v1"))
    faulty.tags[index.digest.replace(":", "-")] = index.digest
    assert repository.referrers(index.digest) == []


@pytest.mark.parametrize("limit", [4 << 20, 1 << 20, 5000])
@pytest.mark.parametrize("status", [413, 416])
def test_parts_become_as_small_as_the_registry_takes_them(limit: int, status: int) -> None:
    """PATCH of more than *limit* bytes is refused; all arrives, in few more requests than needed."""
    data = bytes(range(256)) * (limit // 64)
    with misbehaving() as registry:
        registry.refuse_larger("PATCH", limit, status)
        registry.refuse_larger("PUT", limit, status)
        repository = Repository.open(Reference.parse(f"{registry.host}/x:v1"), access(registry.host))
        descriptor = repository.add_blob(data, LAYER)
        assert registry.blobs[descriptor.digest] == data
        taken = [each.n_body_bytes for each in registry.asked("PATCH") if each.n_body_bytes <= limit]
        assert sum(taken) == len(data) and len(taken) <= 2 * len(data) // limit + 2


def test_a_registry_that_takes_nothing_says_so(faulty: Misbehaving, repository: Repository) -> None:
    faulty.always("PUT", "/uploads/", Reply(413))
    faulty.always("PATCH", "/uploads/", Reply(413))
    with pytest.raises(RegistryError) as raised:
        repository.add_blob(b"layer" * 10_000, LAYER)
    assert raised.value.status == 413


@pytest.mark.parametrize(
    "suffix",
    ["", "?", "?_state=a%3D%3D", "?_state=a b", "#fragment", "?x=1#f"],
    ids=lambda text: text or "plain",
)
@pytest.mark.parametrize("prefix", ["/v2/", "v2/", "{url}/v2/"])
def test_a_location_is_followed_however_it_is_written(
    faulty: Misbehaving, repository: Repository, prefix: str, suffix: str
) -> None:
    faulty.uploads["u"] = bytearray()
    place = f"{prefix.format(url=faulty.url)}x/blobs/uploads/u{suffix}"
    faulty.on("POST", "/uploads/", Reply(202, headers={"Location": place}))
    descriptor = repository.add_blob(b"layer", LAYER)
    assert faulty.blobs[descriptor.digest] == b"layer"


def test_who_named_an_address_that_does_not_answer_is_said(
    faulty: Misbehaving, repository: Repository
) -> None:
    faulty.on(
        "POST", "/uploads/", Reply(202, headers={"Location": "http://127.0.0.1:9/v2/x/blobs/uploads/1"})
    )
    with pytest.raises(RegistryError) as raised:
        repository.add_blob(b"layer", LAYER)
    assert raised.value.url == "http://127.0.0.1:9/v2/x/blobs/uploads/1"
    assert f"{faulty.host} itself named that address in the header Location" in str(raised.value)


def test_a_redirect_to_an_address_that_does_not_answer_is_said(
    faulty: Misbehaving, repository: Repository
) -> None:
    faulty.always("GET", "/blobs/", Reply(307, headers={"Location": "http://127.0.0.1:9/store?secret=1"}))
    with pytest.raises(RegistryError) as raised:
        repository.fetch(Descriptor.from_json(faulty.put(b"layer", LAYER)))
    assert raised.value.url == "http://127.0.0.1:9/store"
    assert "itself named that address" in str(raised.value) and "secret" not in str(raised.value)


def test_an_immutable_tag_is_not_written_again(faulty: Misbehaving, layout: Layout) -> None:
    copy(f"oci:{layout.root}:v1", f"{faulty.host}/x:v1", faulty.host)
    faulty.always("PUT", "/manifests/v1", Reply(400, b'{"errors":[{"code":"TAG_INVALID"}]}'))
    copy(f"oci:{layout.root}:v1", f"{faulty.host}/x:v1", faulty.host)
    put_image(layout, "v1", text="another")
    with pytest.raises(RegistryError) as raised:
        copy(f"oci:{layout.root}:v1", f"{faulty.host}/x:v1", faulty.host)
    assert raised.value.codes == ("TAG_INVALID",)


@pytest.mark.parametrize("status", [400, 405, 422])
def test_a_registry_may_refuse_the_size_of_a_page(
    faulty: Misbehaving, repository: Repository, status: int
) -> None:
    faulty.put(b'{"schemaVersion":2}', MEDIA_TYPE_INDEX, "v1")
    faulty.always("GET", r"/tags/list\?n=", Reply(status))
    assert [*repository.tags()] == ["v1"]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_registry_on_this_machine_is_never_asked_through_a_proxy(
    faulty: Misbehaving, repository: Repository, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    faulty.put(b'{"schemaVersion":2}', MEDIA_TYPE_INDEX, "v1")
    assert repository.find("v1") is not None


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://alice:sesame@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    repository = Repository.open(Reference.parse("registry.example/x:v1"), access("registry.example"))
    with pytest.raises(RegistryError) as raised:
        repository.resolve("v1")
    assert "the proxy http://127.0.0.1:9 does not answer" in str(raised.value)
    assert "HTTP_PROXY" in str(raised.value.hint) and "sesame" not in f"{raised.value}{raised.value.hint}"


@pytest.mark.parametrize(
    ("challenge", "credentials", "proof"),
    [
        ("Basic", Credentials("alice", "x"), Credentials("alice", "x").basic),
        (None, Credentials("alice", "x"), Credentials("alice", "x").basic),
        ('Bearer realm="http://127.0.0.1:9/token"', Credentials(registry_token="t"), "Bearer t"),
    ],
)
def test_who_we_are_is_proved_as_far_as_it_can_be(
    faulty: Misbehaving, challenge: str | None, credentials: Credentials, proof: str
) -> None:
    headers = {} if challenge is None else {"WWW-Authenticate": challenge}
    faulty.put(b'{"schemaVersion":2}', MEDIA_TYPE_INDEX, "v1")
    faulty.on("HEAD", "/manifests/", Reply(401, headers=headers))
    asked = access(faulty.host, credentials=credentials)
    assert Repository.open(Reference.parse(f"{faulty.host}/x:v1"), asked).find("v1") is not None
    sent = [each.headers.get("Authorization") for each in faulty.requests]
    assert [*itertools.compress(sent, sent)] == [proof]


def test_a_refused_proof_is_an_error_by_its_name(faulty: Misbehaving) -> None:
    faulty.always("HEAD", "/manifests/", Reply(401, headers={"WWW-Authenticate": "Basic"}))
    faulty.always("GET", "/manifests/", Reply(401, headers={"WWW-Authenticate": "Basic"}))
    asked = access(faulty.host, credentials=Credentials("alice", "wrong"))
    with pytest.raises(Unauthorized, match="wrong username or password"):
        Repository.open(Reference.parse(f"{faulty.host}/x:v1"), asked).resolve("v1")
