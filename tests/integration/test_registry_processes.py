"""Many copies at once, and copies that are killed or stopped at any moment."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from services.images import assert_whole, attach_referrer, attach_signature, put_image
from services.misbehaving import Misbehaving
from services.registry import RunningRegistry

from gadgetops.errors import NotFound
from gadgetops.oci.content import Descriptor
from gadgetops.oci.copying.copy_image import copy_image
from gadgetops.oci.copying.endpoints import open_goal, open_origin
from gadgetops.oci.graph import sound_children_of, walk
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.layout.store import open_store
from gadgetops.oci.location import Location
from gadgetops.oci.reference import Reference
from gadgetops.oci.registry.access import Access
from gadgetops.oci.registry.client import Repository

Gadgetops = Callable[..., Any]


@pytest.fixture
def image(tmp_path: Path, registry: RunningRegistry, faulty: Misbehaving) -> Descriptor:
    """An image in the store, under a name at either registry, with a signature and a referrer."""
    layout = open_store()
    names = [f"{host}/killed:v1" for host in (registry.host, faulty.host)]
    image = put_image(layout, *names, layer_bytes=300_000)
    attach_signature(layout, image)
    attach_referrer(layout, image)
    return image


@pytest.fixture(autouse=True)
def _plain(registry: RunningRegistry, faulty: Misbehaving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GADGETOPS_PLAIN_HTTP", f"{registry.host} {faulty.host}")


def run(*arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
    """Start the command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "gadgetops", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def remote(host: str) -> Repository:
    """Return the repository that is pushed to."""
    return Repository.open(Reference.parse(f"{host}/killed"), Access(plain_http=frozenset({host})))


def assert_tag_is_whole(repository: Repository) -> bool:
    """Check every byte under the tag, if there is one; whether there is."""
    try:
        root = repository.resolve("v1")
    except NotFound:
        return False
    walk([root], lambda node: sound_children_of(repository, node))
    return True


class SlowRequests:
    """Lets a registry answer request by request, so that a process can be killed before any of them."""

    def __init__(self, faulty: Misbehaving) -> None:
        self._answer = faulty._right
        self._allowed = threading.Semaphore(0)
        self._waiting = threading.Event()
        self.is_open = False
        faulty._right = self._wait  # type: ignore[method-assign]

    def _wait(self, *arguments: Any) -> Any:
        if not self.is_open:
            self._waiting.set()
            self._allowed.acquire(timeout=20)
        return self._answer(*arguments)

    def allow(self, n_requests: int) -> None:
        """Answer so many more requests."""
        for _ in range(n_requests):
            self._allowed.release()

    def wait_for_one(self) -> bool:
        """Wait until a request waits to be answered."""
        return self._waiting.wait(20)

    def open(self) -> None:
        """Answer everything from now on."""
        self.is_open = True
        self.allow(1000)


@pytest.mark.parametrize("n_answered", [0, 7, 14, 19, 24])
def test_a_push_killed_between_any_two_requests(
    image: Descriptor, gadgetops: Gadgetops, faulty: Misbehaving, n_answered: int
) -> None:
    """No tag is there before all of it is; the same again completes it, and sends no blob twice."""
    slow = SlowRequests(faulty)
    slow.allow(n_answered)
    with run("push", f"{faulty.host}/killed:v1") as process:
        while len(faulty.requests) <= n_answered and process.poll() is None:
            time.sleep(0.005)
        process.kill()
    slow.open()
    _settle(faulty)
    for digest in faulty.tags.values():
        assert digest in faulty.manifests
    assert_tag_is_whole(remote(faulty.host))
    stored = set(faulty.blobs)
    before = len(faulty.requests)
    again = gadgetops("push", f"{faulty.host}/killed:v1")
    assert again.status == 0, again.err
    assert faulty.tags["v1"] == image.digest and assert_tag_is_whole(remote(faulty.host))
    put_again = [
        request.path
        for request in faulty.requests[before:]
        if request.method == "PUT" and any(digest.replace(":", "%3A") in request.path for digest in stored)
    ]
    assert put_again == []


def _settle(faulty: Misbehaving) -> None:
    """Wait until requests of a process that is gone have been dealt with."""
    with faulty._lock:
        pass
    time.sleep(0.05)


def test_pushes_killed_at_random_moments(
    image: Descriptor, gadgetops: Gadgetops, registry: RunningRegistry
) -> None:
    """At a real registry: whenever it is killed, a tag that is there is whole."""
    moments = random.Random(5)
    for turn in range(3):
        repository = f"{registry.host}/random/{turn}"
        open_store().tag(image, f"{repository}:v1")
        with run("push", f"{repository}:v1") as process:
            time.sleep(moments.uniform(0.3, 1.2))
            process.kill()
        pushed = Repository.open(Reference.parse(repository), Access(plain_http=frozenset({registry.host})))
        assert_tag_is_whole(pushed)
        assert gadgetops("push", f"{repository}:v1").status == 0
        assert assert_tag_is_whole(pushed)


@pytest.mark.parametrize("n_answered", [0, 3, 9, 15])
def test_a_pull_killed_between_any_two_requests(
    image: Descriptor, gadgetops: Gadgetops, faulty: Misbehaving, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, n_answered: int,
) -> None:  # fmt: skip
    """`list` shows no broken image, and the same again completes it."""
    name = f"{faulty.host}/killed:v1"
    assert gadgetops("push", name).status == 0
    faulty.requests.clear()
    slow = SlowRequests(faulty)
    slow.allow(n_answered)
    monkeypatch.setenv("GADGETOPS_STORE", str(tmp_path / "new"))
    with run("pull", name) as process:
        while len(faulty.requests) <= n_answered and process.poll() is None:
            time.sleep(0.005)
        process.kill()
    slow.open()
    _settle(faulty)
    rows = json.loads(gadgetops("list", "--format", "json").out)
    assert [row["problem"] for row in rows] == [None] * len(rows)
    assert gadgetops("pull", name).status == 0
    layout = Layout.open(tmp_path / "new")
    assert layout.resolve(name).digest == image.digest
    assert_whole(layout)


def test_ctrl_c_ends_a_push_at_once_and_tags_nothing(image: Descriptor, faulty: Misbehaving) -> None:
    """Though the registry does not answer."""
    slow = SlowRequests(faulty)
    slow.allow(9)
    with run("push", f"{faulty.host}/killed:v1") as process:
        while len(faulty.requests) <= 9:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 130
        assert process.stderr is not None and b"Traceback" not in process.stderr.read()
    tags = dict(faulty.tags)
    slow.open()
    _settle(faulty)
    assert "v1" not in tags and "v1" not in faulty.tags


def test_a_hundred_pulls_into_one_store(
    image: Descriptor, gadgetops: Gadgetops, registry: RunningRegistry, tmp_path: Path
) -> None:
    """Of the same image, all at once, from threads of several processes: all of them succeed."""
    name = f"{registry.host}/killed:v1"
    assert gadgetops("push", name).status == 0
    access = Access(plain_http=frozenset({registry.host}))
    folder = tmp_path / "shared"

    def pull(_: int) -> str:
        with (
            open_origin(Location.parse(name), access=access) as origin,
            open_goal(Location.parse(f"oci:{folder}"), origin) as goal,
        ):
            return copy_image(origin, goal, with_referrers=False).root.digest

    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            with ThreadPoolExecutor(25) as pool:
                digests = {*pool.map(pull, range(25))}
            os._exit(0 if digests == {image.digest} else 1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    layout = Layout.open(folder)
    assert layout.resolve(name).digest == image.digest
    assert_whole(layout)
    assert list((folder / "ingest").iterdir()) == []
