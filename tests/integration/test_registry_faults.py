"""Registries that cut, lie, stall, redirect and never end: nothing of it is believed, kept or waited for."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from services.images import BUNDLE, assert_whole, attach_referrer, attach_signature, put_image
from services.misbehaving import Misbehaving, Reply, misbehaving

from gadgetops.errors import (
    ContentError,
    Denied,
    DigestMismatch,
    NotFound,
    RegistryError,
    SizeMismatch,
    Unauthorized,
)
from gadgetops.oci.content import MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST, Descriptor, digest_of
from gadgetops.oci.copying.copy_image import Copied, copy_image
from gadgetops.oci.copying.endpoints import open_goal, open_origin
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.location import Location
from gadgetops.oci.reference import Reference
from gadgetops.oci.registry.access import Access, Patience
from gadgetops.oci.registry.client import Repository
from gadgetops.oci.registry.credentials import Credentials
from gadgetops.oci.registry.http import Transport

SECRET = "open-sesame"
LAYER = "application/x.layer"
BASIC = {"WWW-Authenticate": 'Basic realm="tests"'}
Gadgetops = Callable[..., Any]


def access(*hosts: str, **options: Any) -> Access:
    """Return what reaches *hosts*, impatiently."""
    patience = Patience(first_wait_s=0.001, longest_wait_s=5.0)
    return Access(plain_http=frozenset(hosts), patience=patience, **options)


@pytest.fixture
def repository(faulty: Misbehaving) -> Repository:
    """A repository of the faulty registry, asked by somebody with a password."""
    credentials = Credentials("alice", SECRET)
    return Repository.open(
        Reference.parse(f"{faulty.host}/x:v1"), access(faulty.host, credentials=credentials)
    )


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A folder for images."""
    return Layout.open(tmp_path / "layout", create=True)


def blob(faulty: Misbehaving, data: bytes) -> Descriptor:
    """Have *data* at the registry."""
    return Descriptor.from_json(faulty.put(data, LAYER))


def push(layout: Layout, host: str, name: str = "x:v1", **options: Any) -> Copied:
    """Copy the image "v1" of *layout* to the registry at *host*."""
    with (
        open_origin(Location.parse(f"oci:{layout.root}:v1")) as origin,
        open_goal(Location.parse(f"{host}/{name}"), origin, access=access(host)) as goal,
    ):
        return copy_image(origin, goal, **options)


def pull(host: str, folder: Path, name: str = "x:v1") -> Copied:
    """Copy from the registry at *host* to the layout *folder*."""
    with (
        open_origin(Location.parse(f"{host}/{name}"), access=access(host)) as origin,
        open_goal(Location.parse(f"oci:{folder}:v1"), origin) as goal,
    ):
        return copy_image(origin, goal)


class TestWaiting:
    """What may pass is tried again, as long as the registry asks for, and not for ever."""

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_a_passing_error_passes(self, faulty: Misbehaving, repository: Repository, status: int) -> None:
        descriptor = blob(faulty, b"layer")
        faulty.on("GET", "/blobs/", Reply(status), Reply(status))
        assert repository.fetch(descriptor) == b"layer"
        assert len(faulty.asked("GET", "/blobs/")) == 3

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_an_upload_survives_it(self, faulty: Misbehaving, repository: Repository, method: str) -> None:
        faulty.on(method, "/blobs/uploads", Reply(503), Reply(429))
        descriptor = repository.add_blob(b"layer", LAYER)
        assert faulty.blobs[descriptor.digest] == b"layer"

    def test_an_error_that_stays_ends_it(self, faulty: Misbehaving, repository: Repository) -> None:
        body = b'{"errors":[{"code":"UNKNOWN","message":"out of order\\u001b[2J"}]}'
        faulty.always("GET", "/blobs/", Reply(500, body))
        with pytest.raises(RegistryError) as raised:
            repository.fetch(blob(faulty, b"layer"))
        assert (raised.value.status, raised.value.codes, raised.value.method) == (500, ("UNKNOWN",), "GET")
        assert len(faulty.asked("GET", "/blobs/")) == Patience().attempts
        assert "out of order" in str(raised.value) and "\x1b" not in str(raised.value)

    def test_a_refusal_is_not_repeated(self, faulty: Misbehaving, repository: Repository) -> None:
        faulty.always("GET", "/blobs/", Reply(403, b'{"errors":[{"code":"DENIED"}]}'))
        with pytest.raises(Denied) as raised:
            repository.fetch(blob(faulty, b"layer"))
        assert raised.value.codes == ("DENIED",) and "gadgetops login" in str(raised.value.hint)
        assert len(faulty.asked("GET", "/blobs/")) == 1

    def test_retry_after_is_waited_for(
        self, faulty: Misbehaving, repository: Repository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In seconds, or until a moment."""
        waited: list[float] = []
        monkeypatch.setattr("gadgetops.oci.registry.http.time.sleep", waited.append)
        past = "Tue, 24 Nov 2020 00:00:00 GMT"
        headers = [{"Retry-After": "3"}, {"Retry-After": past}, {"Retry-After": "nonsense"}]
        faulty.on("GET", "/blobs/", *(Reply(429, headers=each) for each in headers))
        assert repository.fetch(blob(faulty, b"layer")) == b"layer"
        assert waited[:2] == [3.0, 0.0] and 0 < waited[2] < 1

    def test_too_long_a_wait_is_not_begun(self, faulty: Misbehaving, repository: Repository) -> None:
        faulty.always("GET", "/blobs/", Reply(429, headers={"Retry-After": "3600"}))
        with pytest.raises(RegistryError, match="it asks to wait 3600 s"):
            repository.fetch(blob(faulty, b"layer"))
        assert len(faulty.asked("GET", "/blobs/")) == 1


class TestCutConnections:
    """What was cut is taken up where it was cut."""

    def test_a_download_goes_on(self, faulty: Misbehaving, repository: Repository) -> None:
        data = bytes(range(256)) * 4000
        descriptor = blob(faulty, data)
        faulty.on("GET", "/blobs/", Reply(body=data, cut_after=300_000), None)
        assert repository.fetch(descriptor) == data
        resumed = faulty.asked("GET", "/blobs/")[1]
        start = int(re.fullmatch(r"bytes=(\d+)-", resumed.headers["Range"])[1])  # type: ignore[index]
        assert 0 < start <= 300_000

    def test_where_ranges_are_unknown_what_came_is_skipped(
        self, faulty: Misbehaving, repository: Repository
    ) -> None:
        data = bytes(range(256)) * 4000
        descriptor = blob(faulty, data)
        faulty.on("GET", "/blobs/", Reply(body=data, cut_after=300_000), Reply(body=data))
        assert repository.fetch(descriptor) == data

    def test_a_registry_that_cuts_each_time_is_given_up(
        self, faulty: Misbehaving, repository: Repository
    ) -> None:
        descriptor = blob(faulty, b"x" * 1000)
        faulty.always("GET", "/blobs/", Reply(body=b"x" * 1000, cut_after=0))
        with pytest.raises(RegistryError, match="the connection was cut"):
            repository.fetch(descriptor)

    def test_a_manifest_is_asked_for_again(self, faulty: Misbehaving, repository: Repository) -> None:
        data = b'{"schemaVersion":2,"config":{}}'
        descriptor = Descriptor.from_json(faulty.put(data, MEDIA_TYPE_MANIFEST))
        faulty.on("GET", "/manifests/", Reply(body=data, cut_after=5))
        assert repository.fetch(descriptor) == data

    def test_an_upload_goes_on_with_what_is_missing(
        self, faulty: Misbehaving, repository: Repository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The registry says what it has; a part that it has whole is not sent again."""
        monkeypatch.setattr("gadgetops.oci.registry.upload.PART_BYTES", 1000)
        data = bytes(range(250)) * 10
        faulty.on("PATCH", "uploads", None, Reply(502))
        descriptor = repository.add_blob(data, LAYER)
        assert faulty.blobs[descriptor.digest] == data
        sent = [request.headers["Content-Range"] for request in faulty.asked("PATCH")]
        assert sent == ["0-999", "1000-1999", "1000-1999", "2000-2499"]

    def test_an_upload_that_was_forgotten_begins_again(
        self, faulty: Misbehaving, layout: Layout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gadgetops.oci.registry.upload.PART_BYTES", 1000)
        image = put_image(layout, "v1", layer_bytes=2500)
        lost = Reply(404, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')
        faulty.on("PATCH", "uploads", None, lost)
        push(layout, faulty.host)
        assert faulty.tags == {"v1": image.digest}

    def test_a_registry_that_forgets_each_upload_is_given_up(
        self, faulty: Misbehaving, layout: Layout
    ) -> None:
        put_image(layout, "v1")
        faulty.always("PUT", "uploads", Reply(404))
        with pytest.raises(RegistryError, match="forgets each upload"):
            push(layout, faulty.host)
        assert faulty.tags == {}


class TestLies:
    """What is not what it was asked for as is refused, and nothing of it is kept."""

    @pytest.mark.parametrize(
        ("body", "error"),
        [(b"LAYER", DigestMismatch), (b"layer and more", SizeMismatch), (b"lay", SizeMismatch)],
    )
    def test_a_blob_of_other_bytes(
        self, faulty: Misbehaving, repository: Repository, layout: Layout, body: bytes, error: type[Exception]
    ) -> None:
        descriptor = blob(faulty, b"layer")
        faulty.always("GET", "/blobs/", Reply(body=body))
        with pytest.raises(error):
            layout.add(descriptor, repository.chunks(descriptor))
        assert [
            path for path in layout.root.rglob("*") if path.is_file() and path.stat().st_size == len(body)
        ] == []

    def test_a_manifest_of_other_bytes(self, faulty: Misbehaving, layout: Layout, tmp_path: Path) -> None:
        """Under the digest of a manifest, and no name stands for it."""
        put_image(layout, "v1")
        push(layout, faulty.host)
        digest, (media_type, data) = next(
            (digest, found) for digest, found in faulty.manifests.items() if found[0] == MEDIA_TYPE_MANIFEST
        )
        faulty.manifests[digest] = (media_type, data.replace(b"ebpf", b"EBPF"))
        with pytest.raises(DigestMismatch):
            pull(faulty.host, tmp_path / "new")
        assert Layout.open(tmp_path / "new").names() == {}

    def test_a_tag_whose_digest_is_another_ones(self, faulty: Misbehaving, repository: Repository) -> None:
        """The digest in the headers is not believed: what comes under it must have it."""
        data = b'{"schemaVersion":2,"manifests":[]}'
        faulty.put(data, MEDIA_TYPE_INDEX, "v1")
        wrong = "sha256:" + "1" * 64
        headers = {"Docker-Content-Digest": wrong, "Content-Type": MEDIA_TYPE_INDEX}
        faulty.always("HEAD", "/manifests/v1", Reply(body=data, headers=headers))
        faulty.always("GET", f"/manifests/{wrong}", Reply(body=data, headers=headers))
        with pytest.raises(DigestMismatch):
            repository.fetch(repository.resolve("v1"))

    def test_a_digest_answered_with_another(self, faulty: Misbehaving, repository: Repository) -> None:
        data = b'{"schemaVersion":2,"manifests":[]}'
        headers = {"Docker-Content-Digest": digest_of(data), "Content-Type": MEDIA_TYPE_INDEX}
        faulty.always("HEAD", "/manifests/", Reply(body=data, headers=headers))
        with pytest.raises(DigestMismatch):
            repository.resolve("sha256:" + "2" * 64)

    def test_headers_without_a_digest(self, faulty: Misbehaving, repository: Repository) -> None:
        """Then the digest is made of the content."""
        data = b'{"schemaVersion":2,"manifests":[]}'
        descriptor = faulty.put(data, MEDIA_TYPE_INDEX, "v1")
        plain = {"Content-Type": f"{MEDIA_TYPE_INDEX}; charset=utf-8"}
        faulty.always("HEAD", "/manifests/", Reply(headers=plain))
        faulty.always("GET", "/manifests/", Reply(body=data, headers=plain))
        assert repository.resolve("v1") == Descriptor.from_json(descriptor)

    def test_a_registry_that_stored_something_else(self, faulty: Misbehaving, layout: Layout) -> None:
        put_image(layout, "v1")
        faulty.always(
            "PUT", "/manifests/", Reply(201, headers={"Docker-Content-Digest": "sha256:" + "3" * 64})
        )
        with pytest.raises(DigestMismatch):
            push(layout, faulty.host)
        assert faulty.tags == {}

    def test_content_that_is_missing(self, faulty: Misbehaving, layout: Layout, tmp_path: Path) -> None:
        put_image(layout, "v1")
        push(layout, faulty.host)
        del faulty.blobs[next(iter(faulty.blobs))]
        with pytest.raises(NotFound):
            pull(faulty.host, tmp_path / "new")
        assert Layout.open(tmp_path / "new").names() == {}


class TestBounds:
    """No answer is read for ever."""

    @pytest.mark.parametrize("method", ["HEAD", "GET"])
    def test_a_huge_manifest(self, faulty: Misbehaving, repository: Repository, method: str) -> None:
        """Whether its size is told before or comes as a surprise."""
        plain = {"Content-Type": MEDIA_TYPE_INDEX}
        headers = dict(plain)
        if method == "HEAD":
            headers |= {"Docker-Content-Digest": "sha256:" + "4" * 64, "Content-Length": str(1 << 40)}
        faulty.always("HEAD", "/manifests/", Reply(headers=headers))
        faulty.always(
            "GET", "/manifests/", Reply(body=b" " * (5 << 20), headers={"Content-Type": MEDIA_TYPE_INDEX})
        )
        with pytest.raises((ContentError, RegistryError), match="bytes"):
            repository.fetch(repository.resolve("v1"))

    def test_tags_on_many_pages(self, faulty: Misbehaving, repository: Repository) -> None:
        faulty.tags = {f"t{i:03}": "" for i in range(25)}
        faulty.tags_per_page = 10
        assert list(repository.tags()) == [f"t{i:03}" for i in range(25)]

    def test_pages_that_go_round_in_circles(self, faulty: Misbehaving, repository: Repository) -> None:
        headers = {"Link": '</v2/x/tags/list?n=1000>; rel="next"'}
        faulty.always("GET", "tags/list", Reply(body=b'{"tags":["a"]}', headers=headers))
        with pytest.raises(RegistryError, match="does not end"):
            list(repository.tags())

    def test_pages_without_end(
        self, faulty: Misbehaving, repository: Repository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gadgetops.oci.registry.client.MAX_PAGES", 7)
        replies = [
            Reply(body=b'{"tags":["a"]}', headers={"Link": f'<list?n=1000&last={i}>; rel="next"'})
            for i in range(20)
        ]
        faulty.on("GET", "tags/list", *replies)
        with pytest.raises(RegistryError, match="does not end: 7 pages"):
            list(repository.tags())

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b'{"tags":5}', b'{"tags":[1,null,"a"]}', b"\xff", b"{" * 10_000]
    )
    def test_a_list_that_makes_no_sense(
        self, faulty: Misbehaving, repository: Repository, body: bytes
    ) -> None:
        """It is an error of content, or what does make sense in it."""
        faulty.always("GET", "tags/list", Reply(body=body))
        try:
            assert set(repository.tags()) <= {"a"}
        except ContentError as error:
            assert "tags" in str(error)

    def test_redirects_without_end(self, faulty: Misbehaving, repository: Repository) -> None:
        faulty.always("GET", "/blobs/", Reply(307, headers={"Location": "/v2/x/blobs/again"}))
        with pytest.raises(RegistryError, match="redirects"):
            repository.fetch(blob(faulty, b"layer"))


class TestElsewhere:
    """What the registry knows of us, nobody else gets to see."""

    def test_a_redirected_download(self, faulty: Misbehaving, repository: Repository) -> None:
        descriptor = blob(faulty, b"layer")
        with misbehaving() as other:
            location = f"{other.url}/storage?signature=secret"
            other.always("GET", "/storage", Reply(body=b"layer"))
            faulty.on("GET", "/blobs/", Reply(401, headers=BASIC), Reply(307, headers={"Location": location}))
            assert repository.fetch(descriptor) == b"layer"
            assert "Authorization" in faulty.asked("GET", "/blobs/")[-1].headers
            assert "Authorization" not in other.requests[0].headers

    def test_a_redirected_upload(self, faulty: Misbehaving, repository: Repository) -> None:
        with misbehaving() as other:
            other.uploads["u"] = bytearray()
            location = f"{other.url}/v2/x/blobs/uploads/u?state=1"
            faulty.on(
                "POST", "uploads", Reply(401, headers=BASIC), Reply(202, headers={"Location": location})
            )
            descriptor = repository.add_blob(b"layer", LAYER)
            assert other.blobs == {descriptor.digest: b"layer"}
            assert all("Authorization" not in request.headers for request in other.requests)

    def test_a_stranger_that_asks_who_we_are(self, faulty: Misbehaving, repository: Repository) -> None:
        """A challenge of somebody else than the registry is not answered."""
        with misbehaving() as other:
            other.always("GET", "/", Reply(401, headers=BASIC))
            faulty.always("GET", "/blobs/", Reply(307, headers={"Location": f"{other.url}/storage"}))
            with pytest.raises(Unauthorized):
                repository.fetch(blob(faulty, b"layer"))
            assert all("Authorization" not in request.headers for request in other.requests)

    def test_a_password_file_of_other_tools(
        self, faulty: Misbehaving, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """~/.netrc is about other things, and is not read."""
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login bob password other\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        repository.fetch(blob(faulty, b"layer"))
        assert all("Authorization" not in request.headers for request in faulty.requests)

    def test_an_address_that_is_not_encrypted(self) -> None:
        """From HTTPS nothing leads to HTTP: neither content nor the way to a token."""
        transport = Transport("a.b", Access())
        with pytest.raises(RegistryError, match="not encrypted"):
            transport.resolve_url("https://a.b/v2/x", "http://c.d/storage?secret")
        assert transport.resolve_url("https://a.b/v2/x", "/y") == "https://a.b/y"
        itself = "http://a.b:5000/v2/x?state=1"
        assert transport.resolve_url("https://a.b/v2/x", itself) == "https://a.b/v2/x?state=1"
        with pytest.raises(RegistryError, match="token service that is not encrypted"):
            transport._ask_token_service("GET", "http://a.b/token", params=[], authorization="Basic x")

    def test_secrets_of_an_address_are_not_in_errors(self, faulty: Misbehaving, gadgetops: Gadgetops) -> None:
        """With -v neither, where all of the causes are shown."""
        faulty.always(
            "GET", "/tags", Reply(307, headers={"Location": "http://127.0.0.1:1/list?signature=secret"})
        )
        result = gadgetops("list", "-v", "--remote", f"{faulty.host}/x", "--plain-http", faulty.host)
        assert result.status == 1 and "nobody listens there" in result.err and "Traceback" in result.err
        assert "secret" not in result.err

    def test_secrets_are_not_in_errors(self, faulty: Misbehaving, repository: Repository) -> None:
        """Neither of the address, nor of what was sent to prove who we are."""
        faulty.on("GET", "/blobs/", Reply(401, headers=BASIC))
        faulty.always("GET", "/blobs/", Reply(307, headers={"Location": "/storage?signature=secret"}))
        faulty.always("GET", "/storage", Reply(500))
        with pytest.raises(RegistryError) as raised:
            repository.fetch(blob(faulty, b"layer"))
        chain = repr(raised.value) + str(raised.value) + repr(raised.value.__cause__)
        assert "secret" not in chain and SECRET not in chain and "YWxpY2U" not in chain
        assert "/storage" in raised.value.url


class TestReferrers:
    """A registry with a referrers API lists by itself; elsewhere an index with a tag does."""

    def test_the_registry_lists_them(self, faulty: Misbehaving, layout: Layout, tmp_path: Path) -> None:
        faulty.has_referrers_api = True
        image = put_image(layout, "v1")
        attach_signature(layout, image)
        referrer = attach_referrer(layout, image)
        assert push(layout, faulty.host).n_attached == 2
        assert [*faulty.tags] == [f"{image.digest.replace(':', '-')}.sig", "v1"]
        pulled = pull(faulty.host, tmp_path / "new")
        assert pulled.n_attached == 2
        listed = Layout.open(tmp_path / "new").referrers(image.digest)
        assert [(each.digest, each.artifact_type) for each in listed] == [(referrer.digest, BUNDLE)]

    def test_the_tag_of_the_image_comes_last(self, faulty: Misbehaving, layout: Layout) -> None:
        """After signatures: who sees the tag can verify the image."""
        image = put_image(layout, "v1")
        attach_signature(layout, image)
        attach_referrer(layout, image)
        push(layout, faulty.host)
        h = image.digest.replace(":", "-")
        assert [*faulty.tags] == [h, f"{h}.sig", "v1"]

    def test_a_referrer_that_was_deleted_is_left_out(
        self, faulty: Misbehaving, layout: Layout, tmp_path: Path
    ) -> None:
        image = put_image(layout, "v1")
        referrer = attach_referrer(layout, image)
        push(layout, faulty.host)
        del faulty.manifests[referrer.digest]
        assert pull(faulty.host, tmp_path / "new").root.digest == image.digest

    def test_pushed_at_the_same_time_all_are_listed(self, faulty: Misbehaving, layout: Layout) -> None:
        """Whoever finds the index changed under its hands adds to it again."""
        image = put_image(layout, "v1")
        push(layout, faulty.host)
        first, second = attach_referrer(layout, image, "1"), attach_referrer(layout, image, "2")
        repository = Repository.open(Reference.parse(f"{faulty.host}/x"), access(faulty.host))
        for each in (first, second):
            for part in layout.with_attachments([each])[0]:
                repository.add(part, layout.chunks(part))
        right, interfered = repository._put_manifest, []

        def interfere(name: str, *arguments: Any) -> Any:
            if not interfered:
                interfered.append(name)
                answer = right(name, *arguments)
                faulty.tags[name] = faulty.put(b'{"schemaVersion":2,"manifests":[]}', MEDIA_TYPE_INDEX)[
                    "digest"
                ]
                repository.publish({}, [second])
                return answer
            return right(name, *arguments)

        repository._put_manifest = interfere  # type: ignore[method-assign]
        repository.publish({}, [first])
        assert {each.digest for each in repository.referrers(image.digest)} == {first.digest, second.digest}


def test_one_connection_carries_many_requests(faulty: Misbehaving, repository: Repository) -> None:
    """Also after answers that nobody reads: HEAD, 401, redirects, what is not found."""
    descriptor = blob(faulty, b"layer")
    faulty.on("HEAD", "/blobs/", Reply(401, headers=BASIC))
    faulty.on("GET", "/blobs/", Reply(307, headers={"Location": f"/v2/y/blobs/{descriptor.digest}"}))
    for _ in range(3):
        assert repository.has(descriptor) and repository.find("nothing") is None
        assert repository.fetch(descriptor) == b"layer"
    assert len(faulty.requests) > 9 and len(faulty.connections) == 1


def test_nothing_is_tagged_before_all_is_there(faulty: Misbehaving, layout: Layout) -> None:
    """Blobs, then manifests, then the index, then the tag."""
    put_image(layout, "v1")
    push(layout, faulty.host)
    puts = [request.path for request in faulty.asked("PUT")]
    kinds = ["blob" if "uploads" in path else "tag" if path.endswith("/v1") else "manifest" for path in puts]
    assert kinds == ["blob"] * 3 + ["manifest"] * 3 + ["tag"]


@pytest.mark.parametrize("failing", ["/blobs/uploads", "/manifests/sha256", "/manifests/v1"])
def test_what_failed_in_the_middle_completes_later(
    faulty: Misbehaving, layout: Layout, tmp_path: Path, failing: str
) -> None:
    """Whatever was refused: nothing was tagged, and the same again sends only what is missing."""
    image = put_image(layout, "v1")
    faulty.on("PUT", failing, Reply(400))
    with pytest.raises(RegistryError):
        push(layout, faulty.host)
    assert faulty.tags == {}
    before = len(faulty.blobs) + len(faulty.manifests)
    again = push(layout, faulty.host)
    assert (again.n_present, faulty.tags) == (before, {"v1": image.digest})
    pull(faulty.host, tmp_path / "new")
    assert_whole(Layout.open(tmp_path / "new"))


def test_blobs_are_on_their_way_at_once(faulty: Misbehaving, layout: Layout) -> None:
    """Two uploads meet at a barrier that one alone would never pass."""
    put_image(layout, "v1")
    barrier = threading.Barrier(2, timeout=20)
    right, met = Repository.add, []

    def meet(repository: Repository, descriptor: Descriptor, chunks: Any) -> None:
        if "ebpf" in descriptor.media_type:
            barrier.wait()
            met.append(descriptor)
        right(repository, descriptor, chunks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Repository, "add", meet)
        push(layout, faulty.host)
    assert len(met) == 2


def test_the_first_failure_ends_the_copy(faulty: Misbehaving, layout: Layout) -> None:
    put_image(layout, "v1")
    faulty.always("POST", "uploads", Reply(403))
    with pytest.raises(Denied):
        push(layout, faulty.host)
    assert faulty.tags == {} and faulty.manifests == {}


def test_progress_adds_up(faulty: Misbehaving, layout: Layout) -> None:
    """Whatever was there, sent, or sent twice: at the end all of it is done."""
    image = put_image(layout, "v1", layer_bytes=5000)
    counted: dict[str, int] = {"total": 0, "done": 0}

    class Count:
        def begin(self, total_bytes: int) -> None:
            counted["total"] = total_bytes

        def advance(self, size_bytes: int) -> None:
            counted["done"] += size_bytes

    nodes, _ = layout.with_attachments([image])
    for _ in range(2):
        counted["done"] = 0
        push(layout, faulty.host, watch=Count())
        assert counted == {"total": sum(node.size_bytes for node in nodes), "done": counted["total"]}


def test_a_dead_connection_is_noticed(faulty: Misbehaving, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that says nothing is not waited for without end."""
    monkeypatch.setattr("gadgetops.oci.registry.http._TIMEOUTS_S", (0.2, 0.2))
    release = threading.Event()
    faulty._right = lambda *_: release.wait(20) and Reply()  # type: ignore[method-assign]
    patience = Patience(attempts=2, first_wait_s=0)
    repository = Repository.open(
        Reference.parse(f"{faulty.host}/x"), Access(plain_http=frozenset({faulty.host}), patience=patience)
    )
    with pytest.raises(RegistryError, match="no answer in time"):
        repository.resolve("v1")
    release.set()


def test_the_command_says_what_the_registry_said(
    gadgetops: Gadgetops, faulty: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "you have reached your limit"}]})
    faulty.always("GET", "/", Reply(429, body.encode(), {"Retry-After": "7200"}))
    result = gadgetops("list", "--remote", f"{faulty.host}/x", "--plain-http", faulty.host)
    assert result.status == 1 and "you have reached your limit" in result.err
    assert "status 429: TOOMANYREQUESTS" in result.err and "it asks to wait 7200 s" in result.err
