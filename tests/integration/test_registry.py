"""Images between a real registry (Debian's docker-registry), the store, folders and tar files."""

import base64
import hashlib
import itertools
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from services.images import assert_whole, attach_referrer, attach_signature, put_image
from services.registry import PASSWORD, USERNAME, RunningRegistry, TokenService, free_port, need

from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.layout.store import open_store
from gadgetops.oci.reference import Reference

Gadgetops = Callable[..., Any]


@pytest.fixture
def store() -> Layout:
    """The store of this test."""
    return open_store()


@pytest.fixture
def name(registry: RunningRegistry, request: pytest.FixtureRequest) -> str:
    """A reference in a repository that only this test uses."""
    return f"{registry.host}/{_repository(request)}:v1"


@pytest.fixture(autouse=True)
def _plain(
    registry: RunningRegistry, password_registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = f"{registry.host} {password_registry.host}"
    monkeypatch.setenv("GADGETOPS_PLAIN_HTTP", hosts)


def _repository(request: pytest.FixtureRequest) -> str:
    return "t/" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]


def forget_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Go on with an empty store."""
    monkeypatch.setenv("GADGETOPS_STORE", str(tmp_path / "other-store"))
    return open_store()


def test_pulled_is_what_was_pushed(
    gadgetops: Gadgetops, store: Layout, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By tag and by digest, with signature and referrer, to the byte."""
    image = put_image(store, name)
    signature, referrer = attach_signature(store, image), attach_referrer(store, image)
    pushed = gadgetops("push", name)
    assert (pushed.status, pushed.out) == (0, f"{name}@{image.digest}\n"), pushed.err
    other = forget_store(tmp_path, monkeypatch)
    assert gadgetops("pull", name).status == 0
    assert other.resolve(name) == image
    assert other.resolve(f"{image.digest.replace(':', '-')}.sig").digest == signature.digest
    assert [each.digest for each in other.referrers(image.digest)] == [referrer.digest]
    assert_whole(other)
    pinned = f"{Reference.parse(name).name}@{image.digest}"
    assert gadgetops("pull", pinned).out == f"{pinned}\n"
    assert gadgetops("resolve", pinned).out == gadgetops("resolve", name).out == f"{image.digest}\n"


def test_a_second_push_sends_nothing(gadgetops: Gadgetops, store: Layout, name: str) -> None:
    put_image(store, name)
    assert "copied 6 blobs" in gadgetops("push", name).err
    assert "copied 0 blobs (0 B), 6 were there already" in gadgetops("push", name).err
    assert "copied 0 blobs (0 B), 6 were there already" in gadgetops("pull", name).err


def test_referrers_stay_behind_on_request(
    gadgetops: Gadgetops, store: Layout, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = put_image(store, name)
    attach_signature(store, image)
    attach_referrer(store, image)
    assert gadgetops("push", name, "--no-referrers").status == 0
    assert [row["tag"] for row in remote_tags(gadgetops, name)] == ["v1"]
    assert gadgetops("push", name).status == 0
    other = forget_store(tmp_path, monkeypatch)
    assert gadgetops("pull", name, "--no-referrers").status == 0
    assert [*other.names()] == [name] and other.referrers(image.digest) == []


def remote_tags(gadgetops: Gadgetops, name: str) -> list[dict[str, str]]:
    """Return what `list --remote` says."""
    listed = gadgetops("list", "--remote", Reference.parse(name).name, "--format", "json")
    assert listed.status == 0, listed.err
    rows: list[dict[str, str]] = json.loads(listed.out)
    return rows


def test_tags_are_listed_without_signature_tags(gadgetops: Gadgetops, store: Layout, name: str) -> None:
    image = put_image(store, name)
    attach_signature(store, image)
    gadgetops("push", name)
    assert remote_tags(gadgetops, name) == [{"tag": "v1", "reference": name}]


def test_referrers_of_two_pushes_are_all_listed(gadgetops: Gadgetops, store: Layout, name: str) -> None:
    """The index that lists them in a registry without referrers API is added to, not replaced."""
    image = put_image(store, name)
    digests = set()
    for text in ("first", "second"):
        digests.add(attach_referrer(store, image, text).digest)
        assert gadgetops("push", name).status == 0
    tag = image.digest.replace(":", "-")
    listed = json.loads(
        skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{Reference.parse(name).name}:{tag}")
    )
    assert {each["digest"] for each in listed["manifests"]} == digests
    assert all(
        each["artifactType"].startswith("application/vnd.dev.sigstore") for each in listed["manifests"]
    )


def test_only_a_platform_is_an_index_of_its_own(
    gadgetops: Gadgetops, store: Layout, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is attached to the whole image says nothing of it, and stays behind with a warning."""
    image = put_image(store, name)
    attach_signature(store, image)
    gadgetops("push", name)
    other = forget_store(tmp_path, monkeypatch)
    pulled = gadgetops("pull", name, "--platform", "arm64")
    assert pulled.status == 0 and "1 signature or other referrer of the whole left behind" in pulled.err
    assert other.resolve(name).digest != image.digest
    listed = json.loads(gadgetops("list", "--format", "json").out)
    assert [(row["platforms"], row["problem"]) for row in listed] == [(["linux/arm64"], None)]
    all_of_it = gadgetops("pull", name, "--platform", "linux/amd64", "--platform", "arm64")
    assert all_of_it.out == f"{name}@{image.digest}\n"
    missing = gadgetops("pull", name, "--platform", "riscv64")
    assert (missing.status, missing.out) == (1, "") and "it has linux/amd64, linux/arm64" in missing.err
    pinned = gadgetops("pull", f"{name}@{image.digest}", "--platform", "arm64")
    assert pinned.status == 2 and "another digest" in pinned.err


def test_resolve_shows_the_manifest_of_a_platform(gadgetops: Gadgetops, store: Layout, name: str) -> None:
    put_image(store, name)
    gadgetops("push", name)
    of_platform = gadgetops("resolve", name, "--platform", "linux/arm64").out.strip()
    assert gadgetops("resolve", f"store:{name}", "--platform", "arm64").out.strip() == of_platform
    raw = skopeo(
        "inspect", "--raw", "--tls-verify=false", f"docker://{Reference.parse(name).name}@{of_platform}"
    )
    assert "sha256:" + hashlib.sha256(raw).hexdigest() == of_platform


def test_an_image_goes_through_every_kind_of_place_unchanged(
    gadgetops: Gadgetops, store: Layout, name: str, registry: RunningRegistry, tmp_path: Path
) -> None:
    """Store, registry, folder, tar file, another repository, back: the same digest, the signature with it."""
    image = put_image(store, "ghcr.io/a/b:1")
    attach_signature(store, image)
    referrer = attach_referrer(store, image)
    again = f"{Reference.parse(name).name}-again:v2"
    steps = ["store:ghcr.io/a/b:1", name, f"oci:{tmp_path}/folder:v1", f"archive:{tmp_path}/x.tar:v1"]
    steps += [f"oci:{tmp_path}/second", f"archive:{tmp_path}/y.tar", again, "store:ghcr.io/a/c:1"]
    for source, destination in itertools.pairwise(steps):
        copied = gadgetops("copy", source, destination)
        assert copied.status == 0, (source, destination, copied.err)
        assert copied.out.endswith(f"@{image.digest}\n")
        assert "2 signatures or other referrer" in copied.err
    assert store.resolve("ghcr.io/a/c:1").digest == image.digest
    assert [each.digest for each in store.referrers(image.digest)] == [referrer.digest]
    assert Layout.open(tmp_path / "second").resolve("v1").digest == image.digest


def test_blobs_of_the_same_registry_are_mounted(
    gadgetops: Gadgetops, store: Layout, name: str, registry: RunningRegistry
) -> None:
    """Only manifests pass through this machine."""
    put_image(store, name, layer_bytes=100_000)
    gadgetops("push", name)
    copied = gadgetops("copy", name, f"{Reference.parse(name).name}-mirror:v1")
    assert copied.status == 0 and "copied 3 blobs" in copied.err
    assert "mount=sha256" in registry.log


def test_a_large_blob_goes_in_parts(
    gadgetops: Gadgetops, store: Layout, name: str, registry: RunningRegistry, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    put_image(store, name, layer_bytes=(17 << 20) + 1)
    assert gadgetops("push", name).status == 0
    repository = Reference.parse(name).repository
    assert registry.log.count(f'"PATCH /v2/{repository}/') == 2 * 3
    other = forget_store(tmp_path, monkeypatch)
    assert gadgetops("pull", name).status == 0
    assert_whole(other)


def test_a_name_in_use_moves_to_the_new_image(gadgetops: Gadgetops, store: Layout, name: str) -> None:
    first = put_image(store, name)
    gadgetops("push", name)
    second = put_image(store, name, text="v2")
    assert gadgetops("push", name).status == 0
    assert gadgetops("resolve", name).out.strip() == second.digest != first.digest


def test_digest_in_the_destination_has_to_be_right(gadgetops: Gadgetops, store: Layout, name: str) -> None:
    image = put_image(store, name)
    repository = Reference.parse(name).name
    wrong = gadgetops("copy", f"store:{name}", f"{repository}@sha256:{'0' * 64}")
    assert wrong.status == 1 and "digest: expected" in wrong.err
    assert gadgetops("copy", f"store:{name}", f"{repository}@{image.digest}").status == 0
    assert gadgetops("resolve", name).status == 1
    assert gadgetops("resolve", f"{repository}@{image.digest}").status == 0


# --- skopeo -----------------------------------------------------------------------------------------------


def skopeo(*arguments: object) -> bytes:
    """Run skopeo and return what it printed."""
    return subprocess.run([need("skopeo"), *map(str, arguments)], check=True, capture_output=True).stdout


def raw(reference: str) -> bytes:
    """Return the manifest or index that skopeo reads."""
    return skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{reference}")


def test_skopeo_pulls_what_we_push(gadgetops: Gadgetops, store: Layout, name: str, tmp_path: Path) -> None:
    image = put_image(store, name)
    gadgetops("push", name)
    skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path}/x:v1")
    assert Layout.open(tmp_path / "x").resolve("v1").digest == image.digest


def test_we_pull_what_skopeo_pushes(gadgetops: Gadgetops, store: Layout, name: str, tmp_path: Path) -> None:
    layout = Layout.open(tmp_path / "x", create=True)
    image = put_image(layout, "v1")
    skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{tmp_path}/x:v1", f"docker://{name}")
    assert gadgetops("pull", name).out == f"{name}@{image.digest}\n"
    assert_whole(store)


# --- who asks ---------------------------------------------------------------------------------------------


def login(
    gadgetops: Gadgetops, host: str, password: str, monkeypatch: pytest.MonkeyPatch, *options: str
) -> Any:
    """Log in with *password* on standard input."""
    read, write = os.pipe()
    os.write(write, password.encode() + b"\n")
    os.close(write)
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        return gadgetops("login", host, "-u", USERNAME, "--password-stdin")


def test_login_is_checked_kept_and_used(
    gadgetops: Gadgetops, store: Layout, password_registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong password is not kept; the right one lies in docker's file, which nobody else may read."""
    name = f"{password_registry.host}/kept:v1"
    put_image(store, name)
    unknown = gadgetops("push", name)
    assert unknown.status == 1 and f"run `gadgetops login {password_registry.host}`" in unknown.err
    wrong = login(gadgetops, password_registry.host, "wrong", monkeypatch)
    path = Path.home() / ".docker/config.json"
    assert wrong.status == 1 and "wrong username or password" in wrong.err and not path.exists()
    right = login(gadgetops, password_registry.host, PASSWORD, monkeypatch)
    assert right.status == 0 and PASSWORD not in right.err and right.out == ""
    assert path.stat().st_mode & 0o777 == 0o600
    assert gadgetops("push", name).status == gadgetops("pull", name).status == 0
    assert gadgetops("logout", password_registry.host).status == 0
    assert gadgetops("pull", name).status == 1


def test_a_password_that_changed_is_a_matter_of_logging_in(
    gadgetops: Gadgetops, password_registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    auth = base64.b64encode(f"{USERNAME}:secret-of-old".encode()).decode()
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"auths": {password_registry.host: {"auth": auth}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))
    result = gadgetops("pull", f"{password_registry.host}/x", "-v")
    assert (
        result.status == 1 and "wrong username or password" in result.err and "gadgetops login" in result.err
    )
    assert "secret-of-old" not in result.err and auth not in result.err


def test_tokens_are_asked_for_what_is_done(
    gadgetops: Gadgetops, store: Layout, token_registry: RunningRegistry, token_service: TokenService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One for reading, one for writing, one for two repositories where a blob is taken over."""
    monkeypatch.setenv("GADGETOPS_PLAIN_HTTP", token_registry.host)
    name = f"{token_registry.host}/tokens:v1"
    put_image(store, name)
    assert login(gadgetops, token_registry.host, "wrong", monkeypatch).status == 1
    assert login(gadgetops, token_registry.host, PASSWORD, monkeypatch).status == 0
    assert gadgetops("push", name).status == 0
    copied = gadgetops("copy", name, f"{token_registry.host}/mirror:v1")
    assert copied.status == 0 and "copied 3 blobs" in copied.err
    scopes = {tuple(sorted(query.get("scope", []))) for _, query in token_service.asked}
    assert ("repository:tokens:pull",) in scopes
    assert any("repository:tokens:pull" in each and len(each) == 2 for each in scopes)
    assert [row["tag"] for row in remote_tags(gadgetops, name)] == ["v1"]


def test_a_token_that_ran_out_is_renewed(
    gadgetops: Gadgetops, store: Layout, token_registry: RunningRegistry, token_service: TokenService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """For reading as for writing: whoever sends for an hour needs more than one token."""
    monkeypatch.setenv("GADGETOPS_PLAIN_HTTP", token_registry.host)
    name = f"{token_registry.host}/short:v1"
    put_image(store, name)
    login(gadgetops, token_registry.host, PASSWORD, monkeypatch)
    token_service.asked.clear()
    right = token_service._token
    stale = iter([True, False, True])

    def token(*arguments: Any) -> str:
        return _expired(token_service, right, *arguments) if next(stale, False) else right(*arguments)

    monkeypatch.setattr(token_service, "_token", token)
    assert gadgetops("push", name).status == 0
    assert len(token_service.asked) >= 4


def _expired(service: TokenService, make: Callable[..., str], *arguments: Any) -> str:
    valid_s, service.valid_s = service.valid_s, -3600
    try:
        return make(*arguments)
    finally:
        service.valid_s = valid_s


def test_who_says_nothing_may_still_pull(
    gadgetops: Gadgetops, store: Layout, token_registry: RunningRegistry, token_service: TokenService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """An anonymous token lets nobody push; the error says how to be somebody."""
    monkeypatch.setenv("GADGETOPS_PLAIN_HTTP", token_registry.host)
    name = f"{token_registry.host}/public:v1"
    put_image(store, name)
    login(gadgetops, token_registry.host, PASSWORD, monkeypatch)
    gadgetops("push", name)
    gadgetops("logout", token_registry.host)
    token_service.anonymous_pull = True
    assert gadgetops("pull", name).status == 0
    put_image(store, name, text="v2")
    refused = gadgetops("push", name)
    assert refused.status == 1 and "gadgetops login" in refused.err


def test_an_identity_token_goes_to_the_token_service(
    gadgetops: Gadgetops, token_registry: RunningRegistry, token_service: TokenService, store: Layout,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """In a form, not in the address."""
    path = tmp_path / "auth.json"
    path.write_text(
        json.dumps({"auths": {token_registry.host: {"identitytoken": token_service.identity_token}}})
    )
    monkeypatch.setenv("GADGETOPS_PLAIN_HTTP", token_registry.host)
    name = f"{token_registry.host}/identity:v1"
    put_image(store, name)
    assert gadgetops("push", name, "--authfile", path).status == 0
    assert {method for method, _ in token_service.asked} == {"POST"}


def test_the_password_is_asked_for_unseen(password_registry: RunningRegistry, tmp_path: Path) -> None:
    """On a terminal, and not shown there."""
    child, terminal = pty.fork()
    if child == 0:
        arguments = ["-m", "gadgetops", "login", password_registry.host]
        os.environ["DOCKER_CONFIG"] = str(tmp_path)
        os.execv(sys.executable, [sys.executable, *arguments])
    shown = _converse(terminal, [(b"Username", USERNAME), (b"Password", PASSWORD)])
    assert os.waitpid(child, 0)[1] == 0 and PASSWORD.encode() not in shown
    assert password_registry.host in (tmp_path / "config.json").read_text()


def _converse(terminal: int, answers: list[tuple[bytes, str]]) -> bytes:
    """Answer each prompt once it stands there; return all that was shown."""
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 1024)
        except OSError:
            return shown
        shown += piece
        if answers and answers[0][0] in shown:
            os.write(terminal, answers.pop(0)[1].encode() + b"\n")


def test_login_says_that_an_open_registry_checks_nothing(
    gadgetops: Gadgetops, registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = login(gadgetops, registry.host, "anything", monkeypatch)
    assert done.status == 0 and "this one was not checked" in done.err


# --- TLS, and what is not there ---------------------------------------------------------------------------


def test_tls_needs_a_trusted_certificate(
    gadgetops: Gadgetops, store: Layout, tls_registry: RunningRegistry, tmp_path: Path
) -> None:
    name = f"{tls_registry.host}/x:v1"
    put_image(store, name)
    refused = gadgetops("push", name)
    assert refused.status == 1 and "not trusted" in refused.err and "--ca-file" in refused.err
    pushed = gadgetops("push", name, "--ca-file", tls_registry.ca_file)
    assert pushed.status == 0, pushed.err
    (tmp_path / "bad.pem").write_text("no certificate")
    bad = gadgetops("push", name, "--ca-file", tmp_path / "bad.pem")
    assert bad.status == 1 and "no certificates in PEM form" in bad.err
    plain = gadgetops("push", name, "--plain-http", tls_registry.host)
    assert plain.status == 1


def test_one_copy_speaks_tls_here_and_plain_http_there(
    gadgetops: Gadgetops, store: Layout, tls_registry: RunningRegistry, name: str
) -> None:
    image = put_image(store, f"{tls_registry.host}/both:v1")
    gadgetops("push", f"{tls_registry.host}/both:v1", "--ca-file", tls_registry.ca_file)
    copied = gadgetops("copy", f"{tls_registry.host}/both:v1", name, "--ca-file", tls_registry.ca_file)
    assert copied.out == f"{name}@{image.digest}\n"


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("127.0.0.1:{free}", ["nobody listens there", "check the port"]),
        ("nowhere.invalid", ["no host is named 'nowhere.invalid'", "check how it is spelled"]),
        ("{registry}", ["no TLS there", "--plain-http {registry}"]),
    ],
)
def test_unreachable_registries_are_told_apart(
    gadgetops: Gadgetops,
    registry: RunningRegistry,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    words: list[str],
) -> None:
    monkeypatch.delenv("GADGETOPS_PLAIN_HTTP")
    names = {"registry": registry.host, "free": free_port()}
    result = gadgetops("pull", f"{host.format(**names)}/x")
    assert result.status == 1 and all(word.format(**names) in result.err for word in words)


def test_what_is_not_there_is_said_with_a_way_out(gadgetops: Gadgetops, store: Layout, name: str) -> None:
    repository = Reference.parse(name).name
    missing = gadgetops("pull", name)
    assert missing.status == 1
    assert f"v1: not found in {repository}\n`gadgetops list --remote {repository}`" in missing.err
    unknown = gadgetops("list", "--remote", repository)
    assert unknown.status == 1 and "check how the repository is spelled" in unknown.err
    unbuilt = gadgetops("push", name)
    assert unbuilt.status == 1 and "not found in" in unbuilt.err


def test_requests_that_make_no_sense(gadgetops: Gadgetops, store: Layout, tmp_path: Path) -> None:
    two = Layout.open(tmp_path / "two", create=True)
    put_image(two, "a", text="a")
    put_image(two, "b", text="b")
    several = gadgetops("copy", f"oci:{tmp_path}/two", "store:x")
    assert several.status == 2 and "holds 2 images" in several.err and "it has a, b" in several.err
    assert gadgetops("copy", f"oci:{tmp_path}/two:b", "store:x").status == 0
    for arguments in (
        ("copy", "oci:", "store:x"),
        ("copy", "store:x", f"sha256:{'0' * 64}"),
        ("login", "a/b", "-u", "x", "--password-stdin"),
        ("login", "a.b", "--password-stdin"),
        ("pull", "a.b/UPPER"),
    ):
        assert gadgetops(*arguments).status == 2, arguments


def test_a_tar_file_that_could_not_be_made_is_not_there(
    gadgetops: Gadgetops, store: Layout, name: str, tmp_path: Path
) -> None:
    (tmp_path / "x.tar").write_text("before")
    assert gadgetops("copy", name, f"archive:{tmp_path}/x.tar").status == 1
    assert (tmp_path / "x.tar").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]


def test_a_terminal_shows_a_bar(name: str, store: Layout) -> None:
    """With bytes and rate, on standard error; the result alone on standard output."""
    put_image(store, name, layer_bytes=3_000_000)
    main, side = pty.openpty()
    pushed = subprocess.run(
        [sys.executable, "-m", "gadgetops", "push", name], stdout=subprocess.PIPE, stderr=side, check=True
    )
    os.close(side)
    shown = b""
    try:
        while piece := os.read(main, 65536):
            shown += piece
    except OSError:
        pass
    assert b"of 5.72 MiB" in shown
    assert b"a second" in shown
    assert b"push: " in shown
    assert pushed.stdout.startswith(name.encode() + b"@sha256:")


def test_a_mirror_is_asked_first_and_the_registry_where_it_has_nothing(
    gadgetops: Gadgetops,
    store: Layout,
    registry: RunningRegistry,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the file that podman and skopeo read; the image keeps the name it was asked for by."""
    image = put_image(store, name)
    assert gadgetops("push", name).status == 0
    host, _, path = name.partition("/")
    settings = tmp_path / "registries.conf"
    settings.write_text(
        f'[[registry]]\nlocation = "nowhere.invalid"\n'
        f'[[registry.mirror]]\nlocation = "{host}/empty"\ninsecure = true\n'
        f'[[registry.mirror]]\nlocation = "{host}"\ninsecure = true\n'
    )
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(settings))
    monkeypatch.delenv("GADGETOPS_PLAIN_HTTP")
    forget_store(tmp_path, monkeypatch)
    done = gadgetops("pull", f"nowhere.invalid/{path}")
    assert done.status == 0, done.err
    assert open_store().resolve(f"nowhere.invalid/{path}").digest == image.digest
    assert f"/v2/empty/{path.partition(':')[0]}/" in registry.log
